/** Products of few rows (decode steps) and many (encoder), with all that can be fused, and with int8 weights. */
import type { FloatingType } from '../../lib/element-types.js';
import { gelu, layerNorm, product, quantizedRows } from '../device/reference.js';
import { Choices, distinct, type Family, type Make, type OperationCase, operationCase, within } from './case.js';
import { whisperShapes } from './shapes.js';

interface Shape {
  rows: number;
  depth: number;
  columns: number;
  /** Applies a layer norm to x before the product. */
  norm?: boolean;
  bias?: boolean;
  gelu?: boolean;
  /** A residual that is added at the end; 'in place': the output is the residual. */
  residual?: boolean | 'in place';
  /** Types of x and of the result. Default: the storage type, or float32 with a norm or a residual. */
  x?: 'float32';
  y?: 'float32';
  /** The mean of x, which a norm must subtract without losing precision. */
  mean?: number;
  /** The output is a temporary, so that cuBLASLt may choose its algorithm by timing. */
  temporary?: boolean;
  /** An int8 weight, which is widened; 'rows': rows of x are quantized too. */
  quantized?: boolean | 'rows';
  /** The name of a model's shape. */
  name?: string;
}

const described = ({ rows, depth, columns, mean, name, ...options }: Shape): string => {
  if (name) return name;
  const words = Object.entries({ ...options, residual: Boolean(options.residual) }).filter(([, given]) => given);
  const fused = words.map(([word, given]) => (given === true ? word : `${word} ${given}`));
  if (options.residual === 'in place') fused.push('in place');
  if (mean) fused.push(`around ${mean}`);
  return [`${rows} rows, ${depth} to ${columns}`, ...fused].join(', ');
};

function linear(shape: Shape, supports?: OperationCase['supports']): OperationCase {
  const { rows, depth, columns, quantized } = shape;
  const inPlace = shape.residual === 'in place';
  return operationCase({
    operation: 'linear',
    name: described(shape),
    supports,
    operands(make: Make) {
      const xType = shape.x || shape.norm ? 'float32' : make.dtype;
      const yType: FloatingType = shape.y || shape.residual ? 'float32' : make.dtype;
      const float = (of: number[], size = 1) => make.random(of, { dtype: 'float32', size });
      return {
        x: make.random([rows, depth], { dtype: xType, size: 2, mean: shape.mean }),
        weight: quantized ? make.quantized([columns, depth]) : make.weight([columns, depth]),
        bias: shape.bias ? float([columns]) : undefined,
        normWeight: shape.norm ? float([depth]) : undefined,
        normBias: shape.norm ? float([depth]) : undefined,
        residual: shape.residual && !inPlace ? float([rows, columns]) : undefined,
        y: inPlace ? float([rows, columns]) : make.output([rows, columns], yType),
      };
    },
    record(ops, { x, weight, bias, normWeight, normBias, residual, y }) {
      const options = {
        bias,
        norm: normWeight && normBias && { weight: normWeight, bias: normBias },
        activation: shape.gelu ? ('gelu' as const) : undefined,
        residual: inPlace ? y : residual,
        quantized: quantized === 'rows' || undefined,
        dtype: y.dtype as FloatingType,
      };
      if (shape.temporary) ops.copy(ops.linear(x, weight, options), { output: y });
      else ops.linear(x, weight, { ...options, output: y });
    },
    expected({ x, weight, bias, normWeight, normBias, residual, y }, dtype) {
      let given: ArrayLike<number> = x;
      if (normWeight && normBias) given = layerNorm(x, depth, normWeight, normBias);
      if (quantized === 'rows') given = quantizedRows(Float32Array.from(given), depth).widened;
      const sums = product(given, weight, depth).map((sum, i) => sum + (bias?.[i % columns] ?? 0));
      const added = inPlace ? (y as Float32Array) : residual;
      const values = sums.map((sum, i) => (shape.gelu ? gelu(sum) : sum) + (added?.[i] ?? 0));
      // The rounding to 16 bits: of the rows, or of the result.
      const half = dtype !== 'float32' && !quantized;
      const rounded = half && (shape.norm || shape.x || !(shape.y || shape.residual));
      const yRounded = dtype !== 'float32' && !(shape.y || shape.residual);
      // Sums of integers are exact; only a norm that rounds differently can change one by a step.
      const exact = quantized === 'rows' && shape.norm ? 2e-3 : shape.mean ? 1e-5 : 2e-6;
      const tolerance = within(exact, rounded ? 5e-3 : yRounded ? 3e-3 : exact);
      return {
        y: {
          values,
          // A GPU does not quantize few rows of x, so it has no such rounding error.
          tolerance: (place) =>
            quantized === 'rows' && place.device !== 'cpu' ? Math.max(2e-2, tolerance(place)) : tolerance(place),
          minimumNorm: Math.hypot(...sums.subarray(0, 1 << 16)),
        },
      };
    },
    bytes: (element) => columns * depth * (quantized ? 1 : element) + rows * (depth + columns) * element,
    operations: 2 * rows * columns * depth,
  });
}

const fused = { norm: true, bias: true, gelu: true, residual: true } as const;

/** Boundaries between kernels, and their edge cases. */
const chosen: OperationCase[] = [
  ...[
    { rows: 1, depth: 64, columns: 48 },
    { rows: 1, depth: 384, columns: 1003 },
    { rows: 3, depth: 100, columns: 17 },
    { rows: 1, depth: 37, columns: 17 },
    { rows: 2, depth: 37, columns: 17 },
    { rows: 4, depth: 37, columns: 17 },
    { rows: 16, depth: 128, columns: 130 },
    { rows: 17, depth: 128, columns: 130 },
    { rows: 75, depth: 72, columns: 40 },
    ...[33, 37].map((rows) => ({ rows, depth: 63, columns: 120 })), // oneDNN 2.6.3 computes it wrongly with AMX
    // Few columns: the depth is split over a cluster of 8, 4 or 2 blocks, on GPUs with clusters.
    ...[1, 12, 30, 50].map((rows) => ({ rows, depth: 584, columns: 70 })),
    ...[3, 9, 17, 33].map((rows) => ({ rows, depth: 296, columns: 300 })),
    ...[5, 20].map((rows) => ({ rows, depth: 136, columns: 520 })),
    { rows: 40, depth: 160, columns: 1300 },
    { rows: 33, depth: 7200, columns: 20 }, // x normed in float32 has no room in shared memory
    { rows: 20, depth: 584, columns: 70, mean: 60 },
    { rows: 2, depth: 384, columns: 40, mean: -60 },
  ].map((shape) => linear({ ...shape, ...fused })),
  ...[1, 5, 40].map((rows) => linear({ rows, depth: 96, columns: 70 })),
  // The number of columns decides how many a block computes.
  ...[7, 13, 30, 50].flatMap((rows) => [300, 1030].map((columns) => linear({ rows, depth: 160, columns }))),
  ...[3, 20, 100].flatMap((rows) =>
    [true, false].map((gelu) => linear({ rows, depth: 136, columns: 70, bias: true, gelu, residual: 'in place' })),
  ),
  ...[70, 130].map((rows) => linear({ rows, depth: 64, columns: 48, bias: true, temporary: true })),
];

/** Random combinations and sizes, for the CPU kernels of few rows and the products of many. */
const combined: OperationCase[] = Array.from({ length: 19 * 12 }, (_, i) => {
  const from = new Choices(i + 1);
  const depth = from.of([1, 7, 17, 33, 64, 100, 384, 512, 1280, 1536]);
  return linear(
    {
      rows: 1 + (i % 19),
      depth,
      columns: from.of([1, 3, 4, 15, 16, 65, 130, 384]),
      norm: depth > 8 && from.chance(),
      bias: from.chance(),
      gelu: from.chance(),
      residual: from.of([false, false, true, 'in place']),
      x: from.of(['float32', undefined]),
      y: from.of(['float32', undefined]),
    },
    ({ device }) => device === 'cpu',
  );
});

const bytes: OperationCase[] = [1, 2, 3, 4, 5, 8, 11, 12, 13, 16, 17, 40, 63, 64, 65, 100, 201].flatMap((rows) =>
  Array.from({ length: 6 }, (_, i) => {
    const from = new Choices(1000 * rows + i);
    const depth = from.of([1, 7, 16, 33, 64, 100, 384, 512, 1536]);
    return linear({
      rows,
      depth,
      columns: from.of([1, 15, 16, 17, 48, 65, 130, 384]),
      norm: depth > 8 && from.below(3) === 0,
      bias: from.chance(),
      gelu: from.chance(),
      residual: from.chance(),
      x: from.of(['float32', undefined]),
      y: from.of(['float32', undefined]),
      quantized: i % 2 ? 'rows' : true,
    });
  }),
);

export const family: Family = {
  checked: [...chosen, ...distinct([...combined, ...bytes])],
  timed: (batch) =>
    whisperShapes.flatMap(({ model, width, vocabulary }) => {
      const step = (name: string, columns: number, depth: number, options: Partial<Shape>) =>
        linear({ name: `${model}, batch ${batch}, ${name}`, rows: batch, depth, columns, bias: true, ...options });
      return [
        step('query key value', 3 * width, width, { norm: true }),
        step('query key value of one head', width + 2 * 64, width, { norm: true }),
        step('out', width, width, { residual: true }),
        step('cross query', width, width, { norm: true }),
        step('up', 4 * width, width, { norm: true, gelu: true }),
        step('down', width, 4 * width, { residual: true }),
        step('up of 8 bits', 4 * width, width, { norm: true, gelu: true, quantized: true }),
        step('up of 8 bits by 8 bits', 4 * width, width, { norm: true, gelu: true, quantized: 'rows' }),
        step('logits', vocabulary, width, { norm: true, bias: false, y: 'float32' }),
        step('query key value of 8 bits', 3 * width, width, { norm: true, quantized: 'rows' }),
        step('out of 8 bits', width, width, { residual: true, quantized: 'rows' }),
        step('down of 8 bits', width, 4 * width, { residual: true, quantized: 'rows' }),
        step('logits of 8 bits', vocabulary, width, { norm: true, bias: false, y: 'float32', quantized: 'rows' }),
        // A product of the encoder, with integers if rows are quantized too.
        ...(batch === 1
          ? ([true, 'rows', false] as const).map((quantized) =>
              linear({
                name: `${model}, 1500 rows, up${quantized ? ` of 8 bits${quantized === 'rows' ? ' by 8 bits' : ''}` : ''}`,
                rows: 1500,
                depth: width,
                columns: 4 * width,
                bias: true,
                gelu: true,
                norm: quantized !== false,
                quantized,
              }),
            )
          : []),
      ];
    }),
};
