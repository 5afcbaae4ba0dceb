/** Convolutions over time, with a fused GELU and added positions. */
import { gelu } from '../device/reference.js';
import { type Family, type Make, type OperationCase, operationCase, within } from './case.js';
import { whisperShapes, windowPositions } from './shapes.js';

interface Shape {
  batch: number;
  length: number;
  channels: number;
  outputs: number;
  kernel: number;
  stride: number;
  padding: number;
}

function convolution(shape: Shape, name?: string): OperationCase {
  const { batch, length, channels, outputs, kernel, stride, padding } = shape;
  const frames = Math.floor((length + 2 * padding - kernel) / stride) + 1;
  return operationCase({
    operation: 'convolution',
    name: name ?? `${batch} x ${length} of ${channels} channels to ${outputs}, kernel ${kernel}, stride ${stride}`,
    operands: (make: Make) => ({
      x: make.random([batch, length, channels]),
      weight: make.weight([outputs, channels, kernel]),
      bias: make.random([outputs], { dtype: 'float32' }),
      residual: make.random([frames, outputs], { dtype: 'float32' }),
      y: make.output([batch, frames, outputs], 'float32'),
    }),
    record(ops, { x, weight, bias, residual, y }) {
      const options = { bias, residual, activation: 'gelu', dtype: 'float32', stride, padding, output: y } as const;
      ops.convolution(x, weight, options);
    },
    expected({ x, weight, bias, residual }) {
      const values = new Float64Array(batch * frames * outputs);
      for (let i = 0; i < values.length; ++i) {
        const [b, frame, o] = [Math.floor(i / (frames * outputs)), Math.floor(i / outputs) % frames, i % outputs];
        let sum = bias[o];
        for (let k = 0; k < kernel; ++k) {
          const at = frame * stride + k - padding;
          if (at < 0 || at >= length) continue;
          for (let c = 0; c < channels; ++c) {
            sum += x[(b * length + at) * channels + c] * weight[(o * channels + c) * kernel + k];
          }
        }
        values[i] = gelu(sum) + residual[frame * outputs + o];
      }
      return { y: { values, tolerance: within(1e-5, 1e-2) } };
    },
    bytes: (element) => (batch * length + outputs * kernel) * channels * element + batch * frames * outputs * 4,
    operations: 2 * batch * frames * outputs * channels * kernel,
  });
}

export const family: Family = {
  checked: [
    { length: 20, channels: 8, outputs: 24, kernel: 3, stride: 1, padding: 1 },
    { length: 21, channels: 5, outputs: 7, kernel: 3, stride: 2, padding: 1 },
    { length: 70, channels: 16, outputs: 70, kernel: 5, stride: 2, padding: 2 },
  ].map((shape) => convolution({ batch: 2, ...shape })),
  timed: (batch) =>
    whisperShapes.flatMap(({ model, width }) => {
      const mels = model === 'large-v3' ? 128 : 80;
      const both = { batch, length: 2 * windowPositions, outputs: width, kernel: 3, padding: 1 };
      return [
        convolution({ ...both, channels: mels, stride: 1 }, `${model}, batch ${batch}, first`),
        convolution({ ...both, channels: width, stride: 2 }, `${model}, batch ${batch}, second`),
      ];
    }),
};
