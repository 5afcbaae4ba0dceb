/**
 * Attention with every algorithm: with and without a causal mask, caches, rows of a pool, ranges of positions, and
 * returned scores.
 */
import { type AttentionVariantName, attentionVariants, notSupportedReasons } from '../../lib/attention/variants.js';
import type { Tensor } from '../../lib/device/tensor.js';
import type { AttentionSizes } from '../device/reference.js';
import { wantedAttention } from './attention-reference.js';
import { type Make, type Operand, type OperationCase, operationCase } from './case.js';

export interface AttentionShape extends AttentionSizes {
  algorithm: AttentionVariantName;
  causal?: boolean;
  /** For each row of the state. Default: 0 if the case is causal or appends. */
  starts?: readonly number[];
  append?: boolean;
  scale?: number;
  /**
   * Query and new rows are columns of one tensor, as a fused product writes them. Key and value are columns of a tensor
   * with this many additional columns.
   */
  fused?: boolean;
  columns?: number;
  /** The pool rows of the entries, and the size of the pool. */
  rows?: readonly number[];
  pool?: number;
  /** The block table: for each row of the state, the cache row of each position. */
  source?: readonly number[];
  /** For each row of the state, its range in one pool of positions. */
  ranges?: readonly { begin: number; count: number }[];
  /** The limit of the ranges' lengths. */
  longest?: number;
  scores?: Scores;
  /** Keys and values are int8. */
  bytes?: boolean;
  /** Some rows are out of the cache's range: only checks that nothing else is changed. */
  outside?: boolean;
}

type ChoiceShape = Pick<AttentionShape, 'rows' | 'source' | 'ranges' | 'longest' | 'scores' | 'keys'>;

/** Scores are returned, in a tensor [sequences, positions, chosen heads, keys]. */
export interface Scores {
  sequences: number;
  positions: number;
  keys: number;
  /** The index of each head among the chosen ones; -1 for all others. */
  heads: readonly number[];
  position: readonly number[];
  row?: readonly number[];
}

/** The rows, positions and scores of a case, for its name. */
function choiceWords({ rows, source, ranges, longest, scores }: ChoiceShape): string[] {
  const words: string[] = [];
  if (rows) words.push('rows of a pool');
  if (source) words.push('by index');
  if (ranges) words.push('ranges of a pool');
  if (longest) words.push(`at most ${longest} keys each`);
  if (scores) words.push('gives out scores');
  return words;
}

/** The operands for these settings, for a cache of `pool` rows. */
function choiceOperands(make: Make, { rows, source, ranges, scores, keys }: ChoiceShape, pool: number) {
  const integers = (values: readonly number[] | undefined, of?: number[]) => values && make.integers(values, of);
  return {
    rows: integers(rows),
    source: integers(source, [pool, keys]),
    begin: integers(ranges?.map(({ begin }) => begin)),
    count: integers(ranges?.map(({ count }) => count)),
    scoreHeads: integers(scores?.heads),
    scorePosition: integers(scores?.position),
    scoreRow: integers(scores?.row),
    to: scores && make.zeros([scores.sequences, scores.positions, Math.max(...scores.heads) + 1, scores.keys]),
  };
}

/** The options of `Operations.attention` for these settings. */
const choiceOptions = (
  t: { [Name in keyof ReturnType<typeof choiceOperands>]?: Tensor },
  { longest }: ChoiceShape,
) => ({
  source: t.source,
  rows: t.rows,
  keys: t.begin && t.count && { begin: t.begin, count: t.count, longest },
  scores: t.to && { to: t.to, heads: t.scoreHeads!, position: t.scorePosition!, row: t.scoreRow },
});

const layoutOf = (algorithm: AttentionVariantName) => attentionVariants.find(({ name }) => name === algorithm)!.layout;

function described(shape: AttentionShape): string {
  const { algorithm, batch, queries, keys, heads, keyValueHeads, headSize } = shape;
  const words = [
    `${algorithm}, ${batch} x ${queries} queries, ${keys} keys, ${heads} heads on ${keyValueHeads} of ${headSize}`,
  ];
  if (shape.causal) words.push('causal');
  if (shape.append) words.push('appends');
  if (shape.starts) words.push(`from ${shape.starts.slice(0, 4).join(' ')}`);
  if (shape.scale) words.push(`scale ${shape.scale}`);
  if (shape.fused) words.push('columns of one product');
  if (shape.columns) words.push(`${shape.columns} columns beside the keys`);
  words.push(...choiceWords(shape));
  if (shape.bytes) words.push('8 bits');
  return words.join(', ');
}

/** Keys or values; NaN at positions that no query sees, as in unwritten rows of a cache. */
function cached(make: Make, shape: AttentionShape, sizes: readonly number[], swapped: boolean): Operand {
  const { queries, keys, causal, append, starts = [], rows, ranges, source } = shape;
  const given = make.random(sizes);
  if (!causal || ranges || shape.outside) return given;
  const [sequences, width] = [sizes[swapped ? 1 : 0], sizes[2]];
  const chosen = rows ?? Array.from({ length: sequences }, (_, row) => row);
  return make.floats(sizes, () => {
    const values = given.values.slice();
    for (let row = 0; row < sequences; ++row) {
      // With a block table, other sequences may read a row up to their own last position.
      const from = chosen.includes(row) ? (starts[row] ?? 0) + (append || source ? 0 : queries) : 0;
      for (let n = from; n < keys; ++n) {
        const at = (swapped ? n * sequences + row : row * keys + n) * width;
        values.fill(Number.NaN, at, at + width);
      }
    }
    return values;
  });
}

export function attentionCase(shape: AttentionShape, name = described(shape)): OperationCase {
  const { algorithm, batch, queries, keys, heads, keyValueHeads, headSize, causal, append, scores, bytes } = shape;
  const [width, shared] = [heads * headSize, keyValueHeads * headSize];
  const swapped = layoutOf(algorithm) === 'length-first';
  const pool = shape.pool ?? batch;
  const stored = shape.ranges ? 1 : pool;
  const sized = (sequences: number, length: number, columns: number) =>
    swapped ? [length, sequences, columns] : [sequences, length, columns];
  const started = shape.starts ?? (causal || append ? Array<number>(pool).fill(0) : undefined);
  const begins = shape.starts || append ? started : undefined;
  return operationCase({
    operation: 'attention',
    name,
    supports({ device, dtype }) {
      const given = {
        device,
        dtype,
        heads,
        keyValueHeads,
        headSize,
        queries,
        keys,
        causal,
        append,
        indexed: shape.source !== undefined,
        scores: scores !== undefined,
        bytes,
        pooled: shape.rows !== undefined || shape.ranges !== undefined || scores?.row !== undefined,
      };
      return notSupportedReasons(algorithm, given).length === 0;
    },
    operands(make: Make) {
      const kept = sized(stored, keys, shared + (shape.columns ?? 0));
      const cache = () => (bytes ? make.int8(kept) : cached(make, shape, kept, swapped));
      const scales = () => (bytes ? make.scales([stored, keys, keyValueHeads], 1 / 64) : undefined);
      return {
        query: shape.fused ? undefined : make.random(sized(batch, queries, width), { size: 1.5 }),
        all: shape.fused ? make.random(sized(batch, queries, width + 2 * shared)) : undefined,
        added: append && !shape.fused ? make.random(sized(batch, queries, 2 * shared)) : undefined,
        key: shape.fused && !append && !started ? undefined : cache(),
        value: shape.fused && !append && !started ? undefined : cache(),
        keyScales: scales(),
        valueScales: scales(),
        start: begins && make.integers(begins),
        ...choiceOperands(make, shape, pool),
        y: make.output(sized(batch, queries, width)),
      };
    },
    record(ops, t) {
      const query = t.all ? t.all.columns(0, width) : t.query!;
      const fresh = t.all ? t.all.columns(width, 2 * shared) : t.added;
      const part = (tensor: Tensor | undefined, begin: number) =>
        t.all ? t.all.columns(width + begin, shared) : tensor!.columns(begin, shared);
      const side = (cache: Tensor | undefined, begin: number) =>
        !cache ? part(undefined, begin) : shape.columns ? cache.columns(0, shared) : cache;
      ops.attention(query, side(t.key, 0), side(t.value, shared), {
        heads,
        keyValueHeads,
        algorithm,
        causal,
        scale: shape.scale,
        start: t.start,
        append: append && fresh ? { key: part(t.added, 0), value: part(t.added, shared) } : undefined,
        cacheScales: t.keyScales && t.valueScales && { key: t.keyScales, value: t.valueScales },
        ...choiceOptions(t, shape),
        output: t.y,
      });
    },
    expected: (values) => wantedAttention(shape, values, swapped),
    bytes: (element) => attentionBytes(shape, element),
    operations: 4 * headSize * heads * seenKeys(shape),
  });
}

/** The number of (query, key) pairs of one head. */
function seenKeys({ batch, queries, keys, causal, starts, ranges }: AttentionShape): number {
  if (ranges) return queries * ranges.reduce((sum, { count }) => sum + count, 0);
  if (!causal) return batch * queries * keys;
  return batch * queries * ((starts?.[0] ?? 0) + (queries + 1) / 2);
}

/** Bytes that must be read or written: keys, values, queries and results. A range that neighbours share counts once. */
function attentionBytes(shape: AttentionShape, element: number): number {
  const { batch, queries, keys, heads, keyValueHeads, headSize, causal, starts, ranges } = shape;
  const positions = ranges
    ? ranges.reduce((sum, { begin, count }, i) => sum + (ranges[i - 1]?.begin === begin ? 0 : count), 0)
    : batch * (causal ? (starts?.[0] ?? 0) + queries : keys);
  return 2 * element * headSize * (positions * keyValueHeads + batch * queries * heads);
}
