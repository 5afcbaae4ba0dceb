import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import type { AttentionAlgorithm, Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { devices } from './devices.js';
import { attention, gelu, layerNorm, product, random, relativeError, toBfloat16 } from './reference.js';

/** Runs a recording whose temporaries begin as NaN, and reads its output. */
async function run(device: Device, output: Tensor, body: (ops: Operations) => void): Promise<Float32Array> {
  using program = device.record('case', body, { poison: true });
  await program.run();
  return output.toFloat32Array();
}

describe.each(devices)('$name', ({ open, dtypes }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  describe.each(dtypes)('$dtype', ({ dtype, tolerance }) => {
    const stored = (values: Float32Array) => (dtype === 'bfloat16' ? toBfloat16(values) : values);
    const given = (shape: number[], seed: number, type: 'float32' | 'bfloat16' = dtype) => {
      const values = random(
        shape.reduce((a, b) => a * b, 1),
        seed,
      );
      const kept = type === 'bfloat16' ? toBfloat16(values) : values;
      return { values: kept, tensor: device.tensor(type, shape, kept) };
    };

    it.each([
      { rows: 1, depth: 64, columns: 48 },
      { rows: 1, depth: 384, columns: 1003 },
      { rows: 3, depth: 100, columns: 17 },
      { rows: 16, depth: 128, columns: 130 },
      { rows: 17, depth: 128, columns: 130 },
      { rows: 75, depth: 72, columns: 40 },
    ])('linear of $rows rows, $depth to $columns, with everything fused', async ({ rows, depth, columns }) => {
      const x = given([1, rows, depth], 1, 'float32');
      const weight = given([columns, depth], 2);
      const bias = given([columns], 3, 'float32');
      const norm = { weight: given([depth], 4, 'float32'), bias: given([depth], 5, 'float32') };
      const residual = given([1, rows, columns], 6, 'float32');
      const output = device.tensor('float32', [1, rows, columns]);
      const got = await run(device, output, (ops) => {
        ops.linear(x.tensor, weight.tensor, {
          bias: bias.tensor,
          norm: { weight: norm.weight.tensor, bias: norm.bias.tensor },
          activation: 'gelu',
          residual: residual.tensor,
          output,
        });
      });
      const normed = layerNorm(x.values, depth, norm.weight.values, norm.bias.values);
      const wanted = product(normed, weight.values, depth).map(
        (value, i) => gelu(value + bias.values[i % columns]) + residual.values[i],
      );
      expect(relativeError(got, wanted)).toBeLessThan(tolerance);
    });

    it.each([1, 5, 40])('plain linear of %i rows in and out of the storage type', async (rows) => {
      const [depth, columns] = [96, 70];
      const x = given([rows, depth], 1);
      const weight = given([columns, depth], 2);
      const output = device.tensor(dtype, [rows, columns]);
      const got = await run(device, output, (ops) => void ops.linear(x.tensor, weight.tensor, { output }));
      expect(relativeError(got, product(x.values, weight.values, depth))).toBeLessThan(tolerance);
    });

    it.each([1, 7])('layer norm of %i rows', async (rows) => {
      const width = 130;
      const x = given([rows, width], 1, 'float32');
      const weight = given([width], 2, 'float32');
      const bias = given([width], 3, 'float32');
      const output = device.tensor(dtype, [rows, width]);
      const got = await run(device, output, (ops) => {
        ops.layerNorm(x.tensor, { weight: weight.tensor, bias: bias.tensor }, { dtype, output });
      });
      expect(relativeError(got, layerNorm(x.values, width, weight.values, bias.values))).toBeLessThan(tolerance);
    });

    const algorithms: AttentionAlgorithm[] = ['multi-head', 'memory-efficient', 'split-kv'];
    const sizes = [
      { batch: 1, queries: 1, keys: 150, heads: 6, keyValueHeads: 6, headSize: 64 },
      { batch: 2, queries: 1, keys: 33, heads: 4, keyValueHeads: 1, headSize: 32 },
      { batch: 2, queries: 37, keys: 53, heads: 4, keyValueHeads: 2, headSize: 64 },
      { batch: 1, queries: 70, keys: 70, heads: 3, keyValueHeads: 3, headSize: 80 },
      { batch: 1, queries: 5, keys: 9, heads: 5, keyValueHeads: 1, headSize: 24 },
    ];
    it.each(algorithms.flatMap((algorithm) => sizes.map((size) => ({ algorithm, ...size }))))(
      '$algorithm attention: $batch x $queries queries, $keys keys, $heads heads on $keyValueHeads of $headSize',
      async ({ algorithm, ...size }) => {
        const { batch, queries, keys, heads, keyValueHeads, headSize } = size;
        const q = given([batch, queries, heads * headSize], 1);
        const k = given([batch, keys, keyValueHeads * headSize], 2);
        const v = given([batch, keys, keyValueHeads * headSize], 3);
        const output = device.tensor(dtype, q.tensor.shape);
        const got = await run(device, output, (ops) => {
          ops.attention(q.tensor, k.tensor, v.tensor, { heads, keyValueHeads, algorithm, output });
        });
        const wanted = attention(q.values, k.values, v.values, size, () => keys);
        expect(relativeError(got, wanted)).toBeLessThan(tolerance);
      },
    );

    it.each(algorithms.flatMap((algorithm) => [1, 4].map((queries) => ({ algorithm, queries }))))(
      '$algorithm self-attention appends $queries rows to its cache and sees what is before, each sequence its own',
      async ({ algorithm, queries }) => {
        const [batch, keys, heads, keyValueHeads, headSize] = [3, 40, 4, 2, 32];
        const shared = keyValueHeads * headSize;
        const width = heads * headSize;
        const starts = [0, 7, 36];
        const all = given([batch, queries, width + 2 * shared], 1);
        const k = given([batch, keys, shared], 2);
        const v = given([batch, keys, shared], 3);
        const start = device.tensor('int32', [batch], Int32Array.from(starts));
        const output = device.tensor(dtype, [batch, queries, width]);
        const got = await run(device, output, (ops) => {
          ops.attention(all.tensor.columns(0, width), k.tensor, v.tensor, {
            heads,
            keyValueHeads,
            causal: true,
            start,
            algorithm,
            append: { key: all.tensor.columns(width, shared), value: all.tensor.columns(width + shared, shared) },
            output,
          });
        });
        const q = new Float32Array(batch * queries * width);
        for (let row = 0; row < batch * queries; ++row) {
          const from = row * (width + 2 * shared);
          q.set(all.values.subarray(from, from + width), row * width);
          const place =
            (Math.floor(row / queries) * keys + starts[Math.floor(row / queries)] + (row % queries)) * shared;
          k.values.set(all.values.subarray(from + width, from + width + shared), place);
          v.values.set(all.values.subarray(from + width + shared, from + width + 2 * shared), place);
        }
        const size = { batch, queries, keys, heads, keyValueHeads, headSize };
        const wanted = attention(q, k.values, v.values, size, (b, i) => starts[b] + i + 1);
        expect(relativeError(got, wanted)).toBeLessThan(tolerance);
        expect(relativeError(await k.tensor.toFloat32Array(), k.values)).toBe(0);
        expect(relativeError(await v.tensor.toFloat32Array(), v.values)).toBe(0);
      },
    );

    it('embeds tokens and their positions', async () => {
      const [batch, width] = [2, 48];
      const table = given([10, width], 1);
      const positions = given([6, width], 2, 'float32');
      const tokens = device.tensor('int32', [batch, 6], Int32Array.from([1, 2, 3, 4, 5, 6, 9, 8, 7, 6, 5, 4]));
      const start = device.tensor('int32', [batch], Int32Array.from([0, 3]));
      const output = device.tensor('float32', [batch, 2, width]);
      const got = await run(device, output, (ops) => {
        ops.embed(tokens, start, table.tensor, positions.tensor, { count: 2, scale: 3, output });
      });
      const wanted = [
        [1, 0],
        [2, 1],
        [6, 3],
        [5, 4],
      ].flatMap(([token, position]) =>
        Array.from(
          { length: width },
          (_, i) => 3 * table.values[token * width + i] + positions.values[position * width + i],
        ),
      );
      expect(relativeError(got, wanted)).toBeLessThan(1e-6);
    });

    it('transposes into the storage type', async () => {
      const x = given([2, 5, 19], 1, 'float32');
      const output = device.tensor(dtype, [2, 19, 5]);
      const got = await run(device, output, (ops) => void ops.transposeCast(x.tensor, { dtype, output }));
      const wanted = Float32Array.from({ length: 190 }, (_, i) => {
        const [b, t, c] = [Math.floor(i / 95), Math.floor((i % 95) / 5), i % 5];
        return x.values[(b * 5 + c) * 19 + t];
      });
      expect(relativeError(got, stored(wanted))).toBe(0);
    });
  });
});
