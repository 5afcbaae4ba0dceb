/** A case under Nsight Compute, in a process of its own: a few counters that say what bounds it. */
import { spawnSync } from 'node:child_process';
import type { FloatingType } from '../../lib/element-types.js';

export interface Counters {
  /** The function that ran, with its template's arguments. */
  function: string;
  microseconds: number;
  /** Bytes of device memory, read and written, beside what the device could move in that time. */
  memoryPercent: number;
  /** Warps resident, of those that a multiprocessor has room for. */
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
/** What opening a device, filling tensors and ending a replay start. */
const others = /^(fill|publish)Kernel/;

/** Fields of a line of CSV; those in quotes may hold commas. */
const fieldsOf = (line: string): string[] =>
  Array.from(line.matchAll(/"((?:[^"]|"")*)"|([^,]+)/g), ([, quoted, plain]) => quoted ?? plain);

/** The table that `ncu --csv --page raw` prints, a kernel a line. */
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
    const counted = Object.fromEntries(Object.entries(metrics).map(([name, metric]) => [name, value(metric)]));
    const name = (row[names.indexOf('Kernel Name')] ?? '').replace(
      /onehead::cuda::|<unnamed>::|\(anonymous namespace\)::/g,
      '',
    );
    return { function: name.replace(/^void /, '').replace(/\((?!int\)|bool\)).*$/, ''), ...counted } as Counters;
  });
}

/** Runs the case of this name under `ncu`. Throws what ncu says where it fails. */
export function profileCase(named: string, batches: string, kind: string, dtype: FloatingType): Counters[] {
  const ncu = process.env.ONEHEAD_NCU ?? 'ncu';
  const counted = ['--metrics', Object.values(metrics).join(',')];
  const options = ['--csv', '--page', 'raw', '--target-processes', 'all', ...counted];
  const program = [process.execPath, '--import', 'tsx', new URL('../main.ts', import.meta.url).pathname, 'operations'];
  const chosen = ['--launch', '--exactly', named, '--batches', batches, '--device', kind, '--dtype', dtype];
  const { status, stdout, stderr, error } = spawnSync(ncu, [...options, ...program, ...chosen], {
    encoding: 'utf8',
    maxBuffer: 1 << 26,
    timeout: 120_000,
  });
  if (error) throw new Error(`${ncu} could not be run: ${error.message}`);
  const counters = parseCounters(stdout).filter((row) => !others.test(row.function));
  if (status !== 0 || counters.length === 0) {
    throw new Error(`ncu counted nothing: ${`${stdout}\n${stderr}`.trim().split('\n').slice(-3).join(' ')}`);
  }
  return counters;
}
