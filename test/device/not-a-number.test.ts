/** NaN stays NaN whatever its bits are: poisoned memory (`RecordOptions.poison`) consists of ones. */
import { describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';

const keys = 20;
const width = 8;

describe.each(Device.information().cpu.available)('the CPU with %s', (kernels) => {
  it.each(['multi-head', 'multi-query', 'multi-query-1', 'memory-efficient', 'split-kv'] as const)(
    'gives NaN for attention (%s) to a key of ones',
    async (algorithm) => {
      using device = new Device('cpu', { kernels, threads: 1 });
      const shape = (length: number) => (algorithm === 'multi-query' ? [length, 1, width] : [1, length, width]);
      const bits = new Uint32Array(new Float32Array(keys * width).fill(0.1).buffer);
      const value = device.tensor('float32', shape(keys), new Float32Array(bits.buffer.slice(0)));
      bits[3 * width] = 0xffffffff;
      const key = device.tensor('float32', shape(keys), new Float32Array(bits.buffer));
      for (const queries of [1, 5]) {
        const query = device.tensor('float32', shape(queries), new Float32Array(queries * width).fill(1));
        const output = device.tensor('float32', shape(queries));
        using program = device.record('attention', (ops) => {
          ops.attention(query, key, value, { heads: 1, algorithm, output });
        });
        await program.run();
        expect((await output.toFloat32Array()).every(Number.isNaN)).toBe(true);
      }
    },
  );

  it.each(['multi-head', 'multi-query', 'multi-query-1', 'memory-efficient', 'split-kv'] as const)(
    'gives numbers for attention (%s) with scores of ten billion',
    async (algorithm) => {
      using device = new Device('cpu', { kernels, threads: 1 });
      const shape = (length: number) => (algorithm === 'multi-query' ? [length, 1, width] : [1, length, width]);
      const fill = (of: (row: number) => number) =>
        new Float32Array(keys * width).map((_, i) => of(Math.floor(i / width)));
      const query = device.tensor('float32', shape(1), new Float32Array(width).fill(1e10 / 3));
      const key = device.tensor(
        'float32',
        shape(keys),
        fill((row) => (row + 1) / 7),
      );
      const value = device.tensor(
        'float32',
        shape(keys),
        fill((row) => row),
      );
      for (const [scale, best] of [
        [1, keys - 1],
        [-1, 0],
      ]) {
        const output = device.tensor('float32', shape(1));
        using program = device.record('attention', (ops) => {
          ops.attention(query, key, value, { heads: 1, algorithm, scale, output });
        });
        await program.run();
        // The other keys' weights are at most 2^-126 each.
        for (const x of await output.toFloat32Array()) expect(x).toBeCloseTo(best, 6);
      }
    },
  );
});
