/**
 * The attention algorithms: what each is and what it costs. Which cases each takes is declared once, in
 * native/operations/attention/algorithms.cc: checks of what is recorded and the answers here ask there.
 */
import { native } from '../device/native.js';
import type { AttentionVariantName } from '../device/operation-options.js';
import type { ElementType } from '../element-types.js';

export type { AttentionVariantName };

export interface AttentionVariant {
  name: AttentionVariantName;
  /** One paragraph. */
  description: string;
  /** The paper or project that it follows. */
  source: string;
  /** The order of the first two dimensions of every tensor. */
  layout: 'batch-first' | 'length-first';
  /** Shapes, in the letters of `attentionSymbols`. */
  shapes: { query: string; keyAndValue: string; output: string };
  /**
   * Formulas in the letters of `attentionSymbols`; a multiply-add is two operations, and bytes are those that pass
   * through memory.
   */
  cost: { operations: string; bytes: string };
}

/** What the letters in shapes and costs mean. */
export const attentionSymbols = {
  B: 'sequences in the batch',
  M: 'query positions',
  N: 'key positions',
  H: 'query heads',
  G: 'key/value heads',
  S: 'head size',
  P: 'parts into which the keys are split',
  e: 'bytes of an element in storage',
} as const;

const batchFirst = { query: '[B, M, H S]', keyAndValue: '[B, N, G S]', output: '[B, M, H S]' };
const products = '4 B M N H S';
const tensors = '2 e B (M H + N G) S'; // query, output, keys and values once each
const scores = 'B H M N (8 + 2 e)'; // float32 scores and stored weights, each written once and read once

/** Every algorithm that `Operations.attention` takes by name. */
export const attentionVariants: readonly AttentionVariant[] = [
  {
    name: 'multi-head',
    description:
      'The baseline: the scores of all heads as one matrix product, a softmax over them, and the product with the values, with the whole ' +
      'float32 score matrix in memory between the three. The masked half of causal scores is computed and thrown away. Key/value heads ' +
      'may be shared; the matrix stays as large.',
    source:
      "Whisper's attention in Hugging Face transformers; MultiHead of BigCode's analysis of multi-query attention",
    layout: 'batch-first',
    shapes: batchFirst,
    cost: { operations: products, bytes: `${tensors} + 16 B H M N` },
  },
  {
    name: 'multi-query',
    description:
      'One shared key/value head and hidden states in the order [length, batch] of Megatron-LM. Queries, keys and values go into one ' +
      'batched product for the scores and one for the values as strided views, without a copy; the score matrix lies in memory between ' +
      'them. Strides that no single matrix covers cost some of the speed. Where rows of a cache may be unwritten, the CPU copies the ' +
      'others before the product with the values (2 e B N S bytes more), which would turn zero times NaN into NaN.',
    source: "MultiQuery of BigCode's analysis of multi-query attention; Megatron-LM; Shazeer, arXiv 1911.02150",
    layout: 'length-first',
    shapes: { query: '[M, B, H S]', keyAndValue: '[N, B, S]', output: '[M, B, H S]' },
    cost: { operations: products, bytes: `${tensors} + ${scores}` },
  },
  {
    name: 'multi-query-1',
    description:
      'One shared key/value head in the usual order [batch, length]. One explicit reshape gives the queries as [batch, length x heads, ' +
      'head size], whose rows all meet the same keys in a plain batched product; it is a copy where the queries are columns of a fused ' +
      'product. The score matrix lies in memory. A cache with unwritten rows is treated as in multi-query.',
    source: "MultiQuery1 of BigCode's analysis of multi-query attention, the form ported to transformers",
    layout: 'batch-first',
    shapes: { query: '[B, M, H S]', keyAndValue: '[B, N, S]', output: '[B, M, H S]' },
    cost: { operations: products, bytes: `${tensors} + ${scores} + 2 e B M H S` },
  },
  {
    name: 'memory-efficient',
    description:
      'A streaming softmax over tiles of keys: each tile of queries keeps its running maximum, sum and weighted values, so that nothing ' +
      'quadratic is ever in memory and keys that no query of the tile sees are skipped. Any number of key/value heads. For encoders and ' +
      'prompts.',
    source: 'xFormers; Rabe and Staats, arXiv 2112.05682; FlashAttention, arXiv 2205.14135',
    layout: 'batch-first',
    shapes: batchFirst,
    cost: { operations: products, bytes: tensors },
  },
  {
    name: 'split-kv',
    description:
      'The keys and values of each sequence are split over threads or blocks, each of which reads its part once for all query rows; the ' +
      'partial results (maximum, sum, weighted values) are combined at the end. Bound by reading the cache. Any number of query rows, ' +
      'but meant for the few of a decode step.',
    source: 'Flash-Decoding (Dao, Haziza, Massa, Sizov 2023)',
    layout: 'batch-first',
    shapes: batchFirst,
    cost: { operations: products, bytes: `${tensors} + 8 P B M H (S + 2)` },
  },
];

/** A case of attention, as far as support depends on it. */
export interface AttentionCase {
  /** 'cpu', 'cuda', 'cuda:1' or 'cuda-emulated'. */
  device: string;
  dtype: ElementType;
  heads: number;
  keyValueHeads: number;
  headSize: number;
  queries: number;
  /** Positions of key and value, a cache's capacity; without it, nothing is said about it. */
  keys?: number;
  causal?: boolean;
  /** New rows are appended to a cache. */
  append?: boolean;
  /** The cache is reordered by index: `source`. */
  indexed?: boolean;
  /** The scores of chosen heads are given out, as word times want them. */
  scores?: boolean;
  /** Entries work on chosen rows of a pool, or on ranges of a pool of positions. */
  pooled?: boolean;
  /** Keys and values are of 8 bits. */
  bytes?: boolean;
}

/** The kind of a device, for which support is declared. */
function kindOf(device: string): 'cpu' | 'cuda' | undefined {
  if (device === 'cpu') return 'cpu';
  return /^cuda(:\d+|-emulated)?$/.test(device) ? 'cuda' : undefined;
}

/** Why the algorithm cannot compute this case, as sentences; it can when there are none. */
export function notSupportedReasons(algorithm: AttentionVariantName, given: AttentionCase): string[] {
  const { device, heads, keyValueHeads, headSize, queries, keys } = given;
  const reasons = Object.entries({ heads, keyValueHeads, headSize, queries, keys })
    .filter(([, count]) => count !== undefined && !(Number.isSafeInteger(count) && count > 0))
    .map(([name, count]) => `${name} is ${count}, which is not a positive whole number.`);
  if (reasons.length > 0) return reasons;
  const kind = kindOf(device);
  if (!kind) return [`There is no device '${device}', only 'cpu', 'cuda', 'cuda:<number>' and 'cuda-emulated'.`];
  return native().attentionReasons(kind, algorithm, given);
}

/** What the algorithm 'auto' computes with where it can, and why. */
export function chooseAlgorithm({ queries }: { queries: number }): { algorithm: AttentionVariantName; reason: string } {
  const algorithm = native().preferredAttention(queries) as AttentionVariantName;
  const reason =
    algorithm === 'split-kv'
      ? 'One query row a sequence is bound by reading the keys and values, which split-kv reads once, all threads at work.'
      : `${queries} query rows a sequence share each tile of keys, and memory-efficient keeps their scores out of memory.`;
  return { algorithm, reason };
}
