/** Statistics of repeated measurements: the median and its confidence interval. */

import { refuse } from '../../checks.js';

/** Statistics of samples of one quantity. */
export interface Statistics {
  median: number;
  /**
   * The 95% confidence interval of the median, computed from the order of the samples because times are not normally
   * distributed (Hoefler and Belli, "Scientific Benchmarking of Parallel Computing Systems", 2015). With fewer than six
   * samples, their range.
   */
  low: number;
  high: number;
  /** Number of samples. */
  count: number;
}

/** A median is unfit for comparison if its interval reaches farther from it than this share of the median. */
export const noisyShare = 0.5;

/** The distance of the interval's farther end from the median, as a share of the median; 0 for a single sample. */
export function relativeSpread({ median, low, high, count }: Statistics): number {
  return count === 1 || median === 0 ? 0 : Math.max(high - median, median - low) / median;
}

export const isNoisy = (time: Statistics): boolean => relativeSpread(time) > noisyShare;

/** With fewer samples the spread is unknown: even the ranges of two times two equal samples are often apart. */
export const fewestSamples = 3;

export type Change = 'faster' | 'slower' | 'none';

/**
 * Whether the second time is faster or slower than the first: the 95% confidence intervals of the medians do not
 * overlap. 'none' also with too few samples.
 */
export function changeOf(before: Statistics, after: Statistics): Change {
  if (Math.min(before.count, after.count) < fewestSamples) return 'none';
  if (after.high < before.low) return 'faster';
  return after.low > before.high ? 'slower' : 'none';
}

/** The largest k such that fewer than k of n samples lie below the median with a probability of at most 2.5%. */
function rank(n: number): number {
  let probability = 0.5 ** n;
  let cumulative = 0;
  for (let k = 0; k <= n; ++k) {
    cumulative += probability;
    if (cumulative > 0.025) return k;
    probability *= (n - k) / (k + 1);
  }
  return n;
}

/** Computes the statistics of at least one sample. */
export function statistics(samples: readonly number[]): Statistics {
  const isNumber = (sample: unknown) => typeof sample === 'number';
  if (!Array.isArray(samples) || samples.length === 0 || !samples.every(isNumber)) {
    refuse('samples', 'a list of at least one number', samples);
  }
  const sorted = [...samples].sort((a, b) => a - b);
  const count = sorted.length;
  const middle = count >> 1;
  const median = count % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
  // For large counts 0.5 ** n underflows; beyond a thousand samples the normal approximation is exact enough.
  const below = count > 1000 ? Math.floor((count - 1.96 * Math.sqrt(count)) / 2) : rank(count);
  const outer = Math.max(0, below - 1);
  return { median, low: sorted[outer], high: sorted[count - 1 - outer], count };
}
