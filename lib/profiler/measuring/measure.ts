/** Measures several variants in turns, so that changes of the machine's speed affect all of them alike. */
import { fewestSamples, type Statistics, statistics } from './statistics.js';

/** One variant. A sample holds the microseconds of each stage; all samples have the same stages. */
export interface Sampler {
  name: string;
  sample(): Promise<Record<string, number>>;
}

export interface Effort {
  /** The maximum number of samples of each variant. */
  repeats: number;
  /** Measuring ends after this time multiplied by the number of variants, once each has three samples. */
  seconds: number;
  /**
   * Ends after three times as long even with fewer than three samples, so that a quick run is not long on a slow
   * machine.
   */
  bounded?: boolean;
}

/** The limit of a bounded measurement, as a multiple of the time allowed. */
const boundedFactor = 3;

/**
 * Takes one warm-up sample of each variant, then one sample of each per round; each round begins with the next variant.
 * Returns the statistics of each variant's stages by name. Rejects with the signal's reason.
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
    if (elapsed > allowed && round + 1 >= fewestSamples) break;
    if (bounded && elapsed > boundedFactor * allowed) break;
  }
  return new Map(
    samplers.map(({ name }, i) => [
      name,
      Object.fromEntries(Object.entries(samples[i]).map(([stage, values]) => [stage, statistics(values)])),
    ]),
  );
}
