/** What a window passes on its way into the model: log-mel features and convolutions; and the small operations of the decoder's start. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import type { FloatingType } from '../../lib/element-types.js';
import { devices } from './devices.js';
import { gelu, random, relativeError, stored } from './reference.js';

/** log10 of mel energies, floored at 8 below the peak and scaled, by the definition. */
function logMel(
  samples: Float32Array,
  window: Float32Array,
  filters: Float32Array,
  { frames, hop, mels, peak }: { frames: number; hop: number; mels: number; peak: number },
) {
  const size = window.length;
  const bins = size / 2 + 1;
  const values = new Float64Array(mels * frames);
  for (let frame = 0; frame < frames; ++frame) {
    const power = Array.from({ length: bins }, (_, k) => {
      let [real, imaginary] = [0, 0];
      for (let n = 0; n < size; ++n) {
        const x = samples[frame * hop + n] * window[n];
        real += x * Math.cos((2 * Math.PI * k * n) / size);
        imaginary += x * Math.sin((2 * Math.PI * k * n) / size);
      }
      return real * real + imaginary * imaginary;
    });
    for (let mel = 0; mel < mels; ++mel) {
      const energy = power.reduce((sum, value, k) => sum + value * filters[mel * bins + k], 0);
      values[mel * frames + frame] = Math.log10(Math.max(energy, 1e-10));
    }
  }
  const highest = values.reduce((a, b) => Math.max(a, b), peak);
  return { features: values.map((value) => (Math.max(value, highest - 8) + 4) / 4), highest };
}

describe.each(devices)('$name', ({ open, dtypes }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  it.each([
    { size: 400, hop: 160, mels: 80, frames: 21, batch: 2 },
    { size: 38, hop: 10, mels: 5, frames: 3, batch: 1 },
  ])('log-mel features of $frames frames of $size samples', async ({ size, hop, mels, frames, batch }) => {
    const length = (frames - 1) * hop + size;
    const samples = random(batch * length, 1);
    const window = Float32Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));
    const bins = size / 2 + 1;
    const filters = Float32Array.from({ length: mels * bins }, (_, i) => {
      const distance = Math.abs((i % bins) - ((Math.floor(i / bins) + 1) * bins) / (mels + 1));
      return Math.max(0, 1 - distance / 3);
    });
    const before = [Number.NEGATIVE_INFINITY, 9].slice(0, batch);
    const peak = device.tensor('float32', [batch], Float32Array.from(before));
    const output = device.tensor('float32', [batch, mels, frames]);
    using program = device.record('features', (ops) => {
      const given = device.tensor('float32', [batch, length], samples);
      const [weights, table] = [
        device.tensor('float32', [size], window),
        device.tensor('float32', [mels, bins], filters),
      ];
      ops.logMel(given, weights, table, peak, { hop, output });
    });
    await program.run();
    const wanted = before.map((highest, b) =>
      logMel(samples.subarray(b * length, (b + 1) * length), window, filters, { frames, hop, mels, peak: highest }),
    );
    const features = Float64Array.from(wanted.flatMap((one) => Array.from(one.features)));
    expect(relativeError(await output.toFloat32Array(), features)).toBeLessThan(1e-5);
    (await peak.toFloat32Array()).forEach((value, b) => {
      expect(value).toBeCloseTo(wanted[b].highest, 4);
    });
  });

  describe.each(dtypes)('$dtype', ({ dtype, tolerance }) => {
    it.each([
      { length: 20, channels: 8, outputs: 24, kernel: 3, stride: 1, padding: 1 },
      { length: 21, channels: 5, outputs: 7, kernel: 3, stride: 2, padding: 1 },
      { length: 70, channels: 16, outputs: 70, kernel: 5, stride: 2, padding: 2 },
    ])('a convolution of $channels channels to $outputs, kernel $kernel, stride $stride', async (shape) => {
      const { length, channels, outputs, kernel, stride, padding } = shape;
      const batch = 2;
      const frames = Math.floor((length + 2 * padding - kernel) / stride) + 1;
      const given = (count: number, seed: number, type: FloatingType = dtype) => stored(random(count, seed), type);
      const x = given(batch * length * channels, 1);
      const weights = [given(outputs * channels * kernel, 2), given(outputs * channels * kernel, 5)];
      const changing = device.tensor(dtype, [outputs, channels, kernel]);
      const bias = given(outputs, 3, 'float32');
      const residual = given(frames * outputs, 4, 'float32');
      const output = device.tensor('float32', [batch, frames, outputs]);
      using program = device.record('convolution', (ops) => {
        const tensor = (type: FloatingType, of: number[], values: Float32Array) => device.tensor(type, of, values);
        ops.convolution(tensor(dtype, [batch, length, channels], x), changing, {
          bias: tensor('float32', [outputs], bias),
          residual: tensor('float32', [frames, outputs], residual),
          activation: 'gelu',
          dtype: 'float32',
          stride,
          padding,
          output,
        });
      });
      for (const weight of weights) {
        await changing.write(weight);
        await program.run();
        const wanted = new Float64Array(batch * frames * outputs);
        for (let i = 0; i < wanted.length; ++i) {
          const [b, frame, o] = [Math.floor(i / (frames * outputs)), Math.floor(i / outputs) % frames, i % outputs];
          let sum = bias[o];
          for (let k = 0; k < kernel; ++k) {
            const at = frame * stride + k - padding;
            if (at < 0 || at >= length) continue;
            for (let c = 0; c < channels; ++c) {
              sum += x[(b * length + at) * channels + c] * weight[(o * channels + c) * kernel + k];
            }
          }
          wanted[i] = gelu(sum) + residual[frame * outputs + o];
        }
        expect(relativeError(await output.toFloat32Array(), wanted)).toBeLessThan(tolerance);
      }
    });
  });

  it('gathers rows by index, of each sequence its own', async () => {
    const [batch, length, width] = [2, 4, 3];
    const values = random(batch * length * width, 1);
    const output = device.tensor('float32', [2, batch, width]);
    using program = device.record('gather', (ops) => {
      const index = device.tensor('int32', [2, batch], Int32Array.from([3, 0, 1, 99]));
      ops.gatherRows(device.tensor('float32', [batch, length, width], values), index, { output });
    });
    await program.run();
    const row = (b: number, at: number) =>
      Array.from(values.subarray((b * length + at) * width, (b * length + at + 1) * width));
    expect(Array.from(await output.toFloat32Array())).toEqual([...row(0, 3), ...row(1, 0), ...row(0, 1), ...row(1, 3)]);
  });

  it('gives one token’s probability, with others forbidden', async () => {
    const logits = Float32Array.from({ length: 2 * 3000 }, (_, i) =>
      i % 7 === 0 ? Number.NEGATIVE_INFINITY : Math.sin(i) * 9,
    );
    const output = device.tensor('float32', [2]);
    using program = device.record('probability', (ops) => {
      ops.tokenProbability(device.tensor('float32', [2, 3000], logits), 2900, { output });
    });
    await program.run();
    (await output.toFloat32Array()).forEach((value, b) => {
      const row = logits.subarray(b * 3000, (b + 1) * 3000);
      const total = row.reduce((sum, logit) => sum + Math.exp(logit), 0);
      expect(value / (Math.exp(row[2900]) / total)).toBeCloseTo(1, 4);
    });
  });
});
