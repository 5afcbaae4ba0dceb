import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { attentionVariants, notSupportedReasons } from '../../lib/attention/variants.js';
import type { Device } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { devices } from './devices.js';
import {
  attention,
  gelu,
  layerNorm,
  product,
  random,
  relativeError,
  stored as storedAs,
  swapOuter,
} from './reference.js';

/** Runs a recording whose temporaries begin as NaN, and reads its output. */
async function run(device: Device, output: Tensor, body: (ops: Operations) => void): Promise<Float32Array> {
  using program = device.record('case', body, { poison: true });
  await program.run();
  return output.toFloat32Array();
}

describe.each(devices)('$name', ({ kind, open, dtypes }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  describe.each(dtypes)('$dtype', ({ dtype, tolerance }) => {
    const stored = (values: Float32Array) => storedAs(values, dtype);
    const given = (shape: number[], seed: number, type: typeof dtype = dtype) => {
      const values = random(
        shape.reduce((a, b) => a * b, 1),
        seed,
      );
      const kept = storedAs(values, type);
      return { values: kept, tensor: device.tensor(type, shape, kept) };
    };

    it.each<{ rows: number; depth: number; columns: number; mean?: number }>([
      { rows: 1, depth: 64, columns: 48 },
      { rows: 1, depth: 384, columns: 1003 },
      { rows: 3, depth: 100, columns: 17 },
      { rows: 1, depth: 37, columns: 17 },
      { rows: 2, depth: 37, columns: 17 },
      { rows: 4, depth: 37, columns: 17 },
      { rows: 16, depth: 128, columns: 130 },
      { rows: 17, depth: 128, columns: 130 },
      { rows: 75, depth: 72, columns: 40 },
      // Few columns: the depth is split over 8, 4 and 2 blocks of a cluster, where there are such.
      ...[1, 12, 30, 50].map((rows) => ({ rows, depth: 584, columns: 70 })),
      ...[3, 9, 17, 33].map((rows) => ({ rows, depth: 296, columns: 300 })),
      ...[5, 20].map((rows) => ({ rows, depth: 136, columns: 520 })),
      { rows: 40, depth: 160, columns: 1300 },
      { rows: 33, depth: 7200, columns: 20 }, // x normed in float32 has no room in shared memory
      { rows: 20, depth: 584, columns: 70, mean: 60 },
      { rows: 2, depth: 384, columns: 40, mean: -60 },
    ])(
      'linear of $rows rows, $depth to $columns, with everything fused',
      async ({ rows, depth, columns, mean = 0 }) => {
        const around = random(rows * depth, 1).map((value) => value + mean);
        const x = { values: around, tensor: device.tensor('float32', [1, rows, depth], around) };
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
      },
    );

    it.each([
      ...[1, 5, 40].map((rows) => ({ rows, depth: 96, columns: 70 })),
      // How many columns there are decides how many a block takes.
      ...[7, 13, 30, 50].flatMap((rows) => [300, 1030].map((columns) => ({ rows, depth: 160, columns }))),
    ])('plain linear of $rows rows, $depth to $columns, in and out of the storage type', async (size) => {
      const { rows, depth, columns } = size;
      const x = given([rows, depth], 1);
      const weight = given([columns, depth], 2);
      const output = device.tensor(dtype, [rows, columns]);
      const got = await run(device, output, (ops) => void ops.linear(x.tensor, weight.tensor, { output }));
      expect(relativeError(got, product(x.values, weight.values, depth))).toBeLessThan(tolerance);
    });

    it.each([70, 130])('linear of %i rows into a temporary, whose algorithm may be tried first', async (rows) => {
      const [depth, columns] = [64, 48];
      const x = given([rows, depth], 1);
      const weight = given([columns, depth], 2);
      const bias = given([columns], 3, 'float32');
      const output = device.tensor(dtype, [rows, columns]);
      const got = await run(device, output, (ops) => {
        ops.copy(ops.linear(x.tensor, weight.tensor, { bias: bias.tensor }), { output });
      });
      const wanted = product(x.values, weight.values, depth).map((value, i) => value + bias.values[i % columns]);
      expect(relativeError(got, wanted)).toBeLessThan(tolerance);
    });

    it.each([
      [1, 130],
      [7, 130],
      [5, 72],
      [3, 516],
      [2, 1280],
      [2, 1284],
    ])('layer norm of %i rows of %i', async (rows, width) => {
      const x = given([rows, width], 1, 'float32');
      const weight = given([width], 2, 'float32');
      const bias = given([width], 3, 'float32');
      const output = device.tensor(dtype, [rows, width]);
      const got = await run(device, output, (ops) => {
        ops.layerNorm(x.tensor, { weight: weight.tensor, bias: bias.tensor }, { dtype, output });
      });
      expect(relativeError(got, layerNorm(x.values, width, weight.values, bias.values))).toBeLessThan(tolerance);
    });

    /** Every algorithm with every case that it declares to take. */
    const supported = <Case extends { queries: number; heads: number; keyValueHeads: number; headSize: number }>(
      cases: Case[],
    ) =>
      attentionVariants.flatMap(({ name: algorithm, layout }) =>
        cases
          .filter((size) => notSupportedReasons(algorithm, { device: kind, dtype, ...size }).length === 0)
          .map((size) => ({ algorithm, layout, ...size })),
      );
    /** A tensor of rows for each sequence and position in an algorithm's order, and its values by sequence. */
    const sequences = (layout: string, batch: number, length: number, width: number, values: Float32Array) => {
      const swapped = layout === 'length-first';
      const shape = swapped ? [length, batch, width] : [batch, length, width];
      const tensor = device.tensor(dtype, shape, swapped ? swapOuter(values, batch, length) : values);
      const read = async () => {
        const got = await tensor.toFloat32Array();
        return swapped ? swapOuter(got, length, batch) : got;
      };
      return { values, tensor, read };
    };
    const someSequences = (layout: string, batch: number, length: number, width: number, seed: number) =>
      sequences(layout, batch, length, width, stored(random(batch * length * width, seed)));

    it.each(
      supported([
        { batch: 1, queries: 1, keys: 150, heads: 6, keyValueHeads: 6, headSize: 64 },
        { batch: 2, queries: 1, keys: 33, heads: 4, keyValueHeads: 1, headSize: 32 },
        { batch: 2, queries: 1, keys: 33, heads: 4, keyValueHeads: 4, headSize: 32 },
        { batch: 2, queries: 37, keys: 53, heads: 4, keyValueHeads: 2, headSize: 64 },
        { batch: 2, queries: 37, keys: 53, heads: 4, keyValueHeads: 1, headSize: 64 },
        { batch: 3, queries: 3, keys: 20, heads: 6, keyValueHeads: 1, headSize: 48 },
        { batch: 1, queries: 70, keys: 70, heads: 3, keyValueHeads: 3, headSize: 80 },
        { batch: 1, queries: 5, keys: 9, heads: 5, keyValueHeads: 1, headSize: 24 },
        { batch: 1, queries: 3, keys: 70, heads: 2, keyValueHeads: 1, headSize: 128 },
        { batch: 1, queries: 1, keys: 140, heads: 2, keyValueHeads: 2, headSize: 112 },
        { batch: 1, queries: 140, keys: 65, heads: 1, keyValueHeads: 1, headSize: 64 },
        { batch: 2, queries: 150, keys: 450, heads: 2, keyValueHeads: 2, headSize: 64 },
        { batch: 1, queries: 64, keys: 64, heads: 2, keyValueHeads: 2, headSize: 64 },
        { batch: 1, queries: 66, keys: 193, heads: 2, keyValueHeads: 1, headSize: 64 },
        // Keys that are split over blocks, whose parts are joined: a few, many, and the most that there may be.
        { batch: 1, queries: 1, keys: 700, heads: 3, keyValueHeads: 3, headSize: 64 },
        { batch: 1, queries: 1, keys: 300, heads: 2, keyValueHeads: 2, headSize: 128 },
        { batch: 2, queries: 1, keys: 450, heads: 2, keyValueHeads: 2, headSize: 48 },
        { batch: 1, queries: 1, keys: 2600, heads: 1, keyValueHeads: 1, headSize: 16 },
        { batch: 1, queries: 1, keys: 700, heads: 20, keyValueHeads: 1, headSize: 64 },
        { batch: 2, queries: 3, keys: 450, heads: 6, keyValueHeads: 1, headSize: 48 },
        { batch: 1, queries: 1, keys: 300, heads: 4, keyValueHeads: 1, headSize: 128 },
        { batch: 1, queries: 1, keys: 2600, heads: 3, keyValueHeads: 1, headSize: 16 },
      ]),
    )(
      '$algorithm attention: $batch x $queries queries, $keys keys, $heads heads on $keyValueHeads of $headSize',
      async ({ algorithm, layout, ...size }) => {
        const { batch, queries, keys, heads, keyValueHeads, headSize } = size;
        const q = someSequences(layout, batch, queries, heads * headSize, 1);
        const k = someSequences(layout, batch, keys, keyValueHeads * headSize, 2);
        const v = someSequences(layout, batch, keys, keyValueHeads * headSize, 3);
        const output = sequences(layout, batch, queries, heads * headSize, new Float32Array(q.values.length));
        await run(device, output.tensor, (ops) => {
          ops.attention(q.tensor, k.tensor, v.tensor, { heads, keyValueHeads, algorithm, output: output.tensor });
        });
        const wanted = attention(q.values, k.values, v.values, size, () => keys);
        expect(relativeError(await output.read(), wanted)).toBeLessThan(tolerance);
      },
    );

    /** Self-attention's projections in one tensor, as a fused product writes them, and as separate values. */
    const fusedProduct = (layout: string, batch: number, queries: number, width: number, shared: number) => {
      const all = someSequences(layout, batch, queries, width + 2 * shared, 1);
      const part = (begin: number, count: number) => ({
        tensor: all.tensor.columns(begin, count),
        values: Float32Array.from({ length: batch * queries * count }, (_, i) => {
          return all.values[Math.floor(i / count) * (width + 2 * shared) + begin + (i % count)];
        }),
      });
      return { query: part(0, width), key: part(width, shared), value: part(width + shared, shared) };
    };

    it.each(
      supported([
        ...[1, 4, 9].flatMap((queries) =>
          [2, 1].map((keyValueHeads) => ({ queries, heads: 6, keyValueHeads, headSize: 16, causal: true })),
        ),
        { queries: 70, heads: 2, keyValueHeads: 2, headSize: 64, causal: true },
        { queries: 130, heads: 2, keyValueHeads: 2, headSize: 64, causal: false },
      ]),
    )(
      '$algorithm attention of $queries positions to themselves (and what is before: $causal), all columns of one product, on $keyValueHeads heads',
      async ({ algorithm, layout, queries, heads, keyValueHeads, headSize, causal }) => {
        const batch = 2;
        const width = heads * headSize;
        const { query, key, value } = fusedProduct(layout, batch, queries, width, keyValueHeads * headSize);
        const output = sequences(layout, batch, queries, width, new Float32Array(batch * queries * width));
        await run(device, output.tensor, (ops) => {
          const options = { heads, keyValueHeads, causal, scale: 0.3, algorithm, output: output.tensor };
          ops.attention(query.tensor, key.tensor, value.tensor, options);
        });
        const size = { batch, queries, keys: queries, heads, keyValueHeads, headSize };
        const scaled = query.values.map((element) => element * 0.3 * Math.sqrt(headSize));
        const wanted = attention(scaled, key.values, value.values, size, (_, i) => (causal ? i + 1 : queries));
        expect(relativeError(await output.read(), wanted)).toBeLessThan(tolerance);
      },
    );

    it.each(
      supported(
        [1, 4].flatMap((queries) =>
          [2, 1].flatMap((keyValueHeads) =>
            [
              { causal: true, append: true, does: 'appends to its cache and sees what is before' },
              { causal: true, append: false, does: 'sees what is before in a cache' },
              { causal: false, append: true, does: 'appends to its cache and sees all of it' },
            ].map((use) => ({ queries, keys: 40, heads: 4, keyValueHeads, headSize: 32, ...use })),
          ),
        ),
      ),
    )(
      '$algorithm attention of $queries positions on $keyValueHeads heads $does, each sequence its own',
      async ({ algorithm, layout, causal, append, ...size }) => {
        const { queries, keys, heads, keyValueHeads, headSize } = size;
        const batch = 3;
        const starts = [0, 7, keys - queries];
        const shared = keyValueHeads * headSize;
        const width = heads * headSize;
        const { query, key, value } = fusedProduct(layout, batch, queries, width, shared);
        /** Rows that no query sees are NaN, as an unwritten cache may be. */
        const cache = (seed: number) => {
          const values = stored(random(batch * keys * shared, seed));
          if (causal) {
            for (let b = 0; b < batch; ++b) {
              values.fill(Number.NaN, (b * keys + starts[b] + queries) * shared, (b + 1) * keys * shared);
            }
          }
          return sequences(layout, batch, keys, shared, values);
        };
        const [k, v] = [cache(2), cache(3)];
        const start = device.tensor('int32', [batch], Int32Array.from(starts));
        const output = sequences(layout, batch, queries, width, new Float32Array(batch * queries * width));
        await run(device, output.tensor, (ops) => {
          ops.attention(query.tensor, k.tensor, v.tensor, {
            heads,
            keyValueHeads,
            causal,
            start,
            algorithm,
            append: append ? { key: key.tensor, value: value.tensor } : undefined,
            output: output.tensor,
          });
        });
        const written = (held: { values: Float32Array }, rows: { values: Float32Array }) => {
          for (let b = 0; b < batch; ++b) {
            const added = rows.values.subarray(b * queries * shared, (b + 1) * queries * shared);
            held.values.set(added, (b * keys + starts[b]) * shared);
          }
        };
        if (append) {
          written(k, key);
          written(v, value);
        }
        const limit = (b: number, i: number) => (causal ? starts[b] + i + 1 : keys);
        const wanted = attention(query.values, k.values, v.values, { batch, ...size }, limit);
        expect(relativeError(await output.read(), wanted)).toBeLessThan(tolerance);
        expect(await k.read()).toEqual(k.values);
        expect(await v.read()).toEqual(v.values);
      },
    );

    it.each(supported([1, 3].map((queries) => ({ queries, keys: 8, heads: 2, keyValueHeads: 1, headSize: 16 }))))(
      '$algorithm attention of $queries positions whose start is outside of the cache touches nothing beside it',
      async ({ algorithm, layout, queries, keys, heads, keyValueHeads, headSize }) => {
        const batch = 3;
        const width = heads * headSize;
        const { query, key, value } = fusedProduct(layout, batch, queries, width, headSize);
        const [k, v] = [2, 3].map((seed) => someSequences(layout, batch, keys, headSize, seed));
        const start = device.tensor('int32', [batch], Int32Array.from([-5, keys, 2 ** 30]));
        const output = sequences(layout, batch, queries, width, new Float32Array(batch * queries * width));
        await run(device, output.tensor, (ops) => {
          const append = { key: key.tensor, value: value.tensor };
          const options = { heads, keyValueHeads, causal: true, start, append, algorithm, output: output.tensor };
          ops.attention(query.tensor, k.tensor, v.tensor, options);
        });
        // The first sequence's rows go to the beginning, the others' have no place.
        k.values.set(key.values.subarray(0, queries * headSize));
        expect(await k.read()).toEqual(k.values);
        expect((await output.read()).every(Number.isFinite)).toBe(true);
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
