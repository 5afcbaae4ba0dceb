/**
 * Decode steps over a cache that the step does not write, in the shapes that attention_ring.cu computes: heads
 * of 64; with 16-bit types several heads for each multiprocessor, of which the emulated GPU has 8, or ranges of a pool.
 */
import { type AttentionShape, attentionCase } from './attention-case.js';
import { wholeNumbers } from './case.js';

const sizes = { algorithm: 'split-kv', queries: 1, headSize: 64 } as const;
const heads = (count: number) => ({ heads: count, keyValueHeads: count });

/** Clusters of several sizes, with few and many tiles of 16 keys for each warp; the last tile is full, or has one. */
const divided = [
  { batch: 3, ...heads(2), keys: 1537 },
  { batch: 8, ...heads(1), keys: 1040 },
  { batch: 5, ...heads(2), keys: 777 },
  { batch: 8, ...heads(2), keys: 801 },
  { batch: 4, ...heads(5), keys: 785 },
].flatMap((shape) => [shape, { ...shape, bytes: true }]);

/** Few heads and keys, which only int8 caches have here. */
const small = [
  { batch: 1, ...heads(1), keys: 1 },
  { batch: 2, ...heads(2), keys: 9 },
  { batch: 2, ...heads(3), keys: 16 },
  { batch: 1, ...heads(2), keys: 192 },
  { batch: 1, ...heads(2), keys: 193 },
  { batch: 1, ...heads(3), keys: 4100 },
  // Visible keys differ: one, less than a tile, one block's, all.
  { batch: 4, ...heads(2), keys: 300, causal: true, starts: [0, 12, 150, 299] },
].map((shape) => ({ ...shape, bytes: true }));

/** Rows of a pool, with idle entries and rows out of range; some scores are returned. */
const ofRows = [false, true].map((bytes) => ({
  batch: 6,
  ...heads(2),
  keys: 803,
  pool: 5,
  rows: [3, -1, 0, 4, 5, 1],
  bytes,
  scores: {
    sequences: 5,
    positions: 2,
    keys: 500,
    heads: [-1, 0],
    position: [1, 0, 0, 1, 2],
    row: [4, 3, 2, 1, 0],
  },
}));

/** Beams of windows: five, two, more than one cluster serves, one, and idle ones between them. Windows of an odd number
 * of keys, of less than a tile, and one that is longer than the rest of the pool. */
function beams(shape: { heads: number; keyValueHeads: number; bytes: boolean; keys: number }): Partial<AttentionShape> {
  const ranges = [
    ...Array(5).fill({ begin: 0, count: 333 }),
    ...Array(2).fill({ begin: 333, count: 11 }),
    { begin: 20, count: 0 },
    ...Array(19).fill({ begin: 344, count: 251 }),
    { begin: shape.keys - 200, count: 200 },
    ...Array(3).fill({ begin: shape.keys - 17, count: 100 }),
    { begin: shape.keys, count: 5 },
    ...Array(5).fill({ begin: 100, count: shape.keys - 100 }),
  ];
  return { batch: ranges.length, ranges, ...shape };
}

/** Rows of a pool whose entries are in another order, with idle ones in the middle of a window's beams. */
const shuffled = [false, true].map((bytes) => {
  const pool = 12;
  return {
    ...heads(1),
    batch: 14,
    keys: 640,
    pool,
    rows: [3, 4, -1, 5, 11, 10, 9, 8, pool, 0, 1, 2, -1, 7],
    ranges: Array.from({ length: pool }, (_, row) =>
      row < 6 ? { begin: 301, count: 339 } : { begin: 8, count: row < 8 ? 15 : 290 },
    ),
    bytes,
  };
});

/** Heads that share a key/value head, with int8 caches, and so many that attention_decode.cu is not used. */
const shared = [
  { batch: 4, heads: 20, keyValueHeads: 2, keys: 2060 },
  {
    batch: 12,
    heads: 10,
    keyValueHeads: 1,
    keys: 1500,
    ranges: wholeNumbers(12, 700, 5).map((begin, i) => ({ begin, count: i % 4 ? 10 + 60 * i : 800 })),
  },
].map((shape) => ({ ...shape, bytes: true }));

export const ringed = [
  ...divided,
  ...small,
  ...ofRows,
  ...[false, true].map((bytes) => beams({ ...heads(2), bytes, keys: 900 })),
  ...shuffled,
  ...shared,
].map((shape) => attentionCase({ ...sizes, ...(shape as Omit<AttentionShape, keyof typeof sizes>) }));
