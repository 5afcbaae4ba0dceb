/** Results of experiments, and their files. */

import { readFile } from 'node:fs/promises';
import { refuse } from '../../checks.js';
import { OneheadError, reasonOf } from '../../errors.js';
import { parseJson } from '../../json.js';
import { writeNamed } from '../../whole-file.js';
import { requirePath } from '../io-model/arguments.js';
import type { Machine } from './machine.js';
import type { Statistics } from './statistics.js';

/** One measured case. */
export interface ProfileRow {
  /** The combination of settings that was measured; it identifies the row. */
  case: Record<string, string | number>;
  /** Microseconds; null if the case could not be measured, with the reason in `note`. */
  time: Statistics | null;
  /** Counted or derived figures; their names contain the unit. */
  figures: Record<string, number>;
  note?: string;
}

export interface ExperimentResult {
  experiment: string;
  /** ISO 8601; when the last group was finished. */
  date: string;
  machine: Machine;
  /** Every setting that determines what is measured. */
  settings: Record<string, unknown>;
  /** Figures that apply to the whole run, such as the device's ceilings. */
  facts: Record<string, number>;
  /** Names of the finished groups of cases; all of them if `complete`. */
  groups: string[];
  complete: boolean;
  rows: ProfileRow[];
}

const format = 'onehead-profile-1';

/**
 * Writes results atomically, so that an interruption leaves the previous file. Numbers keep all digits, so that a
 * report from the file equals one from the results themselves. Throws OneheadError INVALID_ARGUMENT if that fails.
 */
export async function writeResults(file: string, experiments: readonly ExperimentResult[]): Promise<void> {
  requirePath('file', file);
  requireResults(experiments);
  // About one row per line; strings contain no unescaped line breaks.
  const text = JSON.stringify({ format, experiments }, null, 1).replace(/\n {5,}/g, '');
  await writeNamed(file, `${text}\n`);
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

function isTime(value: unknown): boolean {
  if (value === null) return true;
  return isRecord(value) && ['median', 'low', 'high', 'count'].every((name) => Number.isFinite(value[name]));
}

const isText = (value: unknown): boolean => typeof value === 'string';
/** JSON has null for numbers that are not finite. */
const isNumber = (value: unknown): boolean => typeof value === 'number' || value === null;

function isRow(row: unknown): boolean {
  return (
    isRecord(row) &&
    isRecord(row.case) &&
    Object.values(row.case).every((value) => isText(value) || Number.isFinite(value)) &&
    isRecord(row.figures) &&
    Object.values(row.figures).every(isNumber) &&
    isTime(row.time)
  );
}

function isExperiment(value: unknown): boolean {
  return (
    isRecord(value) &&
    [value.experiment, value.date].every(isText) &&
    [value.machine, value.settings, value.facts].every(isRecord) &&
    Array.isArray(value.groups) &&
    Array.isArray(value.rows) &&
    value.rows.every(isRow)
  );
}

/** Throws OneheadError INVALID_ARGUMENT for what is not a list of results. */
export function requireResults(results: unknown): void {
  const isResult = (one: unknown) => isRecord(one) && Array.isArray(one.rows) && one.rows.every(isRecord);
  if (!Array.isArray(results) || !results.every(isResult)) refuse('results', 'a list of results of profile()', results);
}

/** Reads a file of `writeResults`. Throws OneheadError INVALID_ARGUMENT for any other file. */
export async function readResults(file: string): Promise<ExperimentResult[]> {
  requirePath('file', file);
  let json: unknown;
  try {
    json = parseJson(await readFile(file, 'utf8'));
  } catch (cause) {
    const reason = cause instanceof SyntaxError ? 'it is not JSON' : reasonOf(cause);
    throw new OneheadError('INVALID_ARGUMENT', `Cannot read results from ${file}: ${reason}.`, { cause });
  }
  if (
    !isRecord(json) ||
    json.format !== format ||
    !Array.isArray(json.experiments) ||
    !json.experiments.every(isExperiment)
  ) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `${file} does not contain results of \`onehead profile --json\`; name a file that it has written.`,
    );
  }
  return json.experiments as ExperimentResult[];
}

/** A row's identity as text. */
export const caseKey = (row: ProfileRow): string =>
  Object.entries(row.case)
    .map(([name, value]) => `${name}=${value}`)
    .join(' ');

/** Quotes a field for CSV (RFC 4180). */
const field = (value: unknown): string => {
  const text = String(value ?? '');
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

/** All rows as CSV: case, microseconds and figures, with one column for each name in any row. */
export function toCsv(experiments: readonly ExperimentResult[]): string {
  requireResults(experiments);
  const names = (of: 'case' | 'figures') => [
    ...new Set(experiments.flatMap(({ rows }) => rows.flatMap((row) => Object.keys(row[of])))),
  ];
  const [cases, figures] = [names('case'), names('figures')];
  const head = ['experiment', ...cases, 'microseconds', 'low', 'high', 'samples', ...figures, 'note'];
  const lines = experiments.flatMap(({ experiment, rows }) =>
    rows.map((row) => [
      experiment,
      ...cases.map((name) => row.case[name]),
      row.time?.median,
      row.time?.low,
      row.time?.high,
      row.time?.count,
      ...figures.map((name) => row.figures[name]),
      row.note,
    ]),
  );
  return [head, ...lines].map((line) => `${line.map(field).join(',')}\r\n`).join('');
}
