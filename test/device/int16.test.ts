/**
 * bfloat16 weights of products with many rows, which a CPU without products of bfloat16 (or with slower ones)
 * multiplies as 16-bit integers (native/operations/linear/cpu/linear_int16.cc); with every instruction set of this CPU.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Device, haveBfloat16Products, WeightsFile } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { Choices } from '../cases/case.js';
import { gpu } from './devices.js';
import { gelu, layerNorm, product, random, relativeError, stored } from './reference.js';

/** A constant of bfloat16, as loaded from a checkpoint. */
async function weightOf(device: Device, values: Float32Array, shape: readonly number[]): Promise<Tensor> {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-int16-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'weight'), new Uint8Array(values.buffer));
  const file = new WeightsFile(join(folder, 'weight'));
  onTestFinished(() => file.close());
  const part = { file, offset: 0, dtype: 'float32' as const, elements: values.length, name: 'weight' };
  return device.load('bfloat16', shape, [part]);
}

async function tensorOf(device: Device, values: Float32Array, shape: readonly number[]): Promise<Tensor> {
  const tensor = device.tensor('float32', shape);
  await tensor.write(values);
  return tensor;
}

/** Rounding of both operands at depth 2,048, with a margin. bfloat16 alone would be off by 2e-3. */
const tolerance = 6e-4;

describe.each(gpu ? [] : Device.information().cpu.available)('%s', (kernels) => {
  it.each([1, 2, 3])('multiplies many rows, with all that is fused, with %i threads', async (threads) => {
    using device = new Device('cpu', { kernels, threads });
    for (let seed = 1; seed <= 40; ++seed) {
      const from = new Choices(100 * threads + seed);
      const rows = from.of([17, 18, 23, 40, 96, 97, 200, 301]);
      const depth = from.of([1, 7, 33, 64, 511, 512, 513, 700, 1536, 2048]);
      const columns = from.of([1, 15, 16, 17, 40, 65]);
      const [norm, bias, active] = [depth > 8 && from.chance(), from.chance(), from.chance()];
      const [inPlace, half] = [from.chance(), !norm && from.chance()];
      const x = stored(random(rows * depth, seed), half ? 'bfloat16' : 'float32');
      const weights = stored(random(columns * depth, seed + 1), 'bfloat16');
      const [normWeight, normBias, added, y] = [depth, depth, columns, rows * columns].map((n, i) =>
        random(n, seed + i + 2),
      );
      const weight = await weightOf(device, weights, [columns, depth]);
      const input = half ? device.tensor('bfloat16', [rows, depth]) : await tensorOf(device, x, [rows, depth]);
      if (half) await input.write(x);
      const output = await tensorOf(device, y, [rows, columns]);
      const options = {
        norm: norm
          ? { weight: await tensorOf(device, normWeight, [depth]), bias: await tensorOf(device, normBias, [depth]) }
          : undefined,
        bias: bias ? await tensorOf(device, added, [columns]) : undefined,
        activation: active ? ('gelu' as const) : undefined,
        residual: inPlace ? output : undefined,
      };
      // The usual products, both in either order, or one: all from the same weight.
      const orders = [[undefined], [false, true], [true, false], [true]];
      const choices = from.of(orders);
      const sums = product(norm ? layerNorm(x, depth, normWeight, normBias) : x, weights, depth);
      const expected = sums.map((sum, i) => {
        const value = sum + (bias ? added[i % columns] : 0);
        return (active ? gelu(value) : value) + (inPlace ? y[i] : 0);
      });
      for (const integerProducts of choices) {
        await output.write(y);
        using program = device.record(
          'product',
          (ops) => {
            ops.linear(input, weight, { ...options, dtype: 'float32', output });
          },
          { integerProducts },
        );
        await program.run();
        const error = relativeError(await output.toFloat32Array(), expected, Math.hypot(...sums));
        const inIntegers = kernels !== 'portable' && (integerProducts ?? !haveBfloat16Products(kernels));
        // oneDNN's products round rows of float32 to bfloat16.
        expect(error).toBeLessThan(half || inIntegers ? tolerance : 5e-3);
      }
      // Rows that another program reads one by one are the weights as they were loaded.
      expect(await weight.toFloat32Array()).toEqual(weights);
    }
  });

  it('convolves over time, as a product with rows that overlap', async () => {
    using device = new Device('cpu', { kernels, threads: 2 });
    for (let seed = 1; seed <= 30; ++seed) {
      const from = new Choices(900 + seed);
      const [batch, length, channels] = [from.of([1, 2]), from.of([6, 21, 150]), from.of([1, 5, 16, 80])];
      const [outputs, kernel, stride] = [from.of([7, 16, 40]), from.of([1, 2, 3, 5]), from.of([1, 2, 3])];
      const padding = from.of([0, kernel >> 1, kernel]);
      const frames = Math.floor((length + 2 * padding - kernel) / stride) + 1;
      const x = stored(random(batch * length * channels, seed), 'bfloat16');
      const values = stored(random(outputs * channels * kernel, seed + 1), 'bfloat16');
      const [added, positions] = [random(outputs, seed + 2), random(frames * outputs, seed + 3)];
      const weight = await weightOf(device, values, [outputs, channels, kernel]);
      const input = device.tensor('bfloat16', [batch, length, channels]);
      await input.write(x);
      const bias = await tensorOf(device, added, [outputs]);
      const residual = await tensorOf(device, positions, [frames, outputs]);
      const output = device.tensor('float32', [batch, frames, outputs]);
      const expected = Float64Array.from({ length: batch * frames * outputs }, (_, i) => {
        const [b, frame, o] = [Math.floor(i / (frames * outputs)), Math.floor(i / outputs) % frames, i % outputs];
        let sum = added[o] + positions[frame * outputs + o];
        for (let k = 0; k < kernel; ++k) {
          const at = frame * stride + k - padding;
          if (at < 0 || at >= length) continue;
          for (let c = 0; c < channels; ++c) {
            sum += x[(b * length + at) * channels + c] * values[(o * channels + c) * kernel + k];
          }
        }
        return sum;
      });
      for (const integerProducts of from.chance() ? [false, true] : [true, false]) {
        const record = (ops: Operations) => {
          ops.convolution(input, weight, { bias, residual, stride, padding, dtype: 'float32', output });
        };
        using program = device.record('convolution', record, { integerProducts });
        await program.run();
        expect(relativeError(await output.toFloat32Array(), expected)).toBeLessThan(tolerance);
      }
    }
  });

  it('does not overflow, whatever the rows are; what is not finite stays in its row', async () => {
    using device = new Device('cpu', { kernels, threads: 2 });
    const [rows, depth, columns] = [32, 2048, 16];
    const x = new Float32Array(rows * depth);
    const weights = new Float32Array(columns * depth);
    const row = (of: Float32Array, at: number, value: (k: number) => number) => {
      for (let k = 0; k < depth; ++k) of[at * depth + k] = value(k);
    };
    // The largest sums: equal elements, one element, two signs, and rows of which most is small.
    const shapes = [
      () => 1,
      (k: number) => Number(k === 5),
      (k: number) => (k % 2 ? -1 : 1),
      (k: number) => (k === 5 ? 256 : 1),
    ];
    for (let n = 0; n < columns; ++n) row(weights, n, (k) => 2 ** (4 * n - 40) * shapes[n % 4](k));
    for (let m = 0; m < rows; ++m) row(x, m, (k) => 2 ** (3 * m - 60) * (m % 8 < 4 ? 1 : -1) * shapes[m % 4](k));
    row(x, 7, () => 0);
    x[9 * depth + 3] = Number.NaN;
    x[10 * depth + 3] = Number.POSITIVE_INFINITY;
    row(x, 11, () => 2 ** -140);
    const weight = await weightOf(device, weights, [columns, depth]);
    const input = await tensorOf(device, x, [rows, depth]);
    const output = device.tensor('float32', [rows, columns]);
    using program = device.record('product', (ops) => {
      ops.linear(input, weight, { dtype: 'float32', output });
    });
    await program.run();
    const actual = await output.toFloat32Array();
    for (let m = 0; m < rows; ++m) {
      const given = x.subarray(m * depth, (m + 1) * depth);
      for (let n = 0; n < columns; ++n) {
        const value = actual[m * columns + n];
        if (m === 9 || m === 10) {
          expect(Number.isFinite(value)).toBe(false);
          continue;
        }
        const other = weights.subarray(n * depth, (n + 1) * depth);
        const sum = given.reduce((total, element, k) => total + element * other[k], 0);
        // Equal elements of 1018.4 steps all lose 0.4 of a step, in x and in the weight. What is tiny may become zero.
        const allowed = 1e-3 * Math.hypot(...given) * Math.hypot(...other);
        expect(Math.abs(value - sum)).toBeLessThanOrEqual(Math.max(allowed, m === 11 ? 1e-30 : 0));
      }
    }
  });
});
