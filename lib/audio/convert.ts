/** Decoded samples as chunks at the rate asked for. */
import { setImmediate } from 'node:timers/promises';
import { OneheadError } from '../errors.js';
import type { Pick } from './channels.js';
import { tooLong } from './options.js';
import { Resampler } from './resample.js';
import type { DecodedChunk } from './wav.js';

/** Milliseconds after which other work of the program gets its turn, a timer that aborts among it. */
const turn = 20;

/**
 * What `pick` makes of the channels, one or more, at another rate, in chunks of at most a second; no sample at all is an error, and so are more
 * seconds than `maxDuration`.
 */
export async function* convert(
  decoded: AsyncGenerator<DecodedChunk>,
  pick: Pick,
  sampleRate: number,
  name: string,
  signal: AbortSignal,
  maxDuration = Number.POSITIVE_INFINITY,
): AsyncGenerator<Float32Array[]> {
  let resamplers: Resampler[] | null = null;
  let rate = 0;
  let given = 0;
  let decodedSeconds = 0;
  let since = performance.now();
  const seconds = function* (picked: readonly Float32Array[]) {
    for (let at = 0; at < picked[0].length; at += sampleRate) {
      yield picked.map((samples) => samples.subarray(at, at + sampleRate));
    }
  };
  for await (const { channels, sampleRate: from } of decoded) {
    if (from !== rate) {
      if (resamplers) yield* seconds(resamplers.map((one) => one.finish()));
      rate = from;
      resamplers = null;
    }
    decodedSeconds += channels[0].length / from;
    if (decodedSeconds > maxDuration) throw tooLong(name, maxDuration);
    // A second at a time, so that a decoder's large piece neither holds up the program nor doubles in memory.
    const length = channels[0].length;
    for (let at = 0; at < length; at += from) {
      signal.throwIfAborted();
      const picked = pick(channels, at, Math.min(at + from, length));
      given += picked[0].length;
      if (from !== sampleRate) resamplers ??= picked.map(() => new Resampler(from, sampleRate));
      yield* seconds(resamplers?.map((one, i) => one.push(picked[i])) ?? picked);
      if (performance.now() - since > turn) {
        await setImmediate();
        since = performance.now();
      }
    }
  }
  signal.throwIfAborted();
  if (given === 0) {
    throw new OneheadError('AUDIO_INVALID', `${name} contains no audio; record or export it again.`);
  }
  if (resamplers) yield* seconds(resamplers.map((one) => one.finish()));
}

/** Their mean. Float files can hold NaN and infinities; one of them would silence a whole window, so they become silence. */
export function mix(channels: readonly Float32Array[], begin: number, end: number): Float32Array {
  const mono = channels[0].slice(begin, end);
  for (let channel = 1; channel < channels.length; ++channel) {
    const samples = channels[channel];
    for (let i = 0; i < mono.length; ++i) mono[i] += samples[begin + i];
  }
  const share = 1 / channels.length;
  for (let i = 0; i < mono.length; ++i) {
    const sample = mono[i] * share;
    mono[i] = sample - sample === 0 ? sample : 0;
  }
  return mono;
}
