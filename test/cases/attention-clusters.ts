/**
 * Decode steps whose keys are divided over a GPU's blocks: a cluster per head if there are few, one block if there are
 * many, and one if few keys are visible. New rows are in the first, a middle or the last part.
 */
import { attentionCase } from './attention-case.js';
import { wholeNumbers } from './case.js';

const sizes = { algorithm: 'split-kv', queries: 1, headSize: 64 } as const;
const heads = (count: number) => ({ heads: count, keyValueHeads: count });
/** Heads that share a key/value head. */
const shared = { heads: 6, keyValueHeads: 2 };
const appending = { causal: true, append: true, fused: true };

const withBoth = [false, true].flatMap((bytes) => [
  attentionCase({ ...sizes, ...appending, ...heads(2), batch: 1, keys: 600, starts: [599], bytes }),
  attentionCase({ ...sizes, ...appending, ...heads(1), batch: 2, keys: 600, starts: [520, 64], headSize: 24, bytes }),
  attentionCase({ ...sizes, ...appending, ...heads(2), causal: false, batch: 1, keys: 600, starts: [100], bytes }),
  attentionCase({ ...sizes, ...appending, ...heads(3), batch: 2, keys: 450, starts: [449, 200], headSize: 128, bytes }),
  attentionCase({ ...sizes, ...appending, ...heads(2), batch: 5, keys: 300, starts: [299, 191, 192, 64, 0], bytes }),
  attentionCase({ ...sizes, ...appending, ...heads(7), batch: 4, keys: 300, starts: [299, 0, 192, 255], bytes }),
  attentionCase({ ...sizes, ...appending, ...heads(2), batch: 4, keys: 900, starts: [899, 500, 192, 64], bytes }),
  attentionCase({
    ...sizes,
    ...appending,
    ...heads(2),
    batch: 5,
    keys: 300,
    starts: [299, 299, 299, 230, 230],
    source: wholeNumbers(5 * 300, 6, 4).map((x, i) => (i < 3 * 300 ? x % 3 : 3 + (x % 2))),
    bytes,
  }),
  attentionCase({ ...sizes, ...appending, ...shared, batch: 2, keys: 600, starts: [599, 100], bytes }),
  attentionCase({ ...sizes, ...appending, ...shared, batch: 1, keys: 600, starts: [0], headSize: 128, bytes }),
  ...[undefined, 400].map((longest) =>
    attentionCase({
      ...sizes,
      ...heads(1),
      batch: 1,
      keys: 900,
      pool: 2,
      rows: [1],
      ranges: [
        { begin: 0, count: 900 },
        { begin: 300, count: 577 },
      ],
      longest,
      bytes,
    }),
  ),
]);

/** Scores of single heads, which each block of a cluster writes for its keys. */
const withScores = attentionCase({
  ...sizes,
  ...heads(2),
  batch: 1,
  keys: 700,
  scores: { sequences: 1, positions: 2, keys: 700, heads: [-1, 0], position: [1] },
});

/** So many rows of key/value heads that each has one block, which computes its keys in rounds. */
const inRounds = attentionCase({
  ...sizes,
  ...appending,
  queries: 3,
  heads: 4,
  keyValueHeads: 2,
  batch: 9,
  keys: 640,
  starts: [637, 300, 191, 190, 383, 0, 500, 192, 188],
});

export const dividedKeys = [...withBoth, withScores, inRounds];
