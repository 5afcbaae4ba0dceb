/** Findings of a result: which variants differ, and warnings about conditions that make its figures unreliable. */
import type { ExperimentResult, ProfileRow } from '../measuring/result.js';
import {
  changeOf,
  fewestSamples,
  isNoisy,
  noisyShare,
  relativeSpread,
  type Statistics,
} from '../measuring/statistics.js';
import { digits, duration, findRow, spaced, type Table, valuesOf } from './figures.js';

/** The base variant of comparisons, and the rows that are compared: those with these values of one field. */
export interface Compared {
  base: string;
  field: 'stage' | 'operation';
  values: readonly string[];
}

/** The load at the start, as a share of the cores, above which the report warns of a busy machine. */
const busyShare = 0.25;

const percent = (share: number): string => `${Math.round(100 * share)}%`;
/** The name of a row's case, such as 'tiny, decoder layers 4, batch 1, multi-head, decode'. */
const caseName = ({ case: values }: ProfileRow): string =>
  Object.entries(values)
    .map(([name, value]) => (typeof value === 'number' ? `${spaced(name)} ${value}` : value))
    .join(', ');

/** Warnings about figures that cannot be trusted. */
export function warningsOf({ machine, rows }: ExperimentResult): string[] {
  const timed = rows.filter((row): row is ProfileRow & { time: Statistics } => row.time !== null);
  const noisy = timed
    .filter(({ time }) => isNoisy(time))
    .sort((a, b) => relativeSpread(b.time) - relativeSpread(a.time));
  const few = timed.filter(({ time }) => time.count < fewestSamples).length;
  const { load, cores } = machine;
  return [
    ...(load !== undefined && load > busyShare * cores
      ? [
          `The machine was busy before the run began (load average ${digits(load)} on ${cores} cores), so times may be too long and vary widely.`,
        ]
      : []),
    ...(noisy.length > 0
      ? [
          `${noisy.length} of ${timed.length} times are marked ~: the 95% interval of the median reaches more than ${percent(noisyShare)} ` +
            'away from it, so they cannot be compared. ' +
            `The widest interval is that of ${caseName(noisy[0])}: ${duration(noisy[0].time.low)} to ${duration(noisy[0].time.high)}. ` +
            'Measure again on an idle machine, or with more --repeats and --seconds.',
        ]
      : []),
    ...(few > 0 ? [`${few} of ${timed.length} times have fewer than three samples, so their spread is unknown.`] : []),
  ];
}

/**
 * Counts the cases in which each variant was faster or slower than the base variant or did not differ from it (see
 * changeOf), with the range of speedups. Null if no variant can be compared.
 */
export function comparisonWithBase(rows: readonly ProfileRow[], { base, field, values }: Compared): Table | null {
  const lines = values.flatMap((value) => {
    const chosen = rows.filter((row) => row.time && row.case[field] === value);
    return valuesOf(chosen, 'variant').flatMap((variant) => {
      if (variant === base) return [];
      const pairs = chosen.flatMap((row) => {
        const other = row.case.variant === variant && findRow(chosen, { ...row.case, variant: base })?.time;
        return other ? [{ time: row.time!, other }] : [];
      });
      if (pairs.length === 0) return [];
      const changes = pairs.map(({ time, other }) => changeOf(other, time));
      const [faster, slower] = ['faster', 'slower'].map((one) => changes.filter((change) => change === one).length);
      const ratios = pairs.map(({ time, other }) => other.median / time.median);
      const [lowest, highest] = [digits(Math.min(...ratios)), digits(Math.max(...ratios))];
      const counts = [faster, slower, pairs.length - faster - slower].map(String);
      return [[value, String(variant), ...counts, lowest === highest ? lowest : `${lowest} to ${highest}`]];
    });
  });
  if (lines.length === 0) return null;
  return {
    title: `Number of cases in which a variant was faster or slower than ${base}`,
    columns: [field, 'variant', 'faster', 'slower', 'no difference', 'speedup'],
    rows: lines,
    note: 'No difference: the 95% intervals of the two medians overlap, or a time has fewer than three samples.',
  };
}
