/** The log-mel features of windows. */
import type { FloatingType } from '../../lib/element-types.js';
import { stored } from '../device/reference.js';
import { Choices, type Family, type Make, type OperationCase, operationCase, within } from './case.js';
import { windowPositions } from './shapes.js';

interface LogMel {
  batch: number;
  frames: number;
  size: number;
  hop: number;
  mels: number;
  /** The maximum of each recording so far. */
  peaks?: readonly number[];
  /** A loud tone over noise, so that the floor below the maximum matters. */
  tone?: boolean;
}

/** The Hann window. */
const hann = (size: number) =>
  Float32Array.from({ length: size }, (_, n) => 0.5 - 0.5 * Math.cos((2 * Math.PI * n) / size));

/** Triangular filters over the frequency bins. */
function triangles(mels: number, bins: number): Float32Array {
  const reach = Math.max(1.2, (1.2 * bins) / mels);
  return Float32Array.from({ length: mels * bins }, (_, i) => {
    const centre = ((Math.floor(i / bins) + 1) * bins) / (mels + 1);
    return Math.max(0, 1 - Math.abs((i % bins) - centre) / reach);
  });
}

/** log10 of mel energies, limited to 8 below the maximum and scaled, computed by the definition. */
function logMelOf(samples: Float32Array, window: Float32Array, filters: Float32Array, shape: LogMel, peak: number) {
  const { frames, hop, mels, size } = shape;
  const bins = size / 2 + 1;
  const [cosines, sines] = [Math.cos, Math.sin].map((wave) =>
    Float64Array.from({ length: size }, (_, i) => wave((2 * Math.PI * i) / size)),
  );
  const values = new Float64Array(mels * frames);
  const power = new Float64Array(bins);
  for (let frame = 0; frame < frames; ++frame) {
    for (let k = 0; k < bins; ++k) {
      let [real, imaginary] = [0, 0];
      for (let n = 0; n < size; ++n) {
        const x = samples[frame * hop + n] * window[n];
        real += x * cosines[(k * n) % size];
        imaginary += x * sines[(k * n) % size];
      }
      power[k] = real * real + imaginary * imaginary;
    }
    for (let mel = 0; mel < mels; ++mel) {
      const energy = power.reduce((sum, value, k) => sum + value * filters[mel * bins + k], 0);
      values[mel * frames + frame] = Math.log10(Math.max(energy, 1e-10));
    }
  }
  const highest = values.reduce((a, b) => Math.max(a, b), peak);
  return { features: values.map((value) => (Math.max(value, highest - 8) + 4) / 4), highest };
}

function logMel(shape: LogMel, name?: string): OperationCase {
  const { batch, frames, size, hop, mels, tone } = shape;
  const peaks = shape.peaks ?? Array<number>(batch).fill(Number.NEGATIVE_INFINITY);
  const length = (frames - 1) * hop + size;
  const bins = size / 2 + 1;
  return operationCase({
    operation: 'logMel',
    name: name ?? `${batch} x ${frames} frames of ${size} every ${hop}, ${mels} mels, peaks ${peaks.join(' ')}`,
    dtypes: ['float32'],
    operands(make: Make) {
      const noise = make.random([batch, length], { dtype: 'float32', size: tone ? 1e-4 : 1 });
      const loud = () => noise.values.map((value, i) => value + Math.sin(0.3 * (i % length)));
      return {
        samples: tone ? make.floats([batch, length], loud, 'float32') : noise,
        window: make.floats([size], () => hann(size), 'float32'),
        filters: make.floats([mels, bins], () => triangles(mels, bins), 'float32'),
        peak: make.floats([batch], peaks, 'float32'),
        y: make.output([batch, mels, frames], 'float32'),
      };
    },
    record: (ops, { samples, window, filters, peak, y }) =>
      void ops.logMel(samples, window, filters, peak, { hop, output: y }),
    expected({ samples, window, filters }) {
      const each = peaks.map((peak, b) =>
        logMelOf(samples.subarray(b * length, (b + 1) * length), window, filters, shape, peak),
      );
      const highest = each.map((one) => one.highest);
      return {
        y: { values: each.flatMap(({ features }) => Array.from(features)), tolerance: within(1e-5, 1e-5) },
        peak: { values: highest, tolerance: within(1e-6, 1e-6), minimumNorm: 1 },
      };
    },
    bytes: () => 4 * batch * (length + mels * frames),
    operations: batch * frames * (5 * size * Math.log2(size) + 4 * bins),
  });
}

function transposeCast([batch, rows, columns]: readonly number[], name?: string): OperationCase {
  return operationCase({
    operation: 'transposeCast',
    name: name ?? `${batch} x ${rows} rows of ${columns}`,
    operands: (make: Make) => ({
      x: make.random([batch, rows, columns], { dtype: 'float32' }),
      y: make.output([batch, columns, rows]),
    }),
    record: (ops, { x, y }) => void ops.transposeCast(x, { dtype: y.dtype as FloatingType, output: y }),
    expected({ x }, dtype) {
      const turned = Float32Array.from({ length: x.length }, (_, i) => {
        const [b, column, row] = [Math.floor(i / (rows * columns)), Math.floor(i / rows) % columns, i % rows];
        return x[(b * rows + row) * columns + column];
      });
      return { y: { values: stored(turned, dtype) } };
    },
    bytes: (element) => batch * rows * columns * (4 + element),
    operations: batch * rows * columns,
  });
}

export const family: Family = {
  checked: [
    logMel({ batch: 2, frames: 21, size: 400, hop: 160, mels: 80, peaks: [Number.NEGATIVE_INFINITY, 9] }),
    logMel({ batch: 1, frames: 3, size: 38, hop: 10, mels: 5 }),
    logMel({ batch: 1, frames: 50, size: 400, hop: 160, mels: 80, tone: true }),
    logMel({ batch: 2, frames: 7, size: 400, hop: 160, mels: 128, peaks: [5, 5], tone: true }),
    // Sizes of all kinds for the Fourier transform: 2, powers of 2, and multiples of 3, 5, 7 and 11.
    ...[2, 6, 14, 32, 60, 154].map((size) =>
      logMel({ batch: 1, frames: 18, size, hop: Math.min(5, size), mels: 3, tone: true }),
    ),
    transposeCast([2, 5, 19]),
    ...Array.from({ length: 8 }, (_, i) => {
      const from = new Choices(30 + i);
      return transposeCast([2, 1 + from.below(70), 1 + from.below(70)]);
    }),
  ],
  timed: (batch) =>
    [80, 128].flatMap((mels) => [
      logMel(
        { batch, frames: 2 * windowPositions, size: 400, hop: 160, mels },
        `batch ${batch}, a window with ${mels} mels`,
      ),
      transposeCast([batch, mels, 2 * windowPositions], `batch ${batch}, a window with ${mels} mels`),
    ]),
};
