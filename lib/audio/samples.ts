/** Samples that the caller has already. */
import { refuse } from '../checks.js';
import { OneheadError } from '../errors.js';
import { checkSamples } from './level.js';
import type { DecodedChunk } from './wav.js';

/** Samples at a rate of their own; several channels are given one after another in an array. */
export interface Samples {
  /** From -1 to 1. */
  samples: Float32Array | readonly Float32Array[];
  /** Hertz. */
  sampleRate: number;
}

/** Throws OneheadError INVALID_ARGUMENT unless `sampleRate` is a rate in hertz. */
export function checkRate(sampleRate: unknown): asserts sampleRate is number {
  if (!Number.isInteger(sampleRate) || (sampleRate as number) < 1000 || (sampleRate as number) > 768_000) {
    refuse('sampleRate', 'a whole number of hertz from 1000 to 768000', sampleRate);
  }
}

/** The samples and their duration in seconds. Throws OneheadError INVALID_ARGUMENT, or AUDIO_INVALID when there are none. */
export function givenSamples({ samples, sampleRate }: Samples): {
  duration: number;
  decoded: () => AsyncGenerator<DecodedChunk>;
} {
  checkRate(sampleRate);
  const channels: readonly Float32Array[] = samples instanceof Float32Array ? [samples] : samples;
  const length = Array.isArray(channels) ? (channels[0]?.length ?? 0) : 0;
  const alike = (channel: unknown) => channel instanceof Float32Array && channel.length === length;
  if (!Array.isArray(channels) || !channels.every(alike)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      'Expected samples to be a Float32Array, or an array of one of the same length for each channel.',
      { argument: 'samples' },
    );
  }
  if (length === 0) throw new OneheadError('AUDIO_INVALID', 'The given samples are empty; they contain no audio.');
  for (const channel of channels as Float32Array[]) checkSamples(channel);
  async function* decoded(): AsyncGenerator<DecodedChunk> {
    yield { channels: [...channels], sampleRate };
  }
  return { duration: length / sampleRate, decoded };
}
