/** Decodes bytes of any format to samples, on the calling thread. */
import { OneheadError, shown } from '../errors.js';
import { onAbort } from '../signals.js';
import type { FallbackDecoder } from './aac-decoders.js';
import { abortable, type ByteSource } from './bytes.js';
import type { ChannelReader } from './channels.js';
import { convert } from './convert.js';
import { decodePacked } from './decode.js';
import { decodeWithFfmpeg, findFfmpeg, tracksWithFfmpeg } from './ffmpeg.js';
import { detectFormat, headBytes, headDuration, isText, otherMedia } from './format.js';
import { indexFirst } from './mp4.js';
import { chooseMp4Track } from './mp4-tracks.js';
import { onceRead } from './once.js';
import { invalid, type Reading, tooLong } from './options.js';
import type { Source } from './source.js';
import { sphereAsWav, sphereHeader } from './sphere.js';
import { behind, peekBehindTags } from './tags.js';
import { type Container, chooseTrack } from './tracks.js';
import { type Warn, Warnings } from './warnings.js';
import { type DecodedChunk, decodeWav } from './wav.js';
import { chooseWebmTrack } from './webm-tracks.js';

/** Options of reading bytes, except those that their opener handles. */
export type Limits = Omit<Reading, 'signal' | 'maxBytes'>;

/** A source that decodes encoded bytes on the thread that reads it. */
export async function fromBytes<T>(
  given: ByteSource,
  reading: Limits,
  way: ChannelReader<T>,
  signal?: AbortSignal,
  owner?: AbortSignal | null,
): Promise<Source<T>> {
  const controller = new AbortController();
  const warnings = new Warnings();
  const container: Container = { tracks: [], start: 0 };
  const ends = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
  const destroy = () => given.destroy?.();
  const leave = owner ? onAbort(owner, destroy) : () => {};
  const opened = abortable(given.bytes, ends, given.stop);
  const { head, rest, close, skipped } = await peekBehindTags(opened, headBytes).catch((error) => {
    leave();
    throw error;
  });
  const source = behind(given, skipped);
  const release = async () => {
    leave();
    await close();
  };
  if (head.length === 0) {
    await release();
    throw new OneheadError(
      'AUDIO_INVALID',
      `${source.name} ${skipped > 0 ? 'ends after its tag' : 'is empty'}; it contains no audio.`,
    );
  }
  async function* read() {
    try {
      const decoded = decode(source, head, rest, ends, warnings.warn, reading, container);
      const pick = way.pick(reading.channels, source.name, warnings.warn);
      yield* way.shape(convert(decoded, pick, reading.sampleRate, source.name, ends, reading.maxDuration));
    } finally {
      await release();
    }
  }
  const size = source.random?.size ?? null;
  const duration = headDuration(head, size);
  // Only a WAV file of known size has a reliable duration.
  if (size !== null && detectFormat(head) === 'wav' && (duration ?? 0) > reading.maxDuration) {
    await release();
    throw tooLong(source.name, reading.maxDuration);
  }
  return onceRead(duration, controller, warnings, container, read, release);
}

async function* decode(
  source: ByteSource,
  head: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  warn: Warn,
  { ffmpeg, maxDuration, track, addStartTime }: Limits,
  container: Container,
): AsyncGenerator<DecodedChunk> {
  const format = detectFormat(head);
  const onContainer = ({ tracks, start }: Container) =>
    void Object.assign(container, { tracks, start: addStartTime ? start : 0 });
  const choose = (bytes: AsyncIterable<Uint8Array>) => {
    if (format === 'm4a') return chooseMp4Track(bytes, track, source.name, onContainer);
    if (format === 'webm') return chooseWebmTrack(bytes, track, source.name, onContainer);
    return bytes;
  };
  if (track !== null && track !== 0 && format !== null && format !== 'm4a' && format !== 'webm') {
    throw invalid(
      'track',
      `${source.name} has one audio track, of unknown language; leave out track ${shown(track, 40)}.`,
    );
  }
  if (format === 'wav') {
    yield* decodeWav(rest, source.name, warn);
    return;
  }
  if (format === 'sphere') {
    yield* decodeWav(sphereAsWav(rest, sphereHeader(head)!), source.name, warn);
    return;
  }
  if (format === null) {
    if (otherMedia(head) === null && isText(head)) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${source.name} is text and does not look like audio; give a wav, flac, mp3, ogg, opus, m4a or other sound file.`,
      );
    }
    const kind = otherMedia(head) ?? 'of an unknown format';
    if (!ffmpeg) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${source.name} is ${kind}, which only ffmpeg can read, but ffmpeg is disabled; convert it to wav, flac, mp3, ogg or m4a.`,
      );
    }
    // An MP4 file without its first box; through a pipe, its index must come first.
    const bytes = kind === 'QuickTime' && !source.path ? indexFirst(rest, head, source, signal, 1 << 16) : rest;
    const options = { path: source.path, maxDuration, onContainer };
    let place = typeof track === 'number' ? track : null;
    if (typeof track === 'string') {
      if (!source.again) {
        throw invalid(
          'track',
          `The tracks' languages of ${kind} are known only for files, not for streams; give track as a number.`,
        );
      }
      const tracks = await tracksWithFfmpeg(abortable(source.again(), signal), signal, source.path);
      place = chooseTrack(tracks, track, source.name)?.index ?? null;
    }
    yield* decodeWithFfmpeg(bytes, source.name, kind, signal, warn, { ...options, track: place });
    return;
  }
  let read = false;
  let others = false;
  const chosen = () => container.tracks.find(({ chosen }) => chosen)?.index ?? null;
  const otherwise: FallbackDecoder = async function* (bytes, reason) {
    others = true;
    if (!ffmpeg || (await findFfmpeg()) === null) throw without(source.name, reason, ffmpeg);
    // ffmpeg reads a file itself from the start; bytes contain only the chosen track.
    const place = source.path === undefined ? null : chosen();
    const options = { path: source.path, maxDuration, track: place };
    yield* decodeWithFfmpeg(bytes, source.name, format, signal, warn, options);
  };
  try {
    for await (const chunk of decodePacked(rest, format, source, head, signal, warn, choose, otherwise)) {
      read = true;
      yield chunk;
    }
  } catch (error) {
    // Containers hold many codecs, and ffmpeg may support more of them.
    const again = source.again;
    const holdsMany = format === 'm4a' || format === 'webm';
    if (error instanceof OneheadError && error.code !== 'AUDIO_INVALID') throw error;
    if (read || others || !holdsMany || signal.aborted) throw error;
    if (!ffmpeg || !again || (await findFfmpeg()) === null) throw withAdvice(error, ffmpeg, again !== undefined);
    const whole = abortable(again(), signal);
    const bytes = format === 'm4a' && !source.path ? indexFirst(whole, head, source, signal, 1 << 16) : whole;
    const options = { path: source.path, maxDuration, track: chosen() };
    const decoded = decodeWithFfmpeg(bytes, source.name, format, signal, warn, options);
    const first = await decoded.next().catch(() => null);
    if (!first || first.done) throw error;
    yield first.value;
    yield* decoded;
  }
}

/** The error for a format that only ffmpeg can decode. */
function without(name: string, reason: string, allowed: boolean): OneheadError {
  const todo = allowed
    ? 'and ffmpeg is not installed; install it (such as `apt-get install ffmpeg`)'
    : 'and ffmpeg is disabled; enable it';
  return new OneheadError(
    'AUDIO_INVALID',
    `${name} cannot be decoded: ${reason}, ${todo}, or convert it to wav, flac, mp3 or ogg.`,
  );
}

/** Adds to a container's error what would let ffmpeg read it. */
function withAdvice(error: unknown, allowed: boolean, file: boolean): unknown {
  if (!(error instanceof OneheadError) || !/Unsupported|cannot be decoded/.test(error.message)) return error;
  const advice = !allowed
    ? 'ffmpeg, which is disabled, may be able to read it'
    : file
      ? 'ffmpeg may be able to read it: install it (such as `apt-get install ffmpeg`)'
      : 'ffmpeg may be able to read it: give it as a file or bytes';
  const sentence = `${error.message.replace(/; export it again\.$/, '')}; ${advice}, or export it again.`;
  return new OneheadError('AUDIO_INVALID', sentence, { cause: error });
}
