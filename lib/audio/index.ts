/** Audio of any kind as mono samples at one rate, read as it is needed. */
import { fileURLToPath } from 'node:url';
import { OneheadError } from '../errors.js';
import { abortable, type ByteSource, bufferBytes, fileBytes, peek, streamBytes } from './bytes.js';
import { decodeWithFfmpeg } from './ffmpeg.js';
import { type AudioFormat, detectFormat, headBytes, otherMedia } from './format.js';
import { Resampler } from './resample.js';
import { type DecodedChunk, decodeWav, wavDuration } from './wav.js';

/** Samples at a rate of their own; several channels are given one after another in an array. */
export interface Samples {
  samples: Float32Array | readonly Float32Array[];
  /** Hertz. */
  sampleRate: number;
}

/** A path or file: URL, encoded bytes, mono samples at the model's rate (16 kHz), samples at another rate, or a stream of encoded bytes. */
export type AudioInput = string | URL | Uint8Array | ArrayBuffer | Float32Array | Samples | AsyncIterable<Uint8Array>;

export interface AudioSource {
  /** Seconds, where the input says so before it is read. */
  duration: number | null;
  /** Mono samples at the rate asked for, in order. To be iterated once. */
  chunks(): AsyncIterable<Float32Array>;
  /** Frees files and processes; harmless when all was read. */
  close(): Promise<void>;
}

export interface OpenOptions {
  /** Hertz of the samples given. */
  sampleRate?: number;
  signal?: AbortSignal;
}

/** Opens audio. Throws OneheadError AUDIO_NOT_FOUND, AUDIO_INVALID or INVALID_ARGUMENT here or while it is read. */
export async function openAudio(
  input: AudioInput,
  { sampleRate = 16000, signal }: OpenOptions = {},
): Promise<AudioSource> {
  checkRate(sampleRate);
  if (input instanceof Float32Array) return fromSamples({ samples: input, sampleRate }, sampleRate);
  if (typeof input === 'string') return fromBytes(await fileBytes(input), sampleRate, signal);
  if (input instanceof URL) {
    if (input.protocol !== 'file:') {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Expected a file: URL but received ${input.protocol}; fetch it and pass the response's body.`,
      );
    }
    return fromBytes(await fileBytes(fileURLToPath(input)), sampleRate, signal);
  }
  if (input instanceof Uint8Array || input instanceof ArrayBuffer) {
    return fromBytes(bufferBytes(input instanceof ArrayBuffer ? new Uint8Array(input) : input), sampleRate, signal);
  }
  if (typeof input === 'object' && input !== null && 'samples' in input) return fromSamples(input, sampleRate);
  if (typeof input === 'object' && input !== null && Symbol.asyncIterator in input) {
    return fromBytes(streamBytes(input), sampleRate, signal);
  }
  throw new OneheadError(
    'INVALID_ARGUMENT',
    `Expected audio to be a path, bytes, samples (Float32Array) or a stream but received ${input === null ? 'null' : typeof input}.`,
    { argument: 'audio' },
  );
}

function checkRate(sampleRate: unknown): void {
  if (!Number.isInteger(sampleRate) || (sampleRate as number) < 1000 || (sampleRate as number) > 768_000) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected sampleRate to be a whole number of hertz from 1000 to 768000 but received ${sampleRate}.`,
      { argument: 'sampleRate' },
    );
  }
}

function fromSamples({ samples, sampleRate: from }: Samples, sampleRate: number): AudioSource {
  checkRate(from);
  const channels = samples instanceof Float32Array ? [samples] : samples;
  const length = channels[0]?.length ?? 0;
  if (
    !Array.isArray(channels) ||
    !channels.every((channel) => channel instanceof Float32Array && channel.length === length)
  ) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      'Expected samples to be a Float32Array, or one of the same length for each channel.',
    );
  }
  if (length === 0) throw new OneheadError('AUDIO_INVALID', 'The given samples are empty; they contain no audio.');
  for (const channel of channels) {
    const wrong = channel.findIndex((sample: number) => !Number.isFinite(sample));
    if (wrong >= 0) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Expected finite samples from -1 to 1 but sample ${wrong} is ${channel[wrong]}; repair what made them.`,
      );
    }
  }
  async function* pieces(): AsyncGenerator<DecodedChunk> {
    for (let at = 0; at < length; at += from) {
      yield { channels: channels.map((channel) => channel.subarray(at, at + from)), sampleRate: from };
    }
  }
  return {
    duration: length / from,
    chunks: () => convert(pieces(), sampleRate, 'the given samples'),
    close: async () => {},
  };
}

async function fromBytes(source: ByteSource, sampleRate: number, signal?: AbortSignal): Promise<AudioSource> {
  signal?.throwIfAborted();
  const { head, rest, close } = await peek(abortable(source.bytes, signal), headBytes);
  if (head.length === 0) throw new OneheadError('AUDIO_INVALID', `${source.name} is empty; it contains no audio.`);
  const format = detectFormat(head);
  return {
    duration: format === 'wav' ? wavDuration(head) : null,
    chunks: () => {
      const decoded =
        format === 'wav'
          ? decodeWav(rest, source.name)
          : format
            ? decodePacked(rest, format, source.name)
            : decodeOther(rest, head, source.name, sampleRate);
      return convert(decoded, sampleRate, source.name, signal);
    },
    close,
  };
}

function decodeOther(rest: AsyncIterable<Uint8Array>, head: Uint8Array, name: string, sampleRate: number) {
  const kind = otherMedia(head);
  if (kind === null) {
    throw new OneheadError(
      'AUDIO_INVALID',
      `${name} does not look like audio; give a wav, flac, mp3, ogg, opus, m4a or other sound file.`,
    );
  }
  return decodeWithFfmpeg(rest, name, kind, sampleRate);
}

/** flac, mp3, ogg, opus, m4a and aac on audio-decode's WebAssembly decoders. */
async function* decodePacked(
  bytes: AsyncIterable<Uint8Array>,
  format: AudioFormat,
  name: string,
): AsyncGenerator<DecodedChunk> {
  const { default: decode } = await import('audio-decode');
  let read = false;
  let inside: unknown;
  try {
    // Errors of reading are the caller's to see; errors of decoding are told in a sentence below.
    async function* reading() {
      try {
        yield* bytes;
      } catch (error) {
        inside = error;
        throw error;
      }
    }
    for await (const { channelData, sampleRate } of decode(reading(), format)) {
      read = true;
      yield { channels: channelData, sampleRate };
    }
  } catch (cause) {
    if (inside) throw inside;
    if (read) return; // a file cut short or damaged further on: what was decoded is transcribed
    const reason = cause instanceof Error ? cause.message : String(cause);
    throw new OneheadError(
      'AUDIO_INVALID',
      `${name} looks like ${format} but cannot be decoded (${reason}); export it again.`,
      { cause },
    );
  }
}

/** Mean of the channels, at another rate, in chunks; no sample at all is an error. */
async function* convert(
  decoded: AsyncGenerator<DecodedChunk>,
  sampleRate: number,
  name: string,
  signal?: AbortSignal,
): AsyncGenerator<Float32Array> {
  let resampler: Resampler | null = null;
  let rate = 0;
  let given = 0;
  for await (const { channels, sampleRate: from } of decoded) {
    signal?.throwIfAborted();
    if (from !== rate) {
      if (resampler) yield resampler.finish();
      checkRate(from);
      rate = from;
      resampler = from === sampleRate ? null : new Resampler(from, sampleRate);
    }
    const mono = mix(channels);
    given += mono.length;
    const converted = resampler ? resampler.push(mono) : mono;
    for (let at = 0; at < converted.length; at += sampleRate) yield converted.subarray(at, at + sampleRate);
  }
  if (given === 0) {
    throw new OneheadError('AUDIO_INVALID', `${name} contains no audio; record or export it again.`);
  }
  if (resampler) yield resampler.finish();
}

function mix(channels: readonly Float32Array[]): Float32Array {
  if (channels.length === 1) return clean(channels[0]);
  const mono = new Float32Array(channels[0].length);
  for (const channel of channels) for (let i = 0; i < mono.length; ++i) mono[i] += channel[i] / channels.length;
  return clean(mono);
}

/** Float files can hold NaN and infinities; one of them would silence a whole window. */
function clean(samples: Float32Array): Float32Array {
  return samples.every(Number.isFinite) ? samples : samples.map((sample) => (Number.isFinite(sample) ? sample : 0));
}
