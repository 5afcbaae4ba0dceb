/** Products with int8 weights on a GPU, with many shapes, compared with double precision. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { difference, type Floating, gpus, largest, quantizedRows } from './eight-bits.js';
import { gelu, layerNorm, random, stored } from './reference.js';

/** Rows quantized as for an int8 product. */
function rounded(x: Float32Array, depth: number): Float32Array {
  const y = new Float32Array(x.length);
  for (let row = 0; row < x.length; row += depth) {
    const scale = largest(x.subarray(row, row + depth)) / 127;
    for (let k = row; k < row + depth; ++k) y[k] = Math.round(x[k] / scale) * scale;
  }
  return y;
}

describe.each(gpus)('products with int8 weights on $name', ({ open }) => {
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

    // The left operand of the product: the norm of x, which is quantized only for many rows.
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
    // A number close to the middle between two integers may be rounded to either.
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

  it('of many rows, quantized and widened', async () => {
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

  it('give NaN if x is not finite, and zeros for rows of zeros', async () => {
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

  it('look up tokens in an int8 table', async () => {
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
