/** Runs a case with Nsight Compute, and reads the counters that show what limits it. */
import { spawnSync } from 'node:child_process';
import type { FloatingType } from '../../lib/element-types.js';

export interface Counters {
  /** The kernel, with its template arguments. */
  function: string;
  microseconds: number;
  /** The memory traffic as a percentage of the device's peak. */
  memoryPercent: number;
  /** The occupancy: resident warps as a percentage of a multiprocessor's maximum. */
  warpsPercent: number;
  registers: number;
  blocks: number;
  threads: number;
}

const metrics: Record<Exclude<keyof Counters, 'function'>, string> = {
  microseconds: 'gpu__time_duration.sum',
  memoryPercent: 'dram__throughput.avg.pct_of_peak_sustained_elapsed',
  warpsPercent: 'sm__warps_active.avg.pct_of_peak_sustained_active',
  registers: 'launch__registers_per_thread',
  blocks: 'launch__grid_size',
  threads: 'launch__block_size',
};
/** Kernels that do not belong to a case: they fill tensors and end replays. */
const excludedKernels = /^(fill|publish)Kernel/;

/** The fields of a line of CSV. Fields in quotes may contain commas. */
const fieldsOf = (line: string): string[] =>
  Array.from(line.matchAll(/"((?:[^"]|"")*)"|([^,]+)/g), ([, quoted, plain]) => quoted ?? plain);

/** Parses the output of `ncu --csv --page raw`, which has a line for each kernel. */
export function parseCounters(printed: string): Counters[] {
  const lines = printed.split('\n').filter((line) => line.startsWith('"'));
  if (lines.length < 2) return [];
  const [names, units, ...rows] = lines.map(fieldsOf);
  return rows.map((row) => {
    const value = (metric: string): number => {
      const column = names.indexOf(metric);
      const number = Number((row[column] ?? 'NaN').replaceAll(',', ''));
      const unit = units[column];
      if (metric !== metrics.microseconds) return number;
      return unit === 'ns' || unit === 'nsecond'
        ? number / 1000
        : unit === 'ms' || unit === 'msecond'
          ? number * 1000
          : number;
    };
    const counters = Object.fromEntries(Object.entries(metrics).map(([name, metric]) => [name, value(metric)]));
    const name = (row[names.indexOf('Kernel Name')] ?? '').replace(
      /onehead::cuda::|<unnamed>::|\(anonymous namespace\)::/g,
      '',
    );
    return { function: name.replace(/^void /, '').replace(/\((?!int\)|bool\)).*$/, ''), ...counters } as Counters;
  });
}

/** Runs a case with `ncu`. Throws an Error with the last lines of its output if that fails. */
export function profileCase(name: string, batches: string, kind: string, dtype: FloatingType): Counters[] {
  const ncu = process.env.ONEHEAD_NCU ?? 'ncu';
  const metricNames = Object.values(metrics).join(',');
  const options = ['--csv', '--page', 'raw', '--target-processes', 'all', '--metrics', metricNames];
  const program = [process.execPath, '--import', 'tsx', new URL('../main.ts', import.meta.url).pathname, 'operations'];
  const chosen = ['--launch', '--exactly', name, '--batches', batches, '--device', kind, '--dtype', dtype];
  const { status, stdout, stderr, error } = spawnSync(ncu, [...options, ...program, ...chosen], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    timeout: 120_000,
  });
  if (error) throw new Error(`${ncu} could not be run: ${error.message}`);
  const counters = parseCounters(stdout).filter((row) => !excludedKernels.test(row.function));
  if (status !== 0 || counters.length === 0) {
    throw new Error(`ncu printed no counters: ${`${stdout}\n${stderr}`.trim().split('\n').slice(-3).join(' ')}`);
  }
  return counters;
}
