/** Layer norm over rows. */
import type { FloatingType } from '../../lib/element-types.js';
import { layerNorm } from '../device/reference.js';
import { type Family, type Make, type OperationCase, operationCase, within } from './case.js';
import { whisperShapes, windowPositions } from './shapes.js';

function norm(rows: number, width: number, name = `${rows} rows of ${width}`): OperationCase {
  return operationCase({
    operation: 'layerNorm',
    name,
    operands: (make: Make) => ({
      x: make.random([rows, width], { dtype: 'float32', size: 3 }),
      weight: make.random([width], { dtype: 'float32' }),
      bias: make.random([width], { dtype: 'float32' }),
      y: make.output([rows, width]),
    }),
    record: (ops, { x, weight, bias, y }) =>
      void ops.layerNorm(x, { weight, bias }, { dtype: y.dtype as FloatingType, output: y }),
    expected: ({ x, weight, bias }) => ({
      y: { values: layerNorm(x, width, weight, bias), tolerance: within(1e-6, 3e-3) },
    }),
    bytes: (element) => rows * width * (4 + element),
    operations: 8 * rows * width,
  });
}

const sizes = [
  [1, 130],
  [7, 130],
  [5, 72],
  [3, 516],
  [2, 1280],
  [2, 1284],
  // Many rows, of which the emulated GPU's blocks have several for each warp.
  [33, 1280],
  [250, 384],
  [401, 516],
  ...[5, 16, 33, 384, 400, 1280].flatMap((width) => [1, 3, 10].map((rows) => [rows, width])),
];

export const family: Family = {
  checked: sizes.map(([rows, width]) => norm(rows, width)),
  timed: (batch) =>
    whisperShapes.flatMap(({ model, width }) => [
      norm(batch, width, `${model}, batch ${batch}, a row a sequence`),
      ...(batch === 1 ? [norm(windowPositions, width, `${model}, an encoder's window`)] : []),
      ...(batch === 8 ? [norm(8 * windowPositions, width, `${model}, 8 encoder's windows`)] : []),
    ]),
};
