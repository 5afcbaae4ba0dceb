/** Plots the spread of times: a rule over the 95% interval of each median. */
import { isNoisy, noisyShare, type Statistics } from '../measuring/statistics.js';

/** A plotted figure; `low` and `high` are cut to what leaves the others readable. */
export interface Plotted {
  value: number;
  low: number;
  high: number;
  noisy: boolean;
}

/** An interval beyond this many times the figure is cut: one disturbed sample must not flatten a plot. */
const cut = 3;

const limited = (value: number, low: number, high: number, noisy: boolean): Plotted => ({
  value,
  low: Math.max(low, value / cut),
  high: Math.min(high, value * cut),
  noisy,
});

/** A time in milliseconds, or in another unit of so many microseconds. */
export function plotted(time: Statistics, unit = 1000): Plotted {
  return limited(time.median / unit, time.low / unit, time.high / unit, isNoisy(time));
}

/** A rate that is `work` over a time. */
export function plottedRate(work: number, time: Statistics): Plotted {
  return limited(work / time.median, work / time.high, work / time.low, isNoisy(time));
}

/** One time over another, as far apart as their intervals allow. */
export function plottedRatio(a: Statistics, b: Statistics): Plotted {
  return limited(a.median / b.median, a.low / b.high, a.high / b.low, isNoisy(a) || isNoisy(b));
}

/** Explains the rules, for captions. */
export const intervalNote =
  `Rules: the 95% interval of the median, dashed where it reaches more than ${100 * noisyShare}% away from it; ` +
  'such figures cannot be compared.';

/** The layers of a plot of `Plotted` values along one axis: the mark, and the interval over it. */
export function intervalLayers(
  axis: 'x' | 'y',
  definition: Record<string, unknown>,
  mark: Record<string, unknown>,
  encoding: Record<string, unknown> = {},
): Record<string, unknown>[] {
  const bars = mark.type === 'bar';
  return [
    { mark, encoding: { [axis]: { ...definition, field: 'value' }, ...encoding } },
    {
      mark: { type: 'rule', strokeWidth: 1.5, clip: true, ...(bars && { color: '#222' }) },
      encoding: {
        [axis]: { ...definition, field: 'low' },
        [`${axis}2`]: { field: 'high' },
        strokeDash: { condition: { test: 'datum.noisy', value: [3, 3] }, value: [1, 0] },
      },
    },
  ];
}
