/** Operations that look up, gather, scatter or copy rows. */
import type { FloatingType } from '../../lib/element-types.js';
import { quantizedRows, stored } from '../device/reference.js';
import { type Family, type Make, type OperationCase, operationCase, within } from './case.js';
import { textPositions, whisperShapes, windowPositions } from './shapes.js';

interface Embed {
  width: number;
  vocabulary: number;
  positions: number;
  count?: number;
  scale?: number;
  /** For each row of the state. */
  starts: readonly number[];
  /** The pool rows of the entries. */
  rows?: readonly number[];
  /** The embeddings are int8. */
  bytes?: boolean;
}

function embed(shape: Embed, name?: string): OperationCase {
  const { width, vocabulary, positions, count = 1, scale, starts, rows, bytes } = shape;
  const [pool, batch] = [starts.length, rows?.length ?? starts.length];
  const words = [
    `${batch} x ${count} of ${width}`,
    scale && `scale ${scale}`,
    rows && 'rows of a pool',
    bytes && '8 bits',
  ];
  return operationCase({
    operation: 'embed',
    name: name ?? words.filter(Boolean).join(', '),
    operands: (make: Make) => ({
      // Some tokens are out of range and count as token 0.
      tokens: make.wholes([pool, positions], -2, vocabulary + 4),
      start: make.integers(starts),
      table: bytes ? make.quantized([vocabulary, width]) : make.weight([vocabulary, width]),
      position: make.random([positions, width], { dtype: 'float32' }),
      rows: rows && make.integers(rows),
      y: make.output([batch, count, width], 'float32'),
    }),
    record: (ops, { tokens, start, table, position, rows, y }) =>
      void ops.embed(tokens, start, table, position, { count, scale, rows, output: y }),
    expected({ tokens, table, position }) {
      const values = new Float64Array(batch * count * width);
      for (let i = 0; i < batch * count; ++i) {
        const row = rows ? rows[Math.floor(i / count)] : Math.floor(i / count);
        if (row < 0 || row >= pool) continue;
        const place = starts[row] + (i % count);
        const token = tokens[row * positions + place];
        const from = token < 0 || token >= vocabulary ? 0 : token;
        for (let c = 0; c < width; ++c) {
          values[i * width + c] = (scale ?? 1) * table[from * width + c] + position[place * width + c];
        }
      }
      return { y: { values, tolerance: within(1e-6, 1e-6), zeros: true } };
    },
    bytes: (element) => batch * count * width * (element + 8),
    operations: 2 * batch * count * width,
  });
}

function gather([batch, length, width]: readonly number[], index: readonly number[]): OperationCase {
  const count = index.length / batch;
  return operationCase({
    operation: 'gatherRows',
    name: `${count} of each of ${batch} x ${length} rows of ${width}`,
    dtypes: ['float32'],
    operands: (make: Make) => ({
      x: make.random([batch, length, width]),
      index: make.integers(index, [count, batch]),
      y: make.output([count, batch, width]),
    }),
    record: (ops, { x, index, y }) => void ops.gatherRows(x, index, { output: y }),
    expected({ x }) {
      const values = Float32Array.from({ length: index.length * width }, (_, i) => {
        const entry = Math.floor(i / width);
        const row = Math.max(0, Math.min(length - 1, index[entry]));
        return x[((entry % batch) * length + row) * width + (i % width)];
      });
      return { y: { values } };
    },
    bytes: () => 8 * index.length * width,
    operations: 0,
  });
}

interface Scatter {
  batch: number;
  length: number;
  width: number;
  positions: number;
  begin: readonly number[];
  /** The type of y, if it is not that of x; { heads }: int8, with a scale for each of this many parts of a row. */
  to?: FloatingType | { heads: number };
  /** Special values that must be copied unchanged. */
  special?: readonly number[];
  size?: number;
}

/** x is some of the columns of a fused product. */
function scatter(shape: Scatter, name?: string): OperationCase {
  const { batch, length, width, positions, begin, to, special, size = 1 } = shape;
  const heads = typeof to === 'object' ? to.heads : undefined;
  const kind = heads ? `8 bits, ${heads} heads` : to ? `to ${to as string}` : 'as they are';
  const with_ = special ? `, with ${special.map((one) => String(one)).join(' ')}` : '';
  return operationCase({
    operation: 'scatterRows',
    name: name ?? `${batch} x ${length} rows of ${width} to ${positions}, ${kind}, numbers to ${size}${with_}`,
    operands(make: Make) {
      const numbers = make.random([batch, length, 3 * width], { size });
      const mixed = () =>
        numbers.values.map((value, i) =>
          special && i % (3 * width) === 2 * width - 1 ? special[Math.floor(i / (3 * width)) % special.length] : value,
        );
      return {
        x: special ? make.floats([batch, length, 3 * width], mixed) : numbers,
        begin: make.integers(begin),
        y: heads
          ? make.output([1, positions, width], 'int8')
          : make.output([1, positions, width], (to as FloatingType) ?? make.dtype),
        scales: heads ? make.output([1, positions, heads], 'float32') : undefined,
      };
    },
    record: (ops, { x, begin, y, scales }) => ops.scatterRows(x.columns(width, width), y, begin, { scales }),
    expected({ x, y, scales }, dtype) {
      const type = heads ? 'float32' : ((to as FloatingType) ?? dtype);
      const values = (y as Float32Array).slice();
      const factors = scales && (scales as Float32Array).slice();
      for (let b = 0; b < batch; ++b) {
        for (let t = 0; t < length && begin[b] >= 0 && begin[b] + t < positions; ++t) {
          const from = ((b * length + t) * 3 + 1) * width;
          const row = x.subarray(from, from + width);
          const at = begin[b] + t;
          if (!heads || !factors) {
            values.set(stored(Float32Array.from(row), type), at * width);
            continue;
          }
          const quantized = quantizedRows(Float32Array.from(row), width / heads);
          values.set(quantized.bytes, at * width);
          factors.set(quantized.scales, at * heads);
        }
      }
      return { y: { values }, ...(factors && { scales: { values: factors } }) };
    },
    bytes: (element) => 2 * batch * length * width * element,
    operations: batch * length * width,
  });
}

function copy(shape: readonly number[], name = `of ${shape.join(' x ')}`): OperationCase {
  const count = shape.reduce((a, b) => a * b, 1);
  return operationCase({
    operation: 'copy',
    name,
    operands: (make: Make) => ({ x: make.random(shape), y: make.output(shape) }),
    record: (ops, { x, y }) => void ops.copy(x, { output: y }),
    expected: ({ x }) => ({ y: { values: x } }),
    bytes: (element) => 2 * count * element,
    operations: 0,
  });
}

const notNumbers = [Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
/** Values halfway between two bfloat16 numbers, and next to that. */
const betweens = [0x3f808000, 0x3f807fff, 0x3f808001, 0x3f818000, 0x7f7f8000, 0x80008000].map(
  (bits) => new Float32Array(Uint32Array.of(bits).buffer)[0],
);

export const family: Family = {
  checked: [
    ...[7, 48, 64, 384, 401].map((width) =>
      embed({ width, vocabulary: 50, positions: 20, count: 4, scale: 0.5, starts: [0, 5, 16] }),
    ),
    ...[1, 2].map((count) =>
      embed({ width: 20, vocabulary: 30, positions: 6, count, starts: [0, 3, 1, 2, 0], rows: [3, -1, 0, 4, 5] }),
    ),
    ...[7, 64, 401].map((width) =>
      embed({ width, vocabulary: 50, positions: 20, count: 4, starts: [0, 5, 16], bytes: true }),
    ),
    gather([2, 4, 3], [3, 0, 1, 99]),
    ...[7, 64, 384, 401].map((width) => gather([3, 10, width], [0, 5, 12, -4, 9, 3])),
    scatter({ batch: 4, length: 6, width: 16, positions: 20, begin: [7, -1, 17, 0] }),
    ...(['float32', 'bfloat16'] as const).flatMap((to) =>
      [undefined, notNumbers, betweens].map((special) =>
        scatter({ batch: 4, length: 6, width: 33, positions: 20, begin: [7, -1, 17, 0], to, special }),
      ),
    ),
    // A row with NaN or infinity has the scale NaN.
    ...[undefined, notNumbers].flatMap((special) =>
      [1, 3, 15, 16, 17, 64, 100, 513].map((size, i) =>
        scatter({
          batch: 3,
          length: 5,
          width: 3 * size,
          positions: 12,
          begin: [9, -1, 2],
          to: { heads: 3 },
          special,
          size: 10 ** (i - 4),
        }),
      ),
    ),
    scatter({ batch: 2, length: 5, width: 64, positions: 12, begin: [9, 2], to: { heads: 2 }, size: 0 }),
    copy([5]),
    copy([3, 7, 65]),
    copy([1, 3000]),
  ],
  timed: (batch) =>
    whisperShapes.flatMap(({ model, width, vocabulary, heads }) => {
      const start = Array<number>(batch).fill(64);
      const named = `${model}, batch ${batch}`;
      const begin = Array.from({ length: batch }, (_, b) => b * windowPositions);
      const rows = { batch, length: windowPositions, width, positions: batch * windowPositions, begin };
      return [
        embed({ width, vocabulary, positions: textPositions, starts: start }, named),
        ...(batch > 8
          ? []
          : [
              scatter(rows, `${named}, a window's keys`),
              scatter({ ...rows, to: { heads } }, `${named}, a window's keys in 8 bits`),
            ]),
      ];
    }),
};
