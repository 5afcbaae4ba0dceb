/** The library's functions, and every example of docs/profiler.md as it is (test/documentation checks their types). */
import { execFile } from 'node:child_process';
import { mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attention, TraceFile } from '../../lib/profiler/index.js';
import { root } from '../cli/command.js';

const run = promisify(execFile);

describe('one attention call', () => {
  const [batch, queries, keys, heads, headSize] = [2, 3, 5, 4, 8];
  const random = (count: number, seed: number) =>
    Float32Array.from({ length: count }, (_, i) => Math.sin(seed + i * i));
  const query = random(batch * queries * heads * headSize, 1);
  const key = random(batch * keys * headSize, 2);
  const value = random(batch * keys * headSize, 3);
  const shared = { query, key, value, batch, heads, keyValueHeads: 1, headSize, threads: 2 };

  /** softmax(q k^T / sqrt(size)) v in double precision. */
  function expected(b: number, i: number, h: number): number[] {
    const q = (d: number) => query[((b * queries + i) * heads + h) * headSize + d];
    const weights = Array.from({ length: keys }, (_, j) => {
      let score = 0;
      for (let d = 0; d < headSize; ++d) score += q(d) * key[(b * keys + j) * headSize + d];
      return Math.exp(score / Math.sqrt(headSize));
    });
    const total = weights.reduce((sum, weight) => sum + weight, 0);
    return Array.from({ length: headSize }, (_, d) =>
      weights.reduce((sum, weight, j) => sum + (weight / total) * value[(b * keys + j) * headSize + d], 0),
    );
  }

  it.each(['auto', 'multi-head', 'multi-query-1', 'memory-efficient', 'split-kv'] as const)(
    '%s gives softmax(q k) v, and its time',
    async (algorithm) => {
      const { output, time } = await attention({ ...shared, algorithm, repeats: 3 });
      expect(time.count).toBe(3);
      expect(time.median).toBeGreaterThan(0);
      for (const [b, i, h] of [
        [0, 0, 0],
        [1, 2, 3],
        [0, 1, 2],
      ]) {
        const found = output.subarray(((b * queries + i) * heads + h) * headSize).subarray(0, headSize);
        expected(b, i, h).forEach((number, d) => {
          expect(found[d]).toBeCloseTo(number, 5);
        });
      }
    },
  );

  it('has stages if the algorithm has', async () => {
    const { stages } = await attention({ ...shared, algorithm: 'multi-head', repeats: 1 });
    expect(stages.map(({ name }) => name)).toEqual(['scores', 'softmax', 'values']);
  });

  it.each([
    [
      { query: new Float32Array(7) },
      'Expected query.length to be a multiple of 64 (batch x heads x head size) but received 7.',
    ],
    [{ key: new Float32Array(0) }, 'Expected key.length to be a multiple of 16'],
    [{ value: new Float32Array(16) }, 'Expected value.length to be that of key (80) but received 16.'],
    [{ keyValueHeads: 4 }, 'Expected key.length to be a multiple of'],
    [
      {
        algorithm: 'multi-query-1' as const,
        keyValueHeads: 2,
        key: new Float32Array(160),
        value: new Float32Array(160),
      },
      'requires keyValueHeads to be 1, not 2',
    ],
    [{ repeats: 0 }, 'Expected repeats'],
    [{ heads: 0 }, 'Expected heads to be a whole number of at least 1 but received 0.'],
    [{ headSize: 1.5 }, 'Expected headSize to be a whole number'],
    [{ query: [1, 2] as never }, 'Expected query to be a Float32Array'],
    [{ scale: 0 }, 'Expected scale to be a number above 0 but received 0.'],
    [{ scale: -0.5 }, 'Expected scale to be a number above 0'],
    [{ dtype: 'int8' as never }, "Expected dtype to be 'float32', 'float16' or 'bfloat16'"],
    [{ device: 'tpu' }, "'tpu'"],
  ])('refuses %o', async (change, message) => {
    await expect(attention({ ...shared, ...change })).rejects.toThrow(message);
  });
});

describe('a trace file', () => {
  it('has a track for each program, and stages within operations', () => {
    const trace = new TraceFile();
    const parts = [
      { name: 'scores', microseconds: 3 },
      { name: 'values', microseconds: 4 },
    ];
    trace.add('step', [
      { name: 'linear', label: 'a', microseconds: 10 },
      { name: 'attention', label: 'b', microseconds: 7, parts },
    ]);
    const { traceEvents } = JSON.parse(JSON.stringify(trace));
    expect(traceEvents.slice(2).map(({ name, ts, dur }: Record<string, unknown>) => [name, ts, dur])).toEqual([
      ['linear', 0, 10],
      ['attention', 10, 7],
      ['scores', 10, 3],
      ['values', 13, 4],
    ]);
    expect(traceEvents[0]).toEqual({ name: 'thread_name', ph: 'M', pid: 1, tid: 1, args: { name: 'step' } });
  });
});

describe('the examples of docs/profiler.md', async () => {
  const text = await readFile(join(root, 'docs/profiler.md'), 'utf8');
  const examples = [...text.matchAll(/```ts\n([\s\S]*?)```/g)].map(([, code]) => code);
  // Inside the package, so that 'onehead/profiler' refers to it.
  const folder = join(root, 'build', 'examples');
  const file = (index: number) => join(folder, `example-${index}.mts`);
  beforeAll(async () => {
    await mkdir(folder, { recursive: true });
    await Promise.all(examples.map((code, index) => writeFile(file(index), code)));
  });
  afterAll(() => rm(folder, { recursive: true, force: true }));

  it('exist', () => expect(examples.length).toBeGreaterThanOrEqual(4));

  it.each(examples.map((code, index) => [code.split('\n')[0], index] as const))('%s (%d) runs', async (_, index) => {
    const { stdout } = await run(process.execPath, ['--import', 'tsx', file(index)], { cwd: folder });
    expect(stdout).not.toMatch(/undefined|NaN/);
    expect(stdout.length).toBeGreaterThan(0);
    if (stdout.includes('bhk,bmk->bhm')) expect(stdout).toMatch(/3270 µs\n779 µs\n$/);
  });
});
