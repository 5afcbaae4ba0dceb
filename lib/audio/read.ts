/** Decodes bytes of any format to samples, on the calling thread. */
import { OneheadError, shown } from '../errors.js';
import { onAbort } from '../signals.js';
import type { FallbackDecoder } from './aac-decoders.js';
import { abortable, type ByteSource } from './bytes.js';
import type { ChannelReader } from './channels.js';
import { convert } from './convert.js';
import { decodePacked, type Encoded } from './decode.js';
import { decodeWithFfmpeg, findFfmpeg, tracksWithFfmpeg } from './ffmpeg.js';
import { detectFormat, headBytes, headDuration, isText, otherMedia, type PackedFormat } from './format.js';
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

/** Formats that hold several tracks, of many codecs. */
const isContainer = (format: string): boolean => format === 'm4a' || format === 'webm';

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
      const encoded = { source, head, bytes: rest };
      const decoded = new Decoding(encoded, reading, container, ends, warnings.warn).chunks();
      const pick = way.pick(reading.channels, source.name, warnings.warn);
      yield* way.shape(convert(decoded, pick, reading.sampleRate, source.name, ends, reading.maxDuration));
    } finally {
      await release();
    }
  }
  const size = source.random?.size ?? null;
  const duration = headDuration(head, size);
  // Only a WAV file of known size has a reliable duration.
  if ((duration ?? 0) > reading.maxDuration && size !== null && detectFormat(head) === 'wav') {
    await release();
    throw tooLong(source.name, reading.maxDuration);
  }
  return onceRead(duration, controller, warnings, container, read, release);
}

/** Decodes one recording, with ffmpeg where no decoder here can. */
class Decoding {
  readonly #encoded: Encoded;
  readonly #limits: Limits;
  readonly #container: Container;
  readonly #signal: AbortSignal;
  readonly #warn: Warn;

  constructor(encoded: Encoded, limits: Limits, container: Container, signal: AbortSignal, warn: Warn) {
    this.#encoded = encoded;
    this.#limits = limits;
    this.#container = container;
    this.#signal = signal;
    this.#warn = warn;
  }

  async *chunks(): AsyncGenerator<DecodedChunk> {
    const { source, head, bytes } = this.#encoded;
    const { track } = this.#limits;
    const format = detectFormat(head);
    if (track !== null && track !== 0 && format !== null && !isContainer(format)) {
      throw invalid(
        'track',
        `${source.name} has one audio track, of unknown language; leave out track ${shown(track, 40)}.`,
      );
    }
    if (format === 'wav') yield* decodeWav(bytes, source.name, this.#warn);
    else if (format === 'sphere') yield* decodeWav(sphereAsWav(bytes, sphereHeader(head)!), source.name, this.#warn);
    else if (format === null) yield* this.#unknown();
    else yield* this.#packed(format);
  }

  /** Keeps what a container states of itself. */
  readonly #onContainer = ({ tracks, start }: Container): void => {
    Object.assign(this.#container, { tracks, start: this.#limits.addStartTime ? start : 0 });
  };

  #withFfmpeg(
    bytes: AsyncIterable<Uint8Array>,
    kind: string,
    track: number | null,
    onContainer?: (container: Container) => void,
  ): AsyncGenerator<DecodedChunk> {
    const { name, path } = this.#encoded.source;
    const { maxDuration } = this.#limits;
    const options = { path, maxDuration, track, onContainer };
    return decodeWithFfmpeg(bytes, name, kind, this.#signal, this.#warn, options);
  }

  /** The bytes of an MP4 file for ffmpeg; through a pipe, its index must come first. */
  #mp4ForFfmpeg(bytes: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
    const { source, head } = this.#encoded;
    return source.path ? bytes : indexFirst(bytes, head, source, this.#signal, 1 << 16);
  }

  /** Decodes a format that is not known here, with ffmpeg. */
  async *#unknown(): AsyncGenerator<DecodedChunk> {
    const { source, head, bytes } = this.#encoded;
    const { ffmpeg, track } = this.#limits;
    const media = otherMedia(head);
    if (media === null && isText(head)) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${source.name} is text and does not look like audio; give a wav, flac, mp3, ogg, opus, m4a or other sound file.`,
      );
    }
    const kind = media ?? 'of an unknown format';
    if (!ffmpeg) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${source.name} is ${kind}, which only ffmpeg can read, but ffmpeg is disabled; convert it to wav, flac, mp3, ogg or m4a.`,
      );
    }
    // QuickTime is MP4 without its first box.
    const input = kind === 'QuickTime' ? this.#mp4ForFfmpeg(bytes) : bytes;
    const index = typeof track === 'string' ? await this.#trackOf(track, kind) : track;
    yield* this.#withFfmpeg(input, kind, index, this.#onContainer);
  }

  /** The index of the track in a language, as ffmpeg reports it. */
  async #trackOf(language: string, kind: string): Promise<number | null> {
    const { source } = this.#encoded;
    if (!source.again) {
      throw invalid(
        'track',
        `The tracks' languages of ${kind} are known only for files, not for streams; give track as a number.`,
      );
    }
    const tracks = await tracksWithFfmpeg(abortable(source.again(), this.#signal), this.#signal, source.path);
    return chooseTrack(tracks, language, source.name)?.index ?? null;
  }

  /** Decodes a format that is known here, with ffmpeg if it holds a codec that is not. */
  async *#packed(format: PackedFormat): AsyncGenerator<DecodedChunk> {
    const { source } = this.#encoded;
    const { ffmpeg, track } = this.#limits;
    const signal = this.#signal;
    let read = false;
    let usesFfmpeg = false;
    const chosenTrack = () => this.#container.tracks.find(({ chosen }) => chosen)?.index ?? null;
    const choose = (bytes: AsyncIterable<Uint8Array>) => {
      if (format === 'm4a') return chooseMp4Track(bytes, track, source.name, this.#onContainer);
      if (format === 'webm') return chooseWebmTrack(bytes, track, source.name, this.#onContainer);
      return bytes;
    };
    const withFfmpeg = this.#withFfmpeg.bind(this);
    const otherwise: FallbackDecoder = async function* (bytes, reason) {
      usesFfmpeg = true;
      if (!ffmpeg || (await findFfmpeg()) === null) throw without(source.name, reason, ffmpeg);
      // ffmpeg reads a file itself from the start; bytes contain only the chosen track.
      yield* withFfmpeg(bytes, format, source.path === undefined ? null : chosenTrack());
    };
    try {
      for await (const chunk of decodePacked(this.#encoded, format, { choose, otherwise }, signal, this.#warn)) {
        read = true;
        yield chunk;
      }
    } catch (error) {
      // Containers hold many codecs, and ffmpeg may support more of them.
      const again = source.again;
      if (error instanceof OneheadError && error.code !== 'AUDIO_INVALID') throw error;
      if (read || usesFfmpeg || !isContainer(format) || signal.aborted) throw error;
      if (!ffmpeg || !again || (await findFfmpeg()) === null) throw withAdvice(error, ffmpeg, again !== undefined);
      const whole = abortable(again(), signal);
      const decoded = withFfmpeg(format === 'm4a' ? this.#mp4ForFfmpeg(whole) : whole, format, chosenTrack());
      const first = await decoded.next().catch(() => null);
      if (!first || first.done) throw error;
      yield first.value;
      yield* decoded;
    }
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
