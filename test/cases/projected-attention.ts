/**
 * The attention of a step together with its norm and projection, as one operation. The reference is that of the
 * product, rounded to the storage type, followed by that of attention.
 */
import { layerNorm, product, stored } from '../device/reference.js';
import { type AttentionShape, choiceOperands, choiceOptions, choiceWords, seenKeys } from './attention-case.js';
import { wantedAttention } from './attention-reference.js';
import { type Family, type Make, type OperationCase, operationCase, within } from './case.js';
import { headSize, textPositions, whisperShapes, windowPositions } from './shapes.js';

type Shape = Omit<AttentionShape, 'algorithm' | 'queries' | 'fused' | 'bytes' | 'columns' | 'outside'> & {
  /** The width of x. */
  width: number;
  /** The name of a model's shape. */
  name?: string;
};

function described({ batch, width, keys, heads, keyValueHeads, headSize, ...options }: Shape): string {
  const words = [`${batch} rows of ${width}, ${keys} keys, ${heads} heads on ${keyValueHeads} of ${headSize}`];
  if (options.append) words.push('appends');
  return [...words, ...choiceWords({ keys, ...options })].join(', ');
}

/** With `append` the product computes query, key and value, otherwise only the query. */
function projectedAttention(shape: Shape): OperationCase {
  const { batch, width, keys, heads, keyValueHeads, headSize, append, name } = shape;
  const [own, shared] = [heads * headSize, keyValueHeads * headSize];
  const outputs = own + (append ? 2 * shared : 0);
  const pool = shape.pool ?? batch;
  const sequences = shape.ranges ? 1 : pool;
  const attended: AttentionShape = { ...shape, algorithm: 'split-kv', queries: 1, causal: append, fused: append };
  return operationCase({
    operation: 'projectedAttention',
    name: name ?? described(shape),
    operands(make: Make) {
      const float = (of: number[], size = 1, mean = 0) => make.random(of, { dtype: 'float32', size, mean });
      const weight = make.random([outputs, width], { size: 2 / Math.sqrt(width) });
      weight.constant = true;
      return {
        x: float([batch, 1, width], 3),
        weight,
        bias: float([outputs]),
        normWeight: float([width]),
        normBias: float([width]),
        key: make.random([sequences, keys, shared]),
        value: make.random([sequences, keys, shared]),
        start: append ? make.integers(shape.starts ?? Array<number>(pool).fill(0)) : undefined,
        ...choiceOperands(make, shape, pool),
        y: make.output([batch, 1, own]),
      };
    },
    record(ops, t) {
      const projection = { weight: t.weight, bias: t.bias, norm: { weight: t.normWeight, bias: t.normBias } };
      ops.projectedAttention(t.x, projection, t.key, t.value, {
        heads,
        keyValueHeads,
        algorithm: 'split-kv',
        append,
        causal: append,
        start: t.start,
        ...choiceOptions(t),
        output: t.y,
      });
    },
    expected(values, dtype) {
      const normed = layerNorm(values.x, width, values.normWeight, values.normBias);
      const sums = product(normed, values.weight, width).map((sum, i) => sum + values.bias[i % outputs]);
      const made = stored(Float32Array.from(sums), dtype);
      const wanted = wantedAttention(attended, { ...values, [append ? 'all' : 'query']: made }, false);
      // Intermediate roundings: of the norm of x, and of its product.
      for (const [name, one] of Object.entries(wanted)) {
        wanted[name] = { ...one, tolerance: within(2e-5, 2e-2), zeros: name === 'y' || name === 'to' };
      }
      return wanted;
    },
    bytes: (element) => outputs * width * element + 2 * element * shared * seenKeys(attended) + 4 * batch * width,
    operations: 2 * batch * outputs * width + 4 * own * seenKeys(attended),
  });
}

type Sizes = Pick<Shape, 'heads' | 'keyValueHeads' | 'headSize' | 'width'>;

/** Boundaries of the layout of rows and heads over blocks: sizes, and batches with which they are tested. */
const sizes: [Sizes, number[]][] = [
  [{ heads: 1, keyValueHeads: 1, headSize: 64, width: 64 }, [1, 5, 9]],
  [{ heads: 2, keyValueHeads: 2, headSize: 64, width: 384 }, [1, 2, 3, 8]],
  [{ heads: 4, keyValueHeads: 1, headSize: 32, width: 128 }, [2]],
  [{ heads: 6, keyValueHeads: 6, headSize: 16, width: 96 }, [3, 8]],
  [{ heads: 3, keyValueHeads: 1, headSize: 128, width: 544 }, [5, 7]],
  [{ heads: 4, keyValueHeads: 2, headSize: 80, width: 1184 }, [1, 8]],
  [{ heads: 2, keyValueHeads: 1, headSize: 112, width: 32 }, [2]],
  // A width that is not a multiple of 32, which the fused kernel does not support.
  [{ heads: 2, keyValueHeads: 2, headSize: 32, width: 72 }, [2]],
];

const upTo = <T>(count: number, make: (index: number) => T): T[] => Array.from({ length: count }, (_, i) => make(i));

/** Appends to rows of a pool, some of them idle, at starts within and at the ends of the cache. */
const appending = sizes.flatMap(([size, batches]) =>
  batches.map((batch) => {
    const pool = batch + 2;
    const starts = upTo(pool, (row) => [64, 0, 69, 7, 68, 17, 60, 31, 12, 2, 1][row]);
    const rows = upTo(batch, (b) => (b === 3 ? -1 : pool - 1 - b));
    return projectedAttention({ ...size, batch, keys: 70, append: true, pool, starts, rows });
  }),
);

/** Ranges in a pool of positions, some shared, empty or truncated, with the scores of every second head. */
const ranged = sizes.flatMap(([size, batches]) =>
  batches.map((batch) => {
    const pool = batch + 1;
    const ranges = upTo(pool, (row) => ({ begin: [10, 10, 40, -1, 120][row % 5], count: [90, 90, 1, 5, 60][row % 5] }));
    return projectedAttention({
      ...size,
      batch,
      keys: 150,
      pool,
      ranges,
      rows: upTo(batch, (b) => (b === 5 ? pool : b + 1)),
      scores: {
        sequences: pool,
        positions: 2,
        keys: 80,
        heads: upTo(size.heads, (head) => (head % 2 ? -1 : head / 2)),
        position: upTo(pool, (row) => [1, 0, 2, 1][row % 4]),
        row: upTo(pool, (row) => row),
      },
    });
  }),
);

const others: Shape[] = [
  { batch: 1, width: 64, keys: 33, heads: 2, keyValueHeads: 1, headSize: 32 },
  { batch: 3, width: 64, keys: 300, heads: 2, keyValueHeads: 2, headSize: 64 },
  {
    batch: 4,
    width: 128,
    keys: 40,
    heads: 2,
    keyValueHeads: 2,
    headSize: 64,
    append: true,
    starts: [30, 30, 30, 30],
    source: upTo(4 * 40, (i) => (i * 7) % 4),
  },
];

export const family: Family = {
  checked: [...appending, ...ranged, ...others.map(projectedAttention)],
  timed: (batch) =>
    whisperShapes.flatMap(({ model, width, heads }) => {
      const sizes = { batch, width, heads, keyValueHeads: heads, headSize };
      const starts = Array<number>(batch).fill(64);
      const named = (name: string, shape: Shape) =>
        projectedAttention({ ...shape, name: `${model}, batch ${batch}, ${name}` });
      const ranges = upTo(batch, (b) => ({ begin: b * windowPositions, count: windowPositions }));
      return [
        named('query key value and self-attention', { ...sizes, keys: textPositions, append: true, starts }),
        named('query and cross-attention', { ...sizes, keys: batch * windowPositions, ranges }),
      ];
    }),
};
