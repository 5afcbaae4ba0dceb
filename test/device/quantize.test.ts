/** int8 weights and caches, with every instruction set of this CPU and on a GPU. */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { Device, type Part, WeightsFile } from '../../lib/device/device.js';
import { randomNumbers as random } from '../random.js';
import { devices, kinds } from './devices.js';

const [outputs, inputs] = [37, 70];

/** A file with these numbers. */
async function fileOf(numbers: Float32Array | Int8Array): Promise<WeightsFile> {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-quantize-'));
  onTestFinished(() => rm(folder, { recursive: true, force: true }));
  await writeFile(join(folder, 'weights'), new Uint8Array(numbers.buffer));
  const file = new WeightsFile(join(folder, 'weights'));
  onTestFinished(() => file.close());
  return file;
}

const partOf = async (numbers: Float32Array): Promise<Part> => ({
  file: await fileOf(numbers),
  offset: 0,
  dtype: 'float32',
  elements: numbers.length,
  name: 'fc1',
});

function numbers(count: number, seed: number): Float32Array {
  const next = random(seed);
  return Float32Array.from({ length: count }, () => 2 * next() - 1);
}

describe.each(devices)('$name', ({ open }) => {
  it('quantizes a weight row by row, and multiplies with it', async () => {
    using device = open();
    const weights = numbers(outputs * inputs, 1);
    weights.fill(0, 3 * inputs, 4 * inputs);
    const { weight, error } = await device.quantize([outputs, inputs], [await partOf(weights)]);
    const [data, scales] = [await weight.data.toInt8Array(), await weight.scales.toFloat32Array()];
    expect(scales[3]).toBe(0);
    weights.forEach((value, i) => {
      const row = Math.floor(i / inputs);
      const largest = Math.max(...weights.subarray(row * inputs, (row + 1) * inputs).map(Math.abs));
      expect(scales[row]).toBeCloseTo(largest / 127, 7);
      expect(Math.abs(value - data[i] * scales[row])).toBeLessThanOrEqual(0.5001 * scales[row]);
    });
    // For uniform numbers from -1 to 1 the median magnitude is 0.5, or about 63 steps.
    expect(error).toBeGreaterThan(0.0025);
    expect(error).toBeLessThan(0.0036);
    weights[inputs] = 1000;
    const outlier = await device.quantize([1, inputs], [await partOf(weights.slice(inputs, 2 * inputs))]);
    expect(outlier.error).toBeCloseTo(0.389, 2);

    for (const rows of [1, 5, 100]) {
      const given = numbers(rows * inputs, 2);
      const [x, whole, wide] = [inputs, outputs, outputs].map((width) => device.tensor('float32', [rows, width]));
      await x.write(given);
      using program = device.record('product', (ops) => {
        ops.linear(x, weight, { quantized: true, output: whole });
        ops.linear(x, weight, { output: wide });
      });
      await program.run();
      const [quantized, widened] = [await whole.toFloat32Array(), await wide.toFloat32Array()];
      for (let row = 0; row < rows; ++row) {
        for (let output = 0; output < outputs; ++output) {
          let sum = 0;
          for (let k = 0; k < inputs; ++k) sum += given[row * inputs + k] * data[output * inputs + k] * scales[output];
          expect(widened[row * outputs + output]).toBeCloseTo(sum, 4);
          // The rounding error of a row: at most half a step of 1/127 of its largest number.
          expect(Math.abs(quantized[row * outputs + output] - sum)).toBeLessThan(0.05);
        }
      }
    }
  });

  it('gives the same integers as the portable kernels, and on a CPU the same products', async () => {
    const weights = numbers(outputs * inputs, 3);
    const of = async (device: Device) => {
      using _ = device;
      const { weight, error } = await device.quantize([outputs, inputs], [await partOf(weights)]);
      const [x, y] = [device.tensor('float32', [2, inputs]), device.tensor('float32', [2, outputs])];
      await x.write(numbers(2 * inputs, 4));
      using program = device.record('product', (ops) => {
        ops.linear(x, weight, { quantized: true, output: y });
      });
      await program.run();
      const made = [await weight.data.toInt8Array(), await weight.scales.toFloat32Array()];
      return { made, error, y: await y.toFloat32Array(), kind: device.kind };
    };
    const [ours, portable] = [await of(open()), await of(new Device('cpu', { kernels: 'portable', threads: 1 }))];
    expect(ours.made).toEqual(portable.made);
    expect(ours.error).toBeCloseTo(portable.error, 6);
    if (ours.kind === 'cpu') expect(ours.y).toEqual(portable.y);
  });
});

describe.each(kinds)('an int8 weight on %s', (kind) => {
  it('accepts integers with one scale for each row unchanged', async () => {
    using device = new Device(kind);
    const bytes = Int8Array.from({ length: 4 * 6 + 16 }, (_, i) => ((i * 37) % 255) - 127);
    new Float32Array(bytes.buffer, 24).set([0.5, 2, 1, 0.25]);
    const part = { file: await fileOf(bytes), offset: 0, encoding: 'int8', elements: 24, name: 'fc1' };
    const scales = { offset: 24, dtype: 'float32', each: 6 };
    for (const factor of [true, false]) {
      const { weight, error } = await device.quantize([4, 6], [{ ...part, scales: { ...scales, factor } }]);
      expect(await weight.data.toInt8Array()).toEqual(bytes.slice(0, 24));
      expect([...(await weight.scales.toFloat32Array())]).toEqual(factor ? [0.5, 2, 1, 0.25] : [2, 0.5, 1, 4]);
      expect(error).toBe(0);
    }
    const wide = await device.load('float32', [4, 6], [{ ...part, scales: { ...scales, factor: true } }]);
    expect((await wide.toFloat32Array())[7]).toBe(2 * bytes[7]);
  });

  it('is refused in a sentence where it is not supported', async () => {
    using device = new Device(kind);
    const weights = numbers(32, 5);
    weights[9] = Number.NaN;
    await expect(device.quantize([4, 8], [await partOf(weights)])).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(/element 9 of tensor 'fc1' is not a number/),
    });
    weights[9] = 1;
    const part = await partOf(weights);
    await expect(device.quantize([32], [part])).rejects.toThrow('quantize: expected shape to be [outputs, inputs]');
    await expect(device.quantize([8, 4], [{ ...part, elements: 6 }])).rejects.toThrow('quantize: the parts hold 6');
    const uneven = [{ ...part, elements: 6 }, { elements: 26 }];
    await expect(device.quantize([8, 4], uneven)).rejects.toThrow('whole rows of 4 elements');
    const { weight } = await device.quantize([4, 8], [part]);
    const x = device.tensor('float32', [1, 8]);
    const record = (body: (ops: Parameters<Parameters<Device['record']>[1]>[0]) => void) => () =>
      device.record('refused', body);
    expect(record((ops) => ops.linear(x, weight.data))).toThrow('weight.scales');
    expect(record((ops) => ops.linear(x, device.tensor('float32', [4, 8]), { quantized: true }))).toThrow('quantized');
    if (kind !== 'cpu') return; // a GPU multiplies with any tensor of whole numbers
    const plain = device.tensor('int8', [4, 8]);
    expect(record((ops) => ops.linear(x, { ...weight, data: plain }))).toThrow('as returned by Device.quantize');
    expect(record((ops) => ops.copy(weight.data))).toThrow('can only be used by linear and embed');
    await expect(weight.data.write(new Int8Array(32))).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
  });
});

describe.each(kinds)('an int8 cache on %s', (kind) => {
  it('accepts rows of any floating-point type, and attention reads it', async () => {
    using device = new Device(kind);
    const [batch, positions, heads, size] = [2, 90, 3, 16];
    const width = heads * size;
    const read = async (dtype: 'float32' | 'int8') => {
      const cache = () => device.tensor(dtype, [1, batch * positions, width]);
      const scale = () => device.tensor('float32', [1, batch * positions, heads]);
      const [key, value, keys, values] = [cache(), cache(), scale(), scale()];
      const scales = dtype === 'int8' ? { key: keys, value: values } : undefined;
      const rows = device.tensor('float32', [batch, positions, width], numbers(batch * positions * width, 6));
      const query = device.tensor('float32', [batch, 1, width], numbers(batch * width, 7));
      const begins = device.tensor('int32', [batch], Int32Array.of(0, positions));
      const count = device.tensor('int32', [batch], Int32Array.of(positions, 50));
      const output = device.tensor('float32', [batch, 1, width]);
      using program = device.record('cache', (ops) => {
        ops.scatterRows(rows, key, begins, { scales: scales?.key });
        ops.scatterRows(rows, value, begins, { scales: scales?.value });
        ops.attention(query, key, value, { heads, keys: { begin: begins, count }, cacheScales: scales, output });
      });
      await program.run();
      return await output.toFloat32Array();
    };
    const [exact, rounded] = [await read('float32'), await read('int8')];
    const norm = (values: Float32Array) => Math.sqrt(values.reduce((sum, value) => sum + value * value, 0));
    expect(norm(exact.map((value, i) => value - rounded[i])) / norm(exact)).toBeLessThan(0.02);
  });

  it('requires scales, and an algorithm that supports it', () => {
    using device = new Device(kind);
    const query = device.tensor('float32', [1, 1, 32]);
    const [key, value] = [device.tensor('int8', [1, 4, 32]), device.tensor('int8', [1, 4, 32])];
    const scale = device.tensor('float32', [1, 4, 2]);
    const attend = (options: object) => () =>
      device.record('refused', (ops) => {
        ops.attention(query, key, value, { heads: 2, ...options });
      });
    expect(attend({})).toThrow('expected key to be float32 but received int8');
    const cacheScales = { key: scale, value: scale };
    expect(attend({ cacheScales, algorithm: 'memory-efficient' })).toThrow("'split-kv'");
    expect(attend({ cacheScales: { key: scale } })).toThrow('cacheScales.value');
    expect(attend({ cacheScales: { key: scale, value: device.tensor('float32', [1, 4, 1]) } })).toThrow(
      'cacheScales.value',
    );
  });
});
