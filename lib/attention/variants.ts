/**
 * The attention algorithms: descriptions and costs. The cases that each supports are declared in
 * native/operations/attention/algorithms.cc, which recording and the functions below both use.
 */
import { described, requireObject } from '../checks.js';
import { native } from '../device/native.js';
import type { AttentionVariantName } from '../device/operation-options.js';
import type { ElementType } from '../element-types.js';

export type { AttentionVariantName };

export interface AttentionVariant {
  name: AttentionVariantName;
  /** One paragraph. */
  description: string;
  /** The paper or project that it is based on. */
  source: string;
  /** The order of the first two dimensions of all tensors. */
  layout: 'batch-first' | 'length-first';
  /** Shapes in terms of `attentionSymbols`. */
  shapes: { query: string; keyAndValue: string; output: string };
  /**
   * Formulas in terms of `attentionSymbols`. A multiply-add counts as two operations; bytes are those read from and
   * written to memory.
   */
  cost: { operations: string; bytes: string };
}

/** The letters in shapes and costs. */
export const attentionSymbols = {
  B: 'sequences in the batch',
  M: 'query positions',
  N: 'key positions',
  H: 'query heads',
  G: 'key/value heads',
  S: 'head size',
  P: 'parts into which the keys are split',
  e: 'bytes of an element',
} as const;

const batchFirst = { query: '[B, M, H S]', keyAndValue: '[B, N, G S]', output: '[B, M, H S]' };
const products = '4 B M N H S';
const tensors = '2 e B (M H + N G) S'; // query, output, keys and values once each
const scores = 'B H M N (8 + 2 e)'; // float32 scores and stored weights, each written once and read once

/** All algorithms of `Operations.attention`. */
export const attentionVariants: readonly AttentionVariant[] = [
  {
    name: 'multi-head',
    description:
      'The baseline: a matrix product computes the scores of all heads, a softmax follows, and a second product ' +
      'multiplies by the values. The complete float32 score matrix is stored in memory between these steps. Masked ' +
      'causal scores are computed and discarded. Any number of key/value heads; the score matrix has the same size ' +
      'for all.',
    source:
      "Whisper's attention in Hugging Face transformers; MultiHead of BigCode's analysis of multi-query attention",
    layout: 'batch-first',
    shapes: batchFirst,
    cost: { operations: products, bytes: `${tensors} + 16 B H M N` },
  },
  {
    name: 'multi-query',
    description:
      "One shared key/value head, and tensors in Megatron-LM's order [length, batch]. One batched product computes " +
      'the scores and one multiplies by the values; both read strided views without a copy, at some cost in speed. ' +
      'The score matrix is stored in memory between them. If a cache may have unwritten rows, the CPU copies the ' +
      'written values first (2 e B N S more bytes), since zero times NaN is NaN in the product with the values.',
    source: "MultiQuery of BigCode's analysis of multi-query attention; Megatron-LM; Shazeer, arXiv 1911.02150",
    layout: 'length-first',
    shapes: { query: '[M, B, H S]', keyAndValue: '[N, B, S]', output: '[M, B, H S]' },
    cost: { operations: products, bytes: `${tensors} + ${scores}` },
  },
  {
    name: 'multi-query-1',
    description:
      'One shared key/value head, and tensors in the usual order [batch, length]. A reshape of the queries to ' +
      '[batch, length x heads, head size] makes both products plain batched products; it copies the queries if they' +
      ' are columns of a fused product. The score matrix is stored in memory. A cache with unwritten rows is ' +
      'treated as in multi-query.',
    source: "MultiQuery1 of BigCode's analysis of multi-query attention, the form ported to transformers",
    layout: 'batch-first',
    shapes: { query: '[B, M, H S]', keyAndValue: '[B, N, S]', output: '[B, M, H S]' },
    cost: { operations: products, bytes: `${tensors} + ${scores} + 2 e B M H S` },
  },
  {
    name: 'memory-efficient',
    description:
      'A streaming softmax over tiles of keys: each tile of queries keeps a running maximum, sum and weighted sum ' +
      'of values, so the score matrix is never stored. Tiles of keys that are masked for all queries are skipped. ' +
      'Any number of key/value heads. For encoders and prompts.',
    source: 'xFormers; Rabe and Staats, arXiv 2112.05682; FlashAttention, arXiv 2205.14135',
    layout: 'batch-first',
    shapes: batchFirst,
    cost: { operations: products, bytes: tensors },
  },
  {
    name: 'split-kv',
    description:
      'The keys and values of each sequence are split over threads or blocks. Each reads its part once for all ' +
      'query rows, and the partial results (maximum, sum, weighted sum of values) are combined at the end. Limited ' +
      'by the bandwidth of reading the cache. Any number of query rows, but intended for the few of a decode step.',
    source: 'Flash-Decoding (Dao, Haziza, Massa, Sizov 2023)',
    layout: 'batch-first',
    shapes: batchFirst,
    cost: { operations: products, bytes: `${tensors} + 8 P B M H (S + 2)` },
  },
];

/** A case of attention: everything that determines whether an algorithm supports it. */
export interface AttentionCase {
  /** 'cpu', 'cuda', 'cuda:1' or 'cuda-emulated'. */
  device: string;
  dtype: ElementType;
  heads: number;
  keyValueHeads: number;
  headSize: number;
  queries: number;
  /** Positions of key and value, or the capacity of a cache. If absent, limits of it are not checked. */
  keys?: number;
  causal?: boolean;
  /** Whether new rows are appended to a cache. */
  append?: boolean;
  /** Whether the option `source`, a block table, is used. */
  indexed?: boolean;
  /** Whether the option `scores` is used. */
  scores?: boolean;
  /** Whether the option `rows` or `keys` is used: rows of a pool, or ranges of a pool of positions. */
  pooled?: boolean;
  /** Whether keys and values have 8 bits. */
  bytes?: boolean;
}

/** The kind of device for which support is declared. */
function kindOf(device: unknown): 'cpu' | 'cuda' | undefined {
  if (device === 'cpu') return 'cpu';
  return typeof device === 'string' && /^cuda(:\d+|-emulated)?$/.test(device) ? 'cuda' : undefined;
}

/**
 * Returns the reasons why an algorithm does not support a case, as sentences. It supports the case if there are none.
 */
export function notSupportedReasons(algorithm: AttentionVariantName, given: AttentionCase): string[] {
  requireObject('the case', given);
  const { device, heads, keyValueHeads, headSize, queries, keys } = given;
  const reasons = Object.entries({ heads, keyValueHeads, headSize, queries, keys })
    .filter(([, count]) => count !== undefined && !(Number.isSafeInteger(count) && count > 0))
    .map(([name, count]) => `${name} is ${described(count)}, which is not a positive whole number.`);
  if (reasons.length > 0) return reasons;
  const kind = kindOf(device);
  if (!kind)
    return [`There is no device ${described(device)}, only 'cpu', 'cuda', 'cuda:<number>' and 'cuda-emulated'.`];
  return native().attentionReasons(kind, algorithm, given);
}

/** Returns the algorithm that 'auto' uses if the device supports it, and the reason for this preference. */
export function chooseAlgorithm(given: { queries: number }): { algorithm: AttentionVariantName; reason: string } {
  requireObject('the case', given);
  const { queries } = given;
  const algorithm = native().preferredAttention(queries) as AttentionVariantName;
  const reason =
    algorithm === 'split-kv'
      ? 'With one query row for each sequence, reading keys and values dominates; split-kv reads them once, with all threads.'
      : `${queries} query rows of each sequence share a tile of keys, and memory-efficient does not store their scores.`;
  return { algorithm, reason };
}
