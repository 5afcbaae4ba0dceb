/** Samples given by the caller. */
import { refuse, requireMemory } from '../checks.js';
import { OneheadError } from '../errors.js';
import { yieldTimeSlice } from '../workers/time-slices.js';
import { checkSamples } from './level.js';
import type { DecodedChunk } from './wav.js';

/** Samples with their rate; several channels are an array of arrays. */
export interface Samples {
  /** From -1 to 1. They must not change until the call has ended. */
  samples: Float32Array | readonly Float32Array[];
  /** Hertz. */
  sampleRate: number;
}

/** Throws OneheadError INVALID_ARGUMENT unless `sampleRate` is a rate in hertz. */
function checkRate(sampleRate: unknown): asserts sampleRate is number {
  if (!Number.isInteger(sampleRate) || (sampleRate as number) < 1000 || (sampleRate as number) > 768_000) {
    refuse('sampleRate', 'a whole number of hertz from 1000 to 768000', sampleRate);
  }
}

/** Samples checked before other work may run. */
const stepSamples = 1 << 18;

/**
 * The samples, a second at a time, and their duration in seconds. Throws OneheadError INVALID_ARGUMENT, or
 * AUDIO_INVALID if there are none.
 */
export async function givenSamples({ samples, sampleRate }: Samples): Promise<{
  duration: number;
  channels: readonly Float32Array[];
  decoded: () => AsyncGenerator<DecodedChunk>;
}> {
  checkRate(sampleRate);
  const channels: readonly Float32Array[] = samples instanceof Float32Array ? [samples] : samples;
  const length = Array.isArray(channels) ? (channels[0]?.length ?? 0) : 0;
  const alike = (channel: unknown) => channel instanceof Float32Array && channel.length === length;
  if (!Array.isArray(channels) || !channels.every(alike)) {
    refuse('samples', 'a Float32Array, or a list with a Float32Array of equal length for each channel', samples);
  }
  for (const channel of channels) requireMemory('samples', channel);
  if (length === 0) throw new OneheadError('AUDIO_INVALID', 'The given samples are empty; they contain no audio.');
  for (const channel of channels) {
    for (let at = 0; at < length; at += stepSamples) {
      requireMemory('samples', channel); // other work may have run since
      checkSamples(channel, at, Math.min(at + stepSamples, length));
      await yieldTimeSlice();
    }
  }
  async function* decoded(): AsyncGenerator<DecodedChunk> {
    for (let at = 0; at < length; at += sampleRate) {
      for (const channel of channels) requireMemory('samples', channel);
      yield { channels: channels.map((channel) => channel.subarray(at, at + sampleRate)), sampleRate, checked: true };
    }
  }
  return { duration: length / sampleRate, channels, decoded };
}
