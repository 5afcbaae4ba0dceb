/** Infinite scores of one query leave the other queries as they are, with every instruction set of this CPU. */
import { describe, expect, it } from 'vitest';
import { devices } from './devices.js';

const [queries, keys, headSize] = [32, 128, 2];
const places = devices
  .filter(({ kind }) => kind === 'cpu')
  .flatMap(({ dtypes, ...device }) => dtypes.map(({ dtype }) => ({ ...device, dtype })));

describe.each(places)('infinite scores in $dtype on $name', ({ open, dtype }) => {
  it('change no other query of memory-efficient attention', async () => {
    using device = open();
    const tensor = (length: number, of: (row: number, column: number) => number) =>
      device.tensor(
        dtype,
        [1, length, headSize],
        new Float32Array(length * headSize).map((_, i) => of(Math.floor(i / headSize), i % headSize)),
      );
    // The first query's score grows by 10 at key 64, where no other query's does.
    const query = tensor(queries, (row, column) => {
      if (column === 1) return row === 16 ? Number.POSITIVE_INFINITY : 0;
      return row === 0 ? 1 : 0;
    });
    const key = tensor(keys, (row, column) => (column === 0 && row >= 64 ? 11 : 1));
    const value = tensor(keys, (row, column) => (column === 0 && row < 64 ? 1000 : 1));
    const output = device.tensor(dtype, [1, queries, headSize]);
    using program = device.record('attention', (ops) => {
      ops.attention(query, key, value, { heads: 1, scale: 1, algorithm: 'memory-efficient', output });
    });
    await program.run();
    const values = await output.toFloat32Array();
    // e^-10 of the earlier keys' 1000
    expect(values[0]).toBeCloseTo(1.045, 1);
    expect(values[1]).toBeCloseTo(1, 2);
    expect(values.subarray(16 * headSize, 17 * headSize).some(Number.isFinite)).toBe(false);
  });
});
