/** Reads audio of any format as mono samples at one rate, on demand. */
import { onAbort } from '../signals.js';
import { workers } from '../workers/pool.js';
import { limitBytes } from './bytes.js';
import { apart, type ChannelReader, mixed } from './channels.js';
import { convert } from './convert.js';
import { type AudioInput, byteSource } from './input.js';
import { onceRead } from './once.js';
import { type OpenOptions, type Reading, readingOf, tooLong } from './options.js';
import { fromBytes } from './read.js';
import { fromWorker, sendSource, smallBytes } from './remote.js';
import { givenSamples, type Samples } from './samples.js';
import type { AudioSource, Source } from './source.js';
import { Warnings } from './warnings.js';

export type { AudioInput } from './input.js';
export type { AudioOptions, OpenOptions } from './options.js';
export type { Samples } from './samples.js';
export type { AudioSource, Source } from './source.js';
export type { AudioTrack } from './tracks.js';

/**
 * Opens audio: wav, flac, mp3, ogg, opus, m4a, aac, webm, and every format that an installed ffmpeg decodes. Channels
 * are averaged unless they cancel each other or `channels` selects some. A truncated or damaged file gives what can be
 * read, with `warnings`. A stream is read as far as needed and is not closed; only aborting `owner` (default: `signal`)
 * destroys it. Throws OneheadError, now or while reading: AUDIO_NOT_FOUND if a file cannot be opened, AUDIO_INVALID if
 * it is not audio or contains none, AUDIO_TOO_LONG and AUDIO_TOO_LARGE beyond the limits, INVALID_ARGUMENT for other
 * inputs; and the signal's reason.
 */
export function openAudio(
  input: AudioInput,
  options: OpenOptions = {},
  owner: AbortSignal | null | undefined = options?.signal,
): Promise<AudioSource> {
  return open(input, options, owner, mixed);
}

/** Like `openAudio`, but yields an array with one entry for each channel. */
export function openChannels(
  input: AudioInput,
  options: OpenOptions = {},
  owner: AbortSignal | null | undefined = options?.signal,
): Promise<Source<Float32Array[]>> {
  return open(input, options, owner, apart);
}

async function open<T>(
  input: AudioInput,
  options: OpenOptions,
  owner: AbortSignal | null | undefined,
  way: ChannelReader<T>,
): Promise<Source<T>> {
  const reading = readingOf(options);
  const { sampleRate, signal, maxBytes } = reading;
  signal?.throwIfAborted();
  if (typeof input === 'object' && input !== null && (input instanceof Float32Array || 'samples' in input)) {
    return fromSamples(
      input instanceof Float32Array ? { samples: input, sampleRate } : (input as Samples),
      reading,
      way,
    );
  }
  const bytes = limitBytes(await byteSource(input), maxBytes);
  const given = await sendSource(bytes);
  const destroy = () => bytes.destroy?.();
  const leave = owner ? onAbort(owner, destroy) : () => {};
  const size = bytes.random?.size ?? Number.POSITIVE_INFINITY;
  const source = await fromWorker<T>(workers, given, openingOf(reading, way), signal, size > smallBytes, leave);
  if (source) return source;
  leave();
  return fromBytes(bytes, reading, way, signal, owner);
}

const openingOf = ({ signal, maxBytes, ...reading }: Reading, way: unknown) => ({
  reading,
  apart: way === apart,
});

/** Seconds of given samples up to which they are converted on this thread while no worker has started. */
const shortSeconds = 5;

async function fromSamples<T>(input: Samples, reading: Reading, way: ChannelReader<T>): Promise<Source<T>> {
  const { sampleRate, signal, maxDuration } = reading;
  const { duration, channels, decoded } = await givenSamples(input);
  const name = 'the given audio';
  if (duration > maxDuration) throw tooLong('The given audio', maxDuration);
  const controller = new AbortController();
  const container = { tracks: [], start: 0 };
  const warnings = new Warnings();
  // Samples with one channel at the requested rate are passed on unchanged and without a copy.
  if (input.sampleRate === sampleRate && channels.length === 1 && typeof reading.channels === 'string') {
    async function* seconds() {
      for await (const chunk of decoded()) {
        signal?.throwIfAborted();
        controller.signal.throwIfAborted();
        yield chunk.channels;
      }
      signal?.throwIfAborted();
    }
    return onceRead(duration, controller, warnings, container, () => way.shape(seconds()));
  }
  if (input.sampleRate !== sampleRate || channels.length > 1) {
    async function* open() {
      for await (const chunk of decoded()) yield chunk.channels;
    }
    const given = { origin: { sampleRate: input.sampleRate, duration, name }, open };
    const source = await fromWorker<T>(workers, given, openingOf(reading, way), signal, duration > shortSeconds);
    if (source) return source;
  }
  const ends = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
  const pick = way.pick(reading.channels, name, warnings.warn);
  return onceRead(duration, controller, warnings, container, () =>
    way.shape(convert(decoded(), pick, sampleRate, name, ends)),
  );
}
