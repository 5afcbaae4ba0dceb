/** Plots the spread of times as a line (a rule in Vega-Lite) over the 95% interval of each median. */
import { isNoisy, noisyShare, type Statistics } from '../measuring/statistics.js';

/** A plotted figure; `low` and `high` are limited to keep the other figures readable. */
export interface Plotted {
  value: number;
  low: number;
  high: number;
  noisy: boolean;
}

/** Intervals are limited to this factor around the figure, so that one disturbed sample does not flatten a plot. */
const maximumFactor = 3;

const limited = (value: number, low: number, high: number, noisy: boolean): Plotted => ({
  value,
  low: Math.max(low, value / maximumFactor),
  high: Math.min(high, value * maximumFactor),
  noisy,
});

/** A time in a unit of this many microseconds; in milliseconds by default. */
export function plotted(time: Statistics, unit = 1000): Plotted {
  return limited(time.median / unit, time.low / unit, time.high / unit, isNoisy(time));
}

/** The rate `work` / time, with `work` in units times microseconds. */
export function plottedRate(work: number, time: Statistics): Plotted {
  return limited(work / time.median, work / time.high, work / time.low, isNoisy(time));
}

/** The ratio of two times; its interval combines the far ends of theirs. */
export function plottedRatio(a: Statistics, b: Statistics): Plotted {
  return limited(a.median / b.median, a.low / b.high, a.high / b.low, isNoisy(a) || isNoisy(b));
}

/** Explains the lines over the intervals, for captions. */
export const intervalNote =
  `Thin lines show the 95% interval of the median, dashed if it reaches more than ${100 * noisyShare}% away from it; ` +
  'such figures cannot be compared.';

/** The Vega-Lite layers of a plot of `Plotted` values along one axis: the mark and its interval. */
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
