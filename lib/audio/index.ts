/** Audio of any kind as mono samples at one rate, read as it is needed. */
import { fileURLToPath } from 'node:url';
import { OneheadError } from '../errors.js';
import { abortable, type ByteSource, bufferBytes, fileBytes, peek, streamBytes } from './bytes.js';
import { convert } from './convert.js';
import { decodePacked } from './decode.js';
import { decodeWithFfmpeg } from './ffmpeg.js';
import { detectFormat, headBytes, headDuration, isText, otherMedia } from './format.js';
import { checkRate, givenSamples, type Samples } from './samples.js';
import { type Warn, Warnings } from './warnings.js';
import { type DecodedChunk, decodeWav } from './wav.js';

export type { Samples } from './samples.js';

/** A path or file: URL, encoded bytes, mono samples at the rate asked for, samples at another rate, or a stream of encoded bytes. */
export type AudioInput =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Float32Array
  | Samples
  | AsyncIterable<Uint8Array>
  | ReadableStream<Uint8Array>;

export interface AudioSource {
  /** Seconds, where the input says so before it is read. */
  duration: number | null;
  /** Sentences on what was wrong with the recording; more are added while it is read. */
  readonly warnings: readonly string[];
  /** True as soon as a part of the recording could not be read. */
  readonly incomplete: boolean;
  /** Mono samples at the rate asked for, in order, at most a second at a time. To be called once. */
  chunks(): AsyncIterable<Float32Array>;
  /** Frees files, streams and processes; harmless when all was read. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Hertz of the samples given; 16,000 unless set. */
  sampleRate?: number;
  /** Ends opening and reading with its reason. */
  signal?: AbortSignal;
}

/**
 * Opens audio: wav, flac, mp3, ogg, opus, m4a, aac, webm, and whatever else an installed ffmpeg decodes. Channels are averaged. A file
 * that was cut short or damaged gives what is there, and `warnings`. Throws OneheadError, here or while it is read: AUDIO_NOT_FOUND for a file that cannot be
 * opened, AUDIO_INVALID for what is no audio or contains none, INVALID_ARGUMENT for anything else than an input; and the signal's reason.
 */
export async function openAudio(input: AudioInput, options: OpenOptions = {}): Promise<AudioSource> {
  if (typeof options !== 'object' || options === null) {
    throw invalid('options', `Expected options to be an object but received ${kindOf(options)}.`);
  }
  const { sampleRate = 16000, signal } = options;
  checkRate(sampleRate);
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    throw invalid('signal', `Expected signal to be an AbortSignal but received ${kindOf(signal)}.`);
  }
  signal?.throwIfAborted();
  if (typeof input === 'object' && input !== null && (input instanceof Float32Array || 'samples' in input)) {
    const { duration, decoded } = givenSamples(
      input instanceof Float32Array ? { samples: input, sampleRate } : (input as Samples),
    );
    const controller = new AbortController();
    const ends = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
    return onceRead(duration, controller, new Warnings(), () =>
      convert(decoded(), sampleRate, 'the given audio', ends),
    );
  }
  return fromBytes(await byteSource(input), sampleRate, signal);
}

const invalid = (argument: string, sentence: string) => new OneheadError('INVALID_ARGUMENT', sentence, { argument });

/** What a wrong argument is, for error sentences. */
function kindOf(value: unknown): string {
  if (value === null || typeof value !== 'object') return value === null ? 'null' : typeof value;
  return value.constructor?.name ?? 'object';
}

async function byteSource(input: Exclude<AudioInput, Float32Array | Samples>): Promise<ByteSource> {
  if (typeof input === 'string') {
    if (input === '') throw invalid('audio', 'Expected a path but received an empty string; name an audio file.');
    if (/^https?:\/\//i.test(input)) {
      throw invalid(
        'audio',
        `Expected a path but received the address ${input}; fetch it and pass the response's body.`,
      );
    }
    return fileBytes(/^file:\/\//i.test(input) ? filePath(input) : input);
  }
  if (input instanceof URL) return fileBytes(filePath(input));
  if (input instanceof Uint8Array) return bufferBytes(input);
  if (input instanceof ArrayBuffer) return bufferBytes(new Uint8Array(input));
  if (typeof input === 'object' && input !== null && (Symbol.asyncIterator in input || 'getReader' in input)) {
    return streamBytes(input);
  }
  throw invalid(
    'audio',
    `Expected audio to be a path, bytes, samples (Float32Array) or a stream but received ${kindOf(input)}.`,
  );
}

function filePath(url: string | URL): string {
  const { protocol } = typeof url === 'string' ? { protocol: 'file:' } : url;
  if (protocol !== 'file:') {
    throw invalid('audio', `Expected a file: URL but received ${protocol}; fetch it and pass the response's body.`);
  }
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw invalid('audio', `Expected a file: URL of this computer but received ${url} (${(cause as Error).message}).`);
  }
}

/** A source whose `read` is called once; closing it aborts the reading. */
function onceRead(
  duration: number | null,
  controller: AbortController,
  warnings: Warnings,
  read: () => AsyncGenerator<Float32Array>,
  release: () => Promise<void> = async () => {},
): AudioSource {
  let reading: AsyncGenerator<Float32Array> | null = null;
  return {
    duration,
    warnings: warnings.sentences,
    get incomplete() {
      return warnings.incomplete;
    },
    chunks: () => {
      if (reading) throw invalid('chunks', 'Audio can be read once; open it again to read it again.');
      reading = read();
      return reading;
    },
    close: async () => {
      controller.abort(new OneheadError('DISPOSED', 'The audio was closed while it was read; close it afterwards.'));
      // A reading under way ends with the error above; one that waits for its consumer ends here.
      await reading?.return(undefined).catch(() => {});
      await release().catch(() => {});
    },
  };
}

async function fromBytes(source: ByteSource, sampleRate: number, signal?: AbortSignal): Promise<AudioSource> {
  const controller = new AbortController();
  const warnings = new Warnings();
  const ends = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
  const { head, rest, close } = await peek(abortable(source.bytes, ends, source.destroy), headBytes);
  if (head.length === 0) throw new OneheadError('AUDIO_INVALID', `${source.name} is empty; it contains no audio.`);
  async function* read() {
    try {
      yield* convert(decode(source, head, rest, ends, warnings.warn), sampleRate, source.name, ends);
    } finally {
      await close();
    }
  }
  return onceRead(headDuration(head, source.random?.size ?? null), controller, warnings, read, close);
}

async function* decode(
  source: ByteSource,
  head: Uint8Array,
  rest: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  warn: Warn,
): AsyncGenerator<DecodedChunk> {
  const format = detectFormat(head);
  if (format === 'wav') {
    yield* decodeWav(rest, source.name);
    return;
  }
  if (format === null) {
    if (isText(head)) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${source.name} is text and does not look like audio; give a wav, flac, mp3, ogg, opus, m4a or other sound file.`,
      );
    }
    const kind = otherMedia(head) ?? 'of an unknown format';
    yield* decodeWithFfmpeg(rest, source.name, kind, signal, source.path);
    return;
  }
  let read = false;
  try {
    for await (const chunk of decodePacked(rest, format, source, head, signal, warn)) {
      read = true;
      yield chunk;
    }
  } catch (error) {
    // Containers hold many codecs; ffmpeg, where there is one, knows more of them.
    const again = source.again;
    const container = format === 'm4a' || format === 'webm';
    if (read || !again || !container || signal.aborted) throw error;
    const others = decodeWithFfmpeg(abortable(again(), signal), source.name, format, signal, source.path);
    const first = await others.next().catch(() => null);
    if (!first || first.done) throw error;
    yield first.value;
    yield* others;
  }
}
