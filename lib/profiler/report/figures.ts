/** Tables and charts of a result, and the formats of their figures. Charts are drawn elsewhere. */
import type { ExperimentResult, ProfileRow } from '../measuring/result.js';
import { isNoisy, relativeSpread, type Statistics } from '../measuring/statistics.js';

export interface Table {
  title: string;
  /** The first columns name the case. */
  columns: string[];
  rows: string[][];
  note?: string;
}

export interface Chart {
  /** File name without extension. */
  name: string;
  title: string;
  /** What the plot shows. */
  caption: string;
  /** Vega-Lite, without the theme. */
  spec: Record<string, unknown>;
}

/**
 * A small chart for each `panel` of the values, in order of appearance. `independent`: axes that are scaled for each
 * panel separately.
 */
export function panels(
  values: readonly { panel: string }[],
  spec: Record<string, unknown>,
  { columns = 2, independent = [] }: { columns?: number; independent?: readonly ('x' | 'y')[] } = {},
): Record<string, unknown> {
  const order = [...new Set(values.map(({ panel }) => panel))];
  // Prefers a number of columns that fills all rows, since axes are also drawn for empty cells of the last row.
  const widest = Math.min(columns, Math.max(1, order.length));
  const filling = Array.from({ length: widest }, (_, i) => widest - i).find(
    (count) => count > 1 && order.length % count === 0,
  );
  return {
    data: { values },
    facet: { field: 'panel', type: 'nominal', title: null, sort: order },
    columns: filling ?? widest,
    resolve: { scale: Object.fromEntries(independent.map((axis) => [axis, 'independent'])) },
    spec,
  };
}

/** A time with three significant digits: 1.23 ms, 45.6 µs, 7.89 s. */
export function duration(microseconds: number): string {
  const [value, unit] =
    microseconds >= 1e6
      ? [microseconds / 1e6, 's']
      : microseconds >= 1e3
        ? [microseconds / 1e3, 'ms']
        : [microseconds, 'µs'];
  return `${digits(value)} ${unit}`;
}

/** Three significant digits, without an exponent; - for a figure that is infinite or that an older result lacks. */
export function digits(value: number): string {
  if (!Number.isFinite(value)) return '-';
  const size = Math.abs(value);
  return size === 0 ? '0' : value.toFixed(size >= 100 ? 0 : size >= 10 ? 1 : 2);
}

/** A figure computed from a time, marked with ~ if the time is too noisy to be compared. */
export const marked = (time: Statistics, text: string): string => (isNoisy(time) ? `~${text}` : text);

/**
 * The median and its spread: ± is the distance to the farther end of the interval, in percent. A single sample has no
 * spread. A noisy time is marked and shown with its interval, since a percentage would be meaningless.
 */
export function spread(time: Statistics): string {
  const { median, low, high, count } = time;
  if (count === 1) return duration(median);
  if (isNoisy(time)) return `~${duration(median)} (${duration(low)} to ${duration(high)})`;
  return `${duration(median)} ±${(100 * relativeSpread(time)).toFixed(0)}%`;
}

export const mebibytes = (bytes: number): string => digits(bytes / 2 ** 20);

/** The values of one field of the cases, in order of appearance. */
export function valuesOf(rows: readonly ProfileRow[], field: string): (string | number)[] {
  return [...new Set(rows.map((row) => row.case[field]).filter((value) => value !== undefined))];
}

/** The first row whose case has these values. */
export function findRow(rows: readonly ProfileRow[], values: Record<string, string | number>): ProfileRow | undefined {
  return rows.find((row) => Object.entries(values).every(([name, value]) => row.case[name] === value));
}

/** A table with a row for each combination of `down` and a column for each value of `across`. */
export function pivot(
  title: string,
  rows: readonly ProfileRow[],
  down: readonly string[],
  across: string,
  cell: (row: ProfileRow, line: Record<string, string | number>) => string,
): Table {
  const columns = valuesOf(rows, across);
  const lines = new Map<string, Record<string, string | number>>();
  for (const row of rows) {
    const line = Object.fromEntries(down.map((name) => [name, row.case[name] ?? '']));
    lines.set(JSON.stringify(line), line);
  }
  return {
    title,
    columns: [...down.map(spaced), ...columns.map(String)],
    rows: [...lines.values()].map((line) => [
      ...down.map((name) => String(line[name])),
      ...columns.map((value) => {
        const row = findRow(rows, { ...line, [across]: value });
        return row ? (row.time ? cell(row, line) : (row.note ?? '')) : '';
      }),
    ]),
  };
}

/** Converts 'decoderLayers' to 'decoder layers'. */
export const spaced = (name: string): string => name.replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

/** True unless all cells of the column are numbers or empty. */
const isTextColumn = (rows: Table['rows'], column: number): boolean =>
  rows.some((line) => /^[^\d<>±~(-]/.test(line[column]));

/** Writes a table as plain text with aligned columns, numbers at the right. */
export function toText({ title, columns, rows, note }: Table): string {
  const cells = [columns, ...rows];
  const widths = columns.map((_, i) => Math.max(...cells.map((line) => line[i].length)));
  const left = columns.map((_, i) => isTextColumn(rows, i));
  const write = (line: string[]) =>
    line
      .map((cell, i) => (left[i] ? cell.padEnd(widths[i]) : cell.padStart(widths[i])))
      .join('  ')
      .trimEnd();
  const ruler = widths.map((width) => '-'.repeat(width)).join('  ');
  return `${[title, '', write(columns), ruler, ...rows.map(write), ...(note ? ['', note] : [])].join('\n')}\n`;
}

/** Writes a table as GitHub Markdown. */
export function toMarkdown({ title, columns, rows, note }: Table): string {
  const write = (line: string[]) => `| ${line.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  const ruler = columns.map((_, i) => (isTextColumn(rows, i) ? '---' : '---:'));
  return `${[`**${title}**`, '', write(columns), write(ruler), ...rows.map(write), ...(note ? ['', note] : [])].join('\n')}\n`;
}

/** Describes the machine, the settings and the date of a result, in one line. */
export function describeRun({ machine, settings, date }: ExperimentResult): string {
  const { device, dtype, threads } = settings as { device: string; dtype: string; threads?: number };
  const gpu = /^cuda(?::(\d+))?$/.exec(device);
  const where = gpu ? (machine.gpus[Number(gpu[1] ?? 0)] ?? device) : machine.cpu;
  const team = threads ? `${threads} ${threads === 1 ? 'thread' : 'threads'}` : 'threads not recorded';
  const details = [device, dtype, ...(device === 'cpu' ? [team] : []), `onehead ${machine.onehead}`];
  return `${where}: ${details.join(', ')}${machine.commit ? ` (${machine.commit.slice(0, 7)})` : ''}, ${date.slice(0, 10)}`;
}
