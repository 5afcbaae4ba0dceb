/** Findings of a result: variants that can be told apart, and conditions that make its figures worthless. */
import type { ExperimentResult, ProfileRow } from '../measuring/result.js';
import { isNoisy, noisyShare, relativeSpread, type Statistics } from '../measuring/statistics.js';
import { digits, duration, findRow, spaced, type Table, valuesOf } from './figures.js';

/** The variant that others are compared with, and its rows: the values of one field of the case. */
export interface Compared {
  base: string;
  field: 'stage' | 'operation';
  values: readonly string[];
}

/** Work of other programs at the start, as a share of the cores, beyond which a run is called disturbed. */
const busyShare = 0.25;

const percent = (share: number): string => `${Math.round(100 * share)}%`;
/** 'tiny, decoder layers 4, batch 1, multi-head, decode'. */
const named = ({ case: what }: ProfileRow): string =>
  Object.entries(what)
    .map(([name, value]) => (typeof value === 'number' ? `${spaced(name)} ${value}` : value))
    .join(', ');

/** Sentences on what cannot be trusted; none where all is well. */
export function warningsOf({ machine, rows }: ExperimentResult): string[] {
  const timed = rows.filter((row): row is ProfileRow & { time: Statistics } => row.time !== null);
  const noisy = timed
    .filter(({ time }) => isNoisy(time))
    .sort((a, b) => relativeSpread(b.time) - relativeSpread(a.time));
  const few = timed.filter(({ time }) => time.count < 3).length;
  const { load, cores } = machine;
  return [
    ...(load !== undefined && load > busyShare * cores
      ? [
          `The machine was busy before the run began (load average ${digits(load)} on ${cores} cores), so times are too long and spread widely.`,
        ]
      : []),
    ...(noisy.length > 0
      ? [
          `${noisy.length} of ${timed.length} times are marked ~: the 95% interval of the median reaches more than ${percent(noisyShare)} ` +
            'away from it, so they cannot be compared. ' +
            `The widest is ${named(noisy[0])}: ${duration(noisy[0].time.low)} to ${duration(noisy[0].time.high)}. ` +
            'Measure again on an idle machine, or with more --repeats and --seconds.',
        ]
      : []),
    ...(few > 0
      ? [`${few} of ${timed.length} times have fewer than three samples: nothing is known of their spread.`]
      : []),
  ];
}

/**
 * In how many cases each variant was faster or slower than the base one, or could not be told apart from it (the
 * intervals of the two medians touch), and how many times as fast it was. Null where nothing stands beside the base.
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
      const faster = pairs.filter(({ time, other }) => time.high < other.low).length;
      const slower = pairs.filter(({ time, other }) => time.low > other.high).length;
      const ratios = pairs.map(({ time, other }) => other.median / time.median);
      const [least, most] = [digits(Math.min(...ratios)), digits(Math.max(...ratios))];
      const counts = [faster, slower, pairs.length - faster - slower].map(String);
      return [[value, String(variant), ...counts, least === most ? least : `${least} to ${most}`]];
    });
  });
  if (lines.length === 0) return null;
  return {
    title: `Beside ${base}: in how many cases a variant was faster, slower, or not told apart`,
    columns: [field, 'variant', 'faster', 'slower', 'not told apart', 'times as fast'],
    rows: lines,
    note: 'Not told apart: the 95% intervals of the two medians touch.',
  };
}
