/**
 * Cases of attention: boundaries between kernels, caches of beam searches, random combinations, and Whisper's shapes.
 */
import { attentionVariants } from '../../lib/attention/variants.js';
import { type AttentionShape, attentionCase } from './attention-case.js';
import { dividedKeys } from './attention-clusters.js';
import { ringed } from './attention-ring.js';
import { Choices, distinct, type Family, type OperationCase, wholeNumbers } from './case.js';
import { headSize, textPositions, whisperShapes, windowPositions } from './shapes.js';

type Sizes = Omit<AttentionShape, 'algorithm'>;

const onCpu = (one: OperationCase): OperationCase => ({
  ...one,
  supports: (place) => place.device === 'cpu' && one.supports!(place),
});

/** One case for each algorithm. Those that the device does not support are skipped when they run. */
const withAll = (sizes: readonly Sizes[]) =>
  attentionVariants.flatMap(({ name }) => sizes.map((size) => attentionCase({ algorithm: name, ...size })));

const plain: Sizes[] = [
  { batch: 1, queries: 1, keys: 150, heads: 6, keyValueHeads: 6, headSize: 64 },
  { batch: 2, queries: 1, keys: 33, heads: 4, keyValueHeads: 1, headSize: 32 },
  { batch: 2, queries: 1, keys: 33, heads: 4, keyValueHeads: 4, headSize: 32 },
  { batch: 2, queries: 37, keys: 53, heads: 4, keyValueHeads: 2, headSize: 64 },
  { batch: 2, queries: 37, keys: 53, heads: 4, keyValueHeads: 1, headSize: 64 },
  { batch: 3, queries: 3, keys: 20, heads: 6, keyValueHeads: 1, headSize: 48 },
  { batch: 1, queries: 70, keys: 70, heads: 3, keyValueHeads: 3, headSize: 80 },
  { batch: 1, queries: 5, keys: 9, heads: 5, keyValueHeads: 1, headSize: 24 },
  { batch: 1, queries: 3, keys: 70, heads: 2, keyValueHeads: 1, headSize: 128 },
  { batch: 1, queries: 1, keys: 140, heads: 2, keyValueHeads: 2, headSize: 112 },
  { batch: 1, queries: 140, keys: 65, heads: 1, keyValueHeads: 1, headSize: 64 },
  { batch: 2, queries: 150, keys: 450, heads: 2, keyValueHeads: 2, headSize: 64 },
  { batch: 1, queries: 64, keys: 64, heads: 2, keyValueHeads: 2, headSize: 64 },
  { batch: 1, queries: 66, keys: 193, heads: 2, keyValueHeads: 1, headSize: 64 },
  // Keys that are split over blocks whose results are combined: few splits, many, and the maximum.
  { batch: 1, queries: 1, keys: 700, heads: 3, keyValueHeads: 3, headSize: 64 },
  { batch: 1, queries: 1, keys: 300, heads: 2, keyValueHeads: 2, headSize: 128 },
  { batch: 2, queries: 1, keys: 450, heads: 2, keyValueHeads: 2, headSize: 48 },
  { batch: 1, queries: 1, keys: 2600, heads: 1, keyValueHeads: 1, headSize: 16 },
  { batch: 1, queries: 1, keys: 700, heads: 20, keyValueHeads: 1, headSize: 64 },
  { batch: 2, queries: 3, keys: 450, heads: 6, keyValueHeads: 1, headSize: 48 },
  { batch: 1, queries: 4, keys: 450, heads: 20, keyValueHeads: 1, headSize: 64 },
  { batch: 1, queries: 2, keys: 3100, heads: 10, keyValueHeads: 1, headSize: 16 },
  { batch: 1, queries: 1, keys: 300, heads: 4, keyValueHeads: 1, headSize: 128 },
  { batch: 1, queries: 1, keys: 2600, heads: 3, keyValueHeads: 1, headSize: 16 },
];

/** Causal self-attention; query, key and value are columns of one product. */
const selves: Sizes[] = [
  ...[1, 4, 9].flatMap((queries) =>
    [2, 1].map((keyValueHeads) => ({ queries, heads: 6, keyValueHeads, headSize: 16, causal: true })),
  ),
  { queries: 70, heads: 2, keyValueHeads: 2, headSize: 64, causal: true },
  { queries: 130, heads: 2, keyValueHeads: 2, headSize: 64, causal: false },
].map((size) => ({ ...size, batch: 2, keys: size.queries, scale: 0.3, fused: true }));

/** Scores that are negated, and scores that are all zero, with masked keys and without. */
const signs: Sizes[] = [-0.3, -3, 0].flatMap((scale) =>
  [
    { queries: 1, keys: 150, causal: false },
    { queries: 5, keys: 90, causal: true },
    { queries: 70, keys: 70, causal: true },
  ].map((size) => ({ ...size, batch: 2, heads: 4, keyValueHeads: 1, headSize: 32, scale })),
);

const caches: Sizes[] = [1, 4].flatMap((queries) =>
  [2, 1].flatMap((keyValueHeads) =>
    [
      { causal: true, append: true },
      { causal: true, append: false },
      { causal: false, append: true },
    ].map((use) => ({
      ...use,
      batch: 3,
      queries,
      keys: 40,
      heads: 4,
      keyValueHeads,
      headSize: 32,
      starts: [0, 7, 40 - queries],
      fused: true,
    })),
  ),
);

/** Starts out of range: the first sequence's rows are written at the beginning, the others' are not written. */
const outside: Sizes[] = [1, 3].map((queries) => ({
  batch: 3,
  queries,
  keys: 8,
  heads: 2,
  keyValueHeads: 1,
  headSize: 16,
  causal: true,
  append: true,
  starts: [-5, 8, 2 ** 30],
  fused: true,
  outside: true,
}));

/** Each with floating-point caches and with int8 caches. */
const withBytes = <T extends object>(sizes: readonly T[]): (T & { bytes?: boolean })[] =>
  sizes.flatMap((size) => [size, { ...size, bytes: true }]);

const [pairs, single] = [
  { heads: 2, keyValueHeads: 2, headSize: 64 },
  { heads: 4, keyValueHeads: 1, headSize: 32 },
];

/** A cache that is read through a block table: three sequences of one window, two of another. */
const byIndex = withBytes([{ ...pairs, heads: 4, keyValueHeads: 4 }, single]).map((size) =>
  attentionCase({
    algorithm: 'split-kv',
    batch: 5,
    queries: 1,
    keys: 150,
    ...size,
    causal: true,
    append: true,
    fused: true,
    starts: [149, 149, 149, 3, 3],
    source: wholeNumbers(5 * 150, 6, 4).map((x, i) => (i < 3 * 150 ? x % 3 : 3 + (x % 2))),
  }),
);

const chosenHeads = (['multi-head', 'memory-efficient', 'split-kv'] as const).flatMap((algorithm) =>
  [
    [1, 32],
    [5, 32],
    [70, 32],
    [5, 112],
    [70, 112],
  ].map(([queries, headSize]) =>
    attentionCase({
      algorithm,
      batch: 2,
      queries,
      keys: 130,
      heads: 4,
      keyValueHeads: 2,
      headSize,
      scores: {
        sequences: 2 * queries,
        positions: 3,
        keys: 130,
        heads: [-1, 1, -1, 0],
        position: Array.from({ length: 2 * queries }, (_, row) => (row % 5) - 1), // some out of range
      },
    }),
  ),
);

/** Entries that append to the caches of their rows, with idle entries between them, and rows out of range. */
const ofPool = [
  ...withBytes([
    { algorithm: 'split-kv', queries: 1, indexed: true },
    { algorithm: 'split-kv', queries: 1, indexed: false },
    { algorithm: 'split-kv', queries: 3, indexed: false },
  ]),
  { algorithm: 'memory-efficient', queries: 5, indexed: false },
].flatMap(({ indexed, ...use }) =>
  [pairs, single].map((size) => {
    const [pool, keys, queries] = [9, 330, use.queries];
    const active = [
      [7, 2, 4, 0, 8],
      [3, 8, 1, 6, 5],
      [6, 0, 2, 7, 3],
    ][queries % 3];
    const rows = [active[0], active[1], -1, ...active.slice(2), -1, pool, -7];
    // Entries that share rows have the same start, as the beams of a window do.
    const starts = wholeNumbers(pool, keys - queries + 1, 7).map((start) => (indexed ? 320 : start));
    if (!indexed) [starts[active[0]], starts[active[1]]] = [0, keys - queries];
    return attentionCase({
      ...(use as { algorithm: 'split-kv'; queries: number }),
      ...size,
      batch: rows.length,
      keys,
      pool,
      rows,
      starts,
      causal: true,
      append: true,
      fused: true,
      source: indexed ? wholeNumbers(pool * keys, active.length, 4).map((i) => active[i]) : undefined,
    });
  }),
);

/**
 * Three beams, two, one entry that sees a single position, one that sees all, one that ends early, and some that see
 * none.
 */
const ofRanges = [
  ...withBytes([
    { algorithm: 'split-kv', queries: 1 },
    { algorithm: 'split-kv', queries: 2 },
  ]),
  { algorithm: 'memory-efficient', queries: 1 },
  { algorithm: 'memory-efficient', queries: 50 },
].flatMap((use) =>
  [pairs, single].map((size) => {
    const [pool, positions] = [12, 400];
    const rows = [4, 5, 6, -1, 9, 10, 0, 1, 2, 3, 7, 8];
    const ranges = Array.from({ length: pool }, () => ({ begin: 0, count: 0 }));
    for (const row of [4, 5, 6]) ranges[row] = { begin: 33, count: 330 };
    for (const row of [9, 10]) ranges[row] = { begin: 90, count: 77 };
    ranges[0] = { begin: 399, count: 1 };
    ranges[1] = { begin: 0, count: positions };
    ranges[2] = { begin: 390, count: 60 };
    ranges[3] = { begin: -1, count: 50 };
    ranges[7] = { begin: 20, count: 0 };
    ranges[8] = { begin: positions + 5, count: 9 };
    return attentionCase({
      ...(use as { algorithm: 'split-kv'; queries: number }),
      ...size,
      batch: rows.length,
      keys: positions,
      pool,
      rows,
      ranges,
      scores:
        use.queries > 1
          ? undefined
          : {
              sequences: 5,
              positions: 3,
              keys: 70,
              heads: size.heads === 2 ? [1, 0] : [1, -1, -1, 0],
              position: [0, 1, 0, 0, 2, 1, 0, 0, 0, -1, 0, 0],
              row: [-1, 3, 9, -1, 0, 1, 2, -1, -1, 4, -1, -1], // row 2's is out of range
            },
    });
  }),
);

/** More neighbours with the same range than one group holds, at every offset; then single entries. */
const neighbours = withBytes([pairs, single]).flatMap((size) =>
  [90, 320].map((keys) =>
    attentionCase({
      algorithm: 'split-kv',
      batch: 70,
      queries: 1,
      keys,
      ...size,
      ranges: Array.from({ length: 70 }, (_, b) =>
        b < 5 || b > 60 ? { begin: b % 7, count: 40 + b } : { begin: 11, count: keys - 20 },
      ),
    }),
  ),
);

/** A long prompt, whose last rows see more keys than one block computes, while its first rows do not. */
const prompts = [2, 1].map((keyValueHeads) =>
  attentionCase({
    algorithm: 'split-kv',
    batch: 2,
    queries: 45,
    keys: 300,
    heads: 2,
    keyValueHeads,
    headSize: 64,
    causal: true,
    append: true,
    fused: true,
    starts: [155, 255],
  }),
);

/** Random sizes, strides and starts, for the CPU kernels. */
const combined = (['multi-head', 'memory-efficient', 'split-kv'] as const).flatMap((algorithm) => [
  ...Array.from({ length: 60 }, (_, i) => {
    const from = new Choices(100 * algorithm.length + i);
    const few = from.chance() ? 1 : 1 + from.below(6);
    const queries = algorithm === 'split-kv' ? few : from.of([1, 1, 2, 5, 16, 17, 48, 49, 100]);
    const heads = from.of(queries > 17 ? [1, 2, 3, 6] : [1, 2, 3, 6, 8, 12, 20]);
    const keys = queries + from.below(from.of([20, 200]));
    const batch = 1 + from.below(3);
    const causal = from.chance();
    return onCpu(
      attentionCase({
        algorithm,
        batch,
        queries,
        keys,
        heads,
        keyValueHeads: from.of([1, heads % 2 === 0 ? 2 : heads, heads]),
        headSize: from.of([8, 16, 24, 33, 40, 64, 64, 64, 80, 128, 256]),
        causal,
        append: causal && from.chance(),
        starts: causal ? Array.from({ length: batch }, () => from.below(keys - queries + 1)) : undefined,
        columns: from.of([0, 8]),
      }),
    );
  }),
  ...[
    { queries: 1, heads: 6, keyValueHeads: 6 },
    { queries: 100, heads: 2, keyValueHeads: 2 },
  ].map((size) => onCpu(attentionCase({ algorithm, batch: 1, keys: 1500, headSize: 64, ...size }))),
]);

/** The softmax between two products: row lengths around multiples of the vector widths. */
const softmax = Array.from({ length: 70 }, (_, i) => i + 1).flatMap((keys) =>
  [false, true].map((causal) => {
    const from = new Choices(2 * keys + Number(causal));
    const [batch, queries] = [1 + from.below(3), 1 + from.below(Math.min(keys, 5))];
    return onCpu(
      attentionCase({
        algorithm: keys % 2 ? 'multi-query' : 'multi-query-1',
        batch,
        queries,
        keys,
        heads: 1 + from.below(6),
        keyValueHeads: 1,
        headSize: 8,
        causal,
        starts: causal ? Array.from({ length: batch }, () => from.below(keys - queries + 1)) : undefined,
        scale: keys % 9 === 0 ? -3 : keys % 2 ? 1.25 : 10,
      }),
    );
  }),
);

/** int8 caches; appended rows are quantized. */
const bytes = Array.from({ length: 60 }, (_, i) => {
  const from = new Choices(7000 + i);
  const [batch, keyValueHeads] = [1 + from.below(3), 1 + from.below(3)];
  const queries = from.chance() ? 1 : 1 + from.below(6);
  const keys = queries + from.below(200);
  const append = from.chance();
  return attentionCase({
    algorithm: 'split-kv',
    batch,
    queries,
    keys,
    heads: keyValueHeads * (1 + from.below(3)),
    keyValueHeads,
    headSize: from.of([8, 16, 24, 33, 48, 64, 64, 80, 112, 128]),
    causal: append,
    append,
    starts: append ? Array.from({ length: batch }, () => from.below(keys - queries + 1)) : undefined,
    bytes: true,
  });
});

function timed(batch: number): OperationCase[] {
  return whisperShapes.flatMap(({ model, heads }) => {
    const named = (name: string, shape: Partial<AttentionShape> & { keys: number; queries?: number }) =>
      attentionCase(
        { algorithm: 'split-kv', batch, queries: 1, heads, keyValueHeads: heads, headSize, ...shape },
        `${model}, batch ${batch}, ${name}`,
      );
    const sameStart = (position: number) => Array<number>(batch).fill(position);
    const self = (position: number, keyValueHeads: number) =>
      named(`self-attention at ${position} positions, ${keyValueHeads} key/value heads`, {
        keys: textPositions,
        keyValueHeads,
        causal: true,
        append: true,
        fused: true,
        starts: sameStart(position),
      });
    const cross = (queries: number, keyValueHeads: number) =>
      named(`cross-attention of ${queries} positions, ${keyValueHeads} key/value heads`, {
        queries,
        keys: windowPositions,
        keyValueHeads,
      });
    const inBytes = (name: string, shape: Partial<AttentionShape> & { keys: number }) =>
      named(`${name} in 8 bits`, { ...shape, bytes: true });
    const windows = (name: string, counts: readonly number[], beams: number) => {
      const all = Array.from({ length: batch }, (_, window) => counts[window % counts.length]);
      const begins = all.map((_, window) => all.slice(0, window).reduce((a, b) => a + b, 0));
      return named(`cross-attention of ${beams} beams, windows of ${name}`, {
        batch: batch * beams,
        keys: all.reduce((a, b) => a + b, 0),
        ranges: all.flatMap((count, window) => Array(beams).fill({ begin: begins[window], count })),
      });
    };
    const encoder = (algorithm: 'memory-efficient' | 'multi-head', keyValueHeads: number) =>
      named(`encoder, ${algorithm}, ${keyValueHeads} key/value heads`, {
        algorithm,
        queries: windowPositions,
        keys: windowPositions,
        keyValueHeads,
      });
    return [
      ...[16, 64, 440].flatMap((position) => [self(position, heads), self(position, 1)]),
      cross(1, heads),
      cross(1, 1),
      cross(4, heads),
      inBytes('self-attention at 64 positions', {
        keys: textPositions,
        causal: true,
        append: true,
        fused: true,
        starts: sameStart(64),
      }),
      inBytes('cross-attention', { keys: windowPositions }),
      inBytes('cross-attention, 1 key/value head', { keys: windowPositions, keyValueHeads: 1 }),
      windows('1500', [windowPositions], 1),
      windows('1500', [windowPositions], 5),
      windows('1500 to 256', [windowPositions, 256, 768, 512], 1),
      ...(batch <= 8 ? [encoder('memory-efficient', heads), encoder('memory-efficient', 1)] : []),
      ...(batch === 1 ? [encoder('multi-head', heads)] : []),
    ];
  });
}

export const family: Family = {
  checked: [
    ...withAll([...plain, ...selves, ...signs, ...caches, ...outside]),
    ...byIndex,
    ...chosenHeads,
    ...ofPool,
    ...ofRanges,
    ...neighbours,
    ...prompts,
    ...dividedKeys,
    ...ringed,
    ...distinct([...combined, ...softmax, ...bytes]),
  ],
  timed,
};
