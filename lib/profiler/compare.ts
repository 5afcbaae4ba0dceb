/** Compares two results and finds the rows that differ by more than their noise. */
import { caseKey, type ExperimentResult, requireResults } from './measuring/result.js';
import { type Change, changeOf, type Statistics } from './measuring/statistics.js';
import { digits, duration, type Table } from './report/figures.js';

export interface Comparison {
  experiment: string;
  case: Record<string, string | number>;
  a: Statistics;
  b: Statistics;
  /** The median of b divided by that of a: below 1, b is faster. */
  ratio: number;
  /** 'none' if the 95% confidence intervals of the two medians overlap, or there are fewer than three samples. */
  change: Change;
}

export interface CompareResult {
  rows: Comparison[];
  /** Numbers of rows without a counterpart. */
  onlyA: number;
  onlyB: number;
}

function times(results: readonly ExperimentResult[]) {
  requireResults(results);
  const found = new Map<string, Pick<Comparison, 'experiment' | 'case'> & { time: Statistics }>();
  for (const { experiment, rows } of results) {
    for (const row of rows) {
      if (row.time) found.set(`${experiment} ${caseKey(row)}`, { experiment, case: row.case, time: row.time });
    }
  }
  return found;
}

/** Compares the times of rows with the same experiment and case. */
export function compare(a: readonly ExperimentResult[], b: readonly ExperimentResult[]): CompareResult {
  const [before, after] = [times(a), times(b)];
  const rows: Comparison[] = [];
  for (const [key, { experiment, case: values, time }] of before) {
    const other = after.get(key)?.time;
    if (!other) continue;
    const ratio = other.median / time.median;
    rows.push({ experiment, case: values, a: time, b: other, ratio, change: changeOf(time, other) });
  }
  return { rows, onlyA: before.size - rows.length, onlyB: after.size - rows.length };
}

/** Differences of machine and settings, because of which times may not be comparable. */
export function differences(a: readonly ExperimentResult[], b: readonly ExperimentResult[]): string[] {
  const found = new Set<string>();
  for (const first of a) {
    const second = b.find(({ experiment }) => experiment === first.experiment);
    if (!second) continue;
    for (const part of ['machine', 'settings'] as const) {
      const [x, y] = [first[part] as Record<string, unknown>, second[part] as Record<string, unknown>];
      for (const name of new Set([...Object.keys(x), ...Object.keys(y)])) {
        if (['commit', 'onehead', 'load'].includes(name)) continue;
        const [valueA, valueB] = [JSON.stringify(x[name]) ?? 'none', JSON.stringify(y[name]) ?? 'none'];
        if (valueA !== valueB) found.add(`${name}: ${valueA} against ${valueB}`);
      }
    }
  }
  return [...found];
}

/** The changed rows, the largest change first; all rows when `all`. */
export function comparisonTable({ rows, onlyA, onlyB }: CompareResult, all = false): Table {
  const size = ({ ratio }: Comparison) => Math.abs(Math.log(ratio));
  const shown = rows.filter(({ change }) => all || change !== 'none').sort((x, y) => size(y) - size(x));
  const changed = rows.filter(({ change }) => change !== 'none').length;
  const unmatched = onlyA + onlyB > 0 ? ` ${onlyA + onlyB} rows are in only one file.` : '';
  return {
    title: `${changed} of ${rows.length} rows changed beyond the noise`,
    columns: ['experiment', 'case', 'A', 'B', 'B / A', 'change'],
    rows: shown.map(({ experiment, case: values, a, b, ratio, change }) => [
      experiment,
      Object.values(values).join(', '),
      duration(a.median),
      duration(b.median),
      digits(ratio),
      change,
    ]),
    note: `A row has changed if the 95% confidence intervals of its two medians do not overlap and both have three samples.${unmatched}`,
  };
}
