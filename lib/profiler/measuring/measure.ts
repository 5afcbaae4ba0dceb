/** Measures several variants side by side, so that a change of the machine's mood meets all of them. */
import { type Statistics, statistics } from './statistics.js';

/** One variant. A sample is the microseconds of each stage, the same stages each time. */
export interface Sampler {
  name: string;
  sample(): Promise<Record<string, number>>;
}

export interface Effort {
  /** Samples of each variant at most. */
  repeats: number;
  /** Measuring ends after this long for each variant, once it has three samples. */
  seconds: number;
  /**
   * Ends after three times as long even with fewer samples, so that a slow machine does not make a quick run a long
   * one.
   */
  bounded?: boolean;
}

const leastSamples = 3;
const mostTimes = 3;

/**
 * One round after another, each variant once a round and first in turn; one sample of each before that to warm up.
 * Gives each variant's stages by name. Rejects with the signal's reason.
 */
export async function interleave(
  samplers: readonly Sampler[],
  { repeats, seconds, bounded = false }: Effort,
  { signal, onProgress }: { signal?: AbortSignal; onProgress?: (share: number) => void } = {},
): Promise<Map<string, Record<string, Statistics>>> {
  const samples = samplers.map((): Record<string, number[]> => ({}));
  for (const { sample } of samplers) {
    signal?.throwIfAborted();
    await sample();
  }
  const started = performance.now();
  const allowed = 1000 * seconds * samplers.length;
  for (let round = 0; round < repeats; ++round) {
    for (let i = 0; i < samplers.length; ++i) {
      signal?.throwIfAborted();
      const turn = (i + round) % samplers.length;
      for (const [stage, microseconds] of Object.entries(await samplers[turn].sample())) {
        samples[turn][stage] ??= [];
        samples[turn][stage].push(microseconds);
      }
    }
    const elapsed = performance.now() - started;
    onProgress?.(Math.min(1, Math.max((round + 1) / repeats, elapsed / allowed)));
    if (elapsed > allowed && round + 1 >= leastSamples) break;
    if (bounded && elapsed > mostTimes * allowed) break;
  }
  return new Map(
    samplers.map(({ name }, i) => [
      name,
      Object.fromEntries(Object.entries(samples[i]).map(([stage, values]) => [stage, statistics(values)])),
    ]),
  );
}
