/** 8 bits on a GPU, over shapes of every kind: products beside double precision, caches and attention beside the CPU's. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { AttentionOptions, Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { devices } from './devices.js';
import { gelu, layerNorm, random, stored } from './reference.js';

type Floating = 'float32' | 'float16' | 'bfloat16';

/** Whole numbers and a factor a row. */
function quantizedRows(rows: number, columns: number, seed: number) {
  const data = Int8Array.from(random(rows * columns, seed), (value) => Math.round(127 * value));
  const scales = random(rows, seed + 1).map((value) => 0.01 + 0.005 * value);
  return { data, scales };
}

const largest = (values: ArrayLike<number>): number => Array.from(values).reduce((a, b) => Math.max(a, Math.abs(b)), 0);

/** The largest difference beside the largest number. */
function difference(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  let most = 0;
  for (let i = 0; i < expected.length; ++i) most = Math.max(most, Math.abs(values[i] - expected[i]) || 0);
  return Array.from(values).some(Number.isNaN) ? Number.NaN : most / largest(expected);
}

/** Rows as a product of whole numbers rounds them. */
function rounded(x: Float32Array, depth: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += depth) {
    const scale = largest(x.subarray(row, row + depth)) / 127;
    for (let k = row; k < row + depth; ++k) y[k] = Math.round(x[k] / scale) * scale;
  }
  return y;
}

const gpus = devices.filter(({ kind }) => kind.startsWith('cuda'));

describe.each(gpus)('products with weights of 8 bits on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  interface Case {
    rows: number;
    columns: number;
    depth: number;
    type: Floating;
    normed?: boolean;
    quantized?: boolean;
    output?: Floating;
    residual?: boolean;
  }

  async function check({ rows, columns, depth, type, normed, quantized, output = 'float32', residual }: Case) {
    const { data, scales } = quantizedRows(columns, depth, 3);
    const x = stored(random(rows * depth, 1), normed ? 'float32' : type);
    const [normWeight, normBias] = [random(depth, 5), random(depth, 6)];
    const bias = random(columns, 7);
    const added = random(rows * columns, 8);
    const make = (dtype: Floating | 'int8', shape: number[], values: Float32Array | Int8Array) =>
      device.tensor(dtype, shape, values);
    const tensors = {
      x: make(normed ? 'float32' : type, [rows, depth], x),
      data: make('int8', [columns, depth], data),
      scales: make('float32', [columns], scales),
      bias: make('float32', [columns], bias),
      normWeight: make('float32', [depth], normWeight),
      normBias: make('float32', [depth], normBias),
      residual: make('float32', [rows, columns], added),
      y: device.tensor(residual ? 'float32' : output, [rows, columns]),
    };
    using program = device.record('product', (ops) => {
      ops.linear(
        tensors.x,
        { data: tensors.data, scales: tensors.scales, group: depth },
        {
          bias: tensors.bias,
          norm: normed ? { weight: tensors.normWeight, bias: tensors.normBias } : undefined,
          activation: residual ? undefined : 'gelu',
          residual: residual ? tensors.residual : undefined,
          quantized,
          dtype: residual ? undefined : output,
          output: tensors.y,
        },
      );
    });
    await program.run();
    const y = await tensors.y.toFloat32Array();
    for (const tensor of Object.values(tensors)) tensor.dispose();

    // What is multiplied: the norm of x, in 8 bits only where rows are many.
    const left = normed ? Float32Array.from(layerNorm(x, depth, normWeight, normBias)) : x;
    const whole = quantized && rows > 64 && depth % 2 === 0;
    const multiplied = whole ? rounded(left, depth) : left;
    const expected = new Float64Array(rows * columns);
    for (let row = 0; row < rows; ++row) {
      for (let column = 0; column < columns; ++column) {
        let sum = 0;
        for (let k = 0; k < depth; ++k) sum += multiplied[row * depth + k] * data[column * depth + k];
        const value = sum * scales[column] + bias[column];
        expected[row * columns + column] = residual ? value + added[row * columns + column] : gelu(value);
      }
    }
    // A number that lies between two whole ones may be rounded to either.
    const exact = type === 'float32' && output === 'float32' && !(normed && quantized);
    const limit = whole ? 6e-3 : exact ? 1e-5 : type === 'bfloat16' || output === 'bfloat16' ? 1e-2 : 2e-3;
    const named = JSON.stringify({ rows, columns, depth, type, normed, quantized, output, residual });
    expect(difference(y, expected), named).toBeLessThan(limit);
  }

  const rowCounts = [1, 2, 3, 5, 8, 9, 16, 17, 33, 64, 65, 130];
  it.each([16, 70, 71, 80, 128, 192, 272])('of depth %d, with 1 to 130 rows of any type', async (depth) => {
    const types: Floating[] = ['float32', 'float16', 'bfloat16'];
    for (const [i, rows] of rowCounts.entries()) {
      const [type, output] = [types[i % 3], types[(i + (i >> 1)) % 3]];
      const columns = [5, 37, 64, 132][(i + depth) % 4];
      const both = { rows, columns, depth };
      await check({ ...both, type, output, quantized: i % 2 === 0 });
      await check({ ...both, type: output, output, normed: true, quantized: i % 2 === 1 });
      await check({ ...both, type, residual: true, quantized: i % 2 === 0 });
    }
  });

  it('of many rows, as whole numbers and widened', async () => {
    for (const [rows, columns, depth] of [
      [150, 132, 128],
      [97, 100, 66],
      [200, 260, 70],
    ]) {
      for (const quantized of [true, false]) {
        await check({ rows, columns, depth, type: 'float16', output: 'float16', quantized });
        await check({ rows, columns, depth, type: 'float32', normed: true, quantized });
        await check({ rows, columns, depth, type: 'bfloat16', residual: true, quantized });
      }
    }
  });

  it('say NaN where x is not finite, and nothing of rows of zeros', async () => {
    for (const rows of [2, 80]) {
      const x = random(rows * 64, 1);
      x[5] = Number.POSITIVE_INFINITY;
      x.fill(0, 64, 128);
      const { data, scales } = quantizedRows(8, 64, 3);
      const weight = { data: device.tensor('int8', [8, 64], data), scales: device.tensor('float32', [8], scales) };
      const [given, y] = [device.tensor('float32', [rows, 64], x), device.tensor('float32', [rows, 8])];
      using program = device.record('product', (ops) => {
        ops.linear(given, { ...weight, group: 64 }, { quantized: true, output: y });
      });
      await program.run();
      const all = await y.toFloat32Array();
      expect(all.subarray(0, 8).some(Number.isFinite)).toBe(false);
      expect([...all.subarray(8, 16)]).toEqual(Array(8).fill(0));
      expect(all.subarray(16).every(Number.isFinite)).toBe(true);
    }
  });

  it('look tokens up in a table of 8 bits', async () => {
    const [vocabulary, width] = [11, 70];
    const { data, scales } = quantizedRows(vocabulary, width, 3);
    const positions = random(8 * width, 4);
    const tokens = Int32Array.of(3, 10, 99, 0, 1, 2, 4, 5);
    const output = device.tensor('float32', [2, 3, width]);
    using program = device.record('embedding', (ops) => {
      const table = {
        data: device.tensor('int8', [vocabulary, width], data),
        scales: device.tensor('float32', [vocabulary], scales),
        group: width,
      };
      const start = device.tensor('int32', [2], Int32Array.of(0, 1));
      ops.embed(device.tensor('int32', [2, 4], tokens), start, table, device.tensor('float32', [8, width], positions), {
        count: 3,
        output,
      });
    });
    await program.run();
    const y = await output.toFloat32Array();
    [
      [3, 10, 0],
      [2, 4, 5],
    ].forEach((row, b) => {
      row.forEach((token, i) => {
        for (let k = 0; k < width; ++k) {
          const expected = data[token * width + k] * scales[token] + positions[(b + i) * width + k];
          expect(y[(b * 3 + i) * width + k]).toBeCloseTo(expected, 5);
        }
      });
    });
  });
});

interface Cache {
  key: Tensor;
  value: Tensor;
  scales: { key: Tensor; value: Tensor };
}

// No kernel of attention depends on what the two differ in.
describe.each(gpus.slice(0, 1))('caches of 8 bits on $name', ({ open }) => {
  let [gpu, cpu] = [undefined as unknown as Device, undefined as unknown as Device];
  beforeAll(() => {
    gpu = open();
    cpu = new Device('cpu', { threads: 1 });
  });
  afterAll(() => {
    gpu.close();
    cpu.close();
  });

  function cacheOf(device: Device, [sequences, positions, heads, size]: number[], filled: boolean): Cache {
    const shape = [sequences, positions, heads * size];
    const one = (seed: number) => {
      const { data, scales } = quantizedRows(sequences * positions * heads, size, seed);
      return filled
        ? ([
            device.tensor('int8', shape, data),
            device.tensor('float32', [sequences, positions, heads], scales),
          ] as const)
        : ([device.tensor('int8', shape), device.tensor('float32', [sequences, positions, heads])] as const);
    };
    const [[key, keyScales], [value, valueScales]] = [one(11), one(21)];
    return { key, value, scales: { key: keyScales, value: valueScales } };
  }

  async function contents({ key, value, scales }: Cache) {
    return [
      await key.toInt8Array(),
      await value.toInt8Array(),
      await scales.key.toFloat32Array(),
      await scales.value.toFloat32Array(),
    ];
  }

  interface Case {
    type: Floating;
    batch: number;
    queries: number;
    keys: number;
    heads: number;
    keyValueHeads: number;
    size: number;
    sequences?: number;
    append?: boolean;
    options?: (device: Device) => Partial<AttentionOptions>;
  }

  /** The output, and what the caches hold then. */
  async function run(device: Device, type: Floating, given: Case) {
    const { batch, queries, keys, heads, keyValueHeads, size, sequences = batch, append, options } = given;
    const cache = cacheOf(device, [sequences, keys, keyValueHeads, size], true);
    const numbers = (width: number, seed: number) =>
      device.tensor(type, [batch, queries, width], stored(random(batch * queries * width, seed), given.type));
    const added = append && { key: numbers(keyValueHeads * size, 2), value: numbers(keyValueHeads * size, 3) };
    const output = device.tensor(type, [batch, queries, heads * size]);
    using program = device.record('attention', (ops) => {
      ops.attention(numbers(heads * size, 1), cache.key, cache.value, {
        heads,
        keyValueHeads,
        cacheScales: cache.scales,
        append: added || undefined,
        output,
        ...options?.(device),
      });
    });
    await program.run();
    return { y: await output.toFloat32Array(), cache: await contents(cache) };
  }

  async function check(given: Case) {
    const ours = await run(gpu, given.type, given);
    const theirs = await run(cpu, 'float32', given);
    const named = JSON.stringify(given);
    const limit = { float32: 1e-5, float16: 2e-3, bfloat16: 1.5e-2 }[given.type];
    expect(difference(ours.y, theirs.y), named).toBeLessThan(limit);
    expect(ours.cache, named).toEqual(theirs.cache);
  }

  const types: Floating[] = ['float32', 'float16', 'bfloat16'];

  it.each([16, 32, 48, 64, 80, 96, 128])('are read with heads of %d, one to twenty of them', async (size) => {
    for (const [i, [heads, keyValueHeads]] of [
      [1, 1],
      [3, 3],
      [20, 20],
      [20, 1],
      [6, 2],
    ].entries()) {
      if ((i + size / 16) % 3 === 0) continue; // others' turn
      const type = types[(i + size / 16) % 3];
      const keys = [3, 200, 65, 130, 70][i];
      await check({ type, batch: 1 + (i % 2), queries: 1, keys, heads, keyValueHeads, size });
      if (heads < 20 || size < 64) await check({ type, batch: 1, queries: 3, keys, heads, keyValueHeads, size });
    }
  });

  it('are appended to: one row a step, or a prompt, behind rows of other sequences', async () => {
    for (const [i, type] of types.entries()) {
      for (const [heads, keyValueHeads] of [
        [4, 4],
        [4, 1],
      ]) {
        const shape = { type, heads, keyValueHeads, size: 32, keys: 230, append: true };
        const start = (device: Device, ...values: number[]) =>
          device.tensor('int32', [values.length], Int32Array.from(values));
        const causal = (...values: number[]) => ({
          options: (device: Device) => ({ causal: true, start: start(device, ...values) }),
        });
        await check({ ...shape, batch: 2, queries: 1, ...causal(0, 70) });
        await check({ ...shape, batch: 2, queries: 1, ...causal(229, 199 + i) });
        await check({ ...shape, batch: 2, queries: 5, ...causal(3, 66) });
        await check({
          ...shape,
          batch: 2,
          queries: 1,
          options: (device) => ({
            causal: true,
            start: start(device, 100, 100),
            source: device.tensor(
              'int32',
              [2, 230],
              Int32Array.from({ length: 460 }, (_, n) => [1, 0, 7][n % 3]),
            ),
          }),
        });
        await check({
          ...shape,
          batch: 3,
          sequences: 4,
          queries: 1,
          options: (device) => ({
            causal: true,
            start: start(device, 10, 20, 30, 200),
            rows: start(device, 3, -1, 0),
          }),
        });
      }
    }
  });

  it('are a pool of positions, of which entries see ranges, alone or with their neighbours', async () => {
    for (const type of types) {
      for (const [heads, keyValueHeads] of [
        [4, 4],
        [6, 1],
      ]) {
        const ranges = (begin: number[], count: number[]) => (device: Device) => ({
          keys: {
            begin: device.tensor('int32', [begin.length], Int32Array.from(begin)),
            count: device.tensor('int32', [count.length], Int32Array.from(count)),
          },
        });
        const shape = { type, queries: 1, keys: 400, heads, keyValueHeads, size: 64, sequences: 1 };
        await check({ ...shape, batch: 3, options: ranges([0, 250, -1], [250, 150, 9]) });
        await check({ ...shape, batch: 5, options: ranges([100, 100, 100, 0, 399], [210, 210, 210, 70, 5]) });
      }
    }
  });

  it('give out scores', async () => {
    for (const keyValueHeads of [4, 1]) {
      const of = async (device: Device, type: Floating) => {
        const cache = cacheOf(device, [1, 90, keyValueHeads, 16], true);
        const to = device.tensor('float32', [1, 1, 2, 90]);
        const query = device.tensor(type, [1, 1, 64], random(64, 1));
        using program = device.record('scores', (ops) => {
          ops.attention(query, cache.key, cache.value, {
            heads: 4,
            keyValueHeads,
            cacheScales: cache.scales,
            scores: {
              to,
              heads: device.tensor('int32', [4], Int32Array.of(-1, 1, 0, -1)),
              position: device.tensor('int32', [1]),
            },
          });
        });
        await program.run();
        return await to.toFloat32Array();
      };
      expect(difference(await of(gpu, 'float32'), await of(cpu, 'float32'))).toBeLessThan(1e-5);
    }
  });

  it('take rows of any type, each head under its own factor: the numbers that the CPU gives', async () => {
    for (const [heads, size] of [
      [1, 16],
      [3, 24],
      [20, 64],
      [2, 128],
    ]) {
      const rows = random(2 * 5 * heads * size, 9);
      rows.fill(0, 0, size);
      const scatter = async (device: Device, type: Floating) => {
        const cache = cacheOf(device, [1, 12, heads, size], false);
        const x = device.tensor(type, [2, 5, heads * size], stored(rows, 'bfloat16'));
        const begins = device.tensor('int32', [2], Int32Array.of(6, -1));
        const late = device.tensor('int32', [2], Int32Array.of(0, 9));
        using program = device.record('scatter', (ops: Operations) => {
          ops.scatterRows(x, cache.key, begins, { scales: cache.scales.key });
          ops.scatterRows(x, cache.value, late, { scales: cache.scales.value });
        });
        await program.run();
        return await contents(cache);
      };
      const expected = await scatter(cpu, 'float32');
      for (const type of ['float32', 'bfloat16'] as const) expect(await scatter(gpu, type)).toEqual(expected);
    }
  });

  it('of halves take rows of another type', async () => {
    const x = random(2 * 3 * 20, 1);
    for (const [from, to] of [
      ['float32', 'float16'],
      ['bfloat16', 'float32'],
      ['float16', 'bfloat16'],
    ] as const) {
      const rows = gpu.tensor(from, [2, 3, 20], x);
      const cache = gpu.tensor(to, [8, 20]);
      using program = gpu.record('scatter', (ops) => {
        ops.scatterRows(rows, cache, gpu.tensor('int32', [2], Int32Array.of(4, 0)));
      });
      await program.run();
      const given = stored(stored(x, from), to);
      const got = await cache.toFloat32Array();
      expect(got.subarray(0, 60)).toEqual(given.subarray(60));
      expect(got.subarray(80, 140)).toEqual(given.subarray(0, 60));
    }
  });
});
