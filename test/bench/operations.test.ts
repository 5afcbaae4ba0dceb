/** The benchmark of operations: cases, failures, and unknown names. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { parseCounters } from '../../bench/operations/counters.js';
import { PreparedCase, timeCase } from '../../bench/operations/time.js';
import { ResultFile } from '../../bench/result-file.js';
import { Device } from '../../lib/device/device.js';
import { StreamingRead } from '../../lib/profiler/measuring/ceilings.js';
import { RandomWeights } from '../../lib/profiler/measuring/random-weights.js';
import { families } from '../cases/index.js';

const root = new URL('../..', import.meta.url).pathname;
const bench = (...options: string[]) =>
  spawnSync(process.execPath, ['--import', 'tsx', 'bench/main.ts', 'operations', ...options], {
    cwd: root,
    encoding: 'utf8',
  });

it('times each operation at a small shape of Whisper', async () => {
  using device = new Device('cpu', { threads: 1 });
  const [bytes, elements] = [1 << 20, 1 << 21];
  const weights = await RandomWeights.create(elements);
  try {
    const read = await StreamingRead.create(device, 'float32', weights, bytes);
    for (const { timed } of Object.values(families)) {
      const [one] = timed(1).filter(
        (given) => given.operations! < 1e9 && PreparedCase.largestWeight(given, 'float32') < elements,
      );
      const effort = { repeats: 3, seconds: 0 };
      const row = await timeCase(device, one, 'float32', { weights, read, effort });
      expect(row).toMatchObject({ operation: one.operation, name: one.name, bytes: one.bytes!(4) });
      expect(row.time.median).toBeGreaterThan(0);
      expect(row.time.count).toBe(3);
      expect(row.readBytesPerSecond).toBeGreaterThan(0);
    }
    read.dispose();
  } finally {
    await weights.dispose();
  }
});

it('keeps results before a failed case, and continues after it', async () => {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
  onTestFinished(() => {
    rmSync(folder, { recursive: true });
    process.exitCode = 0;
  });
  const file = new ResultFile(join(folder, 'new', 'result.json'), {
    date: '',
    complete: false,
    failures: [] as { case: string; message: string }[],
    rows: [] as number[],
  });
  const stored = () => JSON.parse(readFileSync(file.path, 'utf8'));
  const keep = (row: number) => file.result.rows.push(row);
  await file.attempt('one', async () => 1, keep);
  await file.attempt('two', () => Promise.reject(new Error('no')), keep);
  expect(stored()).toMatchObject({ complete: false, rows: [1], failures: [{ case: 'two', message: 'no' }] });
  await file.attempt('three', async () => 3, keep);
  file.finish();
  expect(stored()).toMatchObject({ complete: true, rows: [1, 3] });
  expect(process.exitCode).toBe(1);
});

it('checks cases without test tools, lists them, and refuses unknown names', () => {
  const checked = bench('--check', '--only', 'gatherRows');
  expect(checked.stdout).toMatch(/^\d+ cases on cpu, 0 failed\n$/);
  expect(checked.status).toBe(0);
  const listed = bench('--list', '--exactly', 'linear: tiny, batch 8, out', '--dtype', 'float32');
  expect(listed.stdout).toBe('linear: tiny, batch 8, out, float32\n');
  const unknown = bench('--only', 'nothing like it');
  expect(unknown.status).toBe(2);
  expect(unknown.stderr).toBe("No case has 'nothing like it' in its name; --list prints the names.\n");
});

it('parses the output of Nsight Compute', () => {
  const header = ['Kernel Name', 'gpu__time_duration.sum', 'launch__grid_size', 'launch__registers_per_thread'];
  const quoted = (...fields: string[]) => fields.map((field) => `"${field}"`).join(',');
  const printed = [
    '==PROF== connected',
    quoted(...header),
    quoted('', 'ns', '', 'register/thread'),
    quoted('void onehead::cuda::matvec<float, (int)4>(float const*)', '1,500', '1,024', '64'),
  ].join('\n');
  expect(parseCounters(printed)).toMatchObject([
    { function: 'matvec<float, (int)4>', microseconds: 1.5, blocks: 1024, registers: 64 },
  ]);
});
