/** Scores of a hundred billion: the largest one has all the weight, with every algorithm. */
import { describe, expect, it } from 'vitest';
import { attentionVariants, notSupportedReasons } from '../../lib/attention/variants.js';
import { devices } from './devices.js';

const keys = 150;
const headSize = 64;

const places = devices.flatMap(({ dtypes, ...device }) => dtypes.map(({ dtype }) => ({ ...device, dtype })));

describe.each(places)('scores of a hundred billion in $dtype on $name', ({ kind, open, dtype }) => {
  it.each(attentionVariants.flatMap(({ name }) => [1, 5, 70].map((queries) => [name, queries] as const)))(
    'with %s and %d queries',
    async (algorithm, queries) => {
      using device = open();
      expect(
        notSupportedReasons(algorithm, { device: kind, dtype, heads: 1, keyValueHeads: 1, headSize, queries, keys }),
      ).toEqual([]);
      const shape = (length: number) => (algorithm === 'multi-query' ? [length, 1, headSize] : [1, length, headSize]);
      const tensor = (length: number, of: (row: number) => number) =>
        device.tensor(
          dtype,
          shape(length),
          new Float32Array(length * headSize).map((_, i) => of(Math.floor(i / headSize))),
        );
      const query = tensor(queries, () => 49152);
      const key = tensor(keys, (row) => 256 * (row + 1));
      const value = tensor(keys, (row) => row);
      for (const [scale, best] of [
        [1, keys - 1],
        [-1, 0],
      ]) {
        const output = device.tensor(dtype, shape(queries));
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
