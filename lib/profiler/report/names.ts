/** Explains the names of variants, stages and operations, which all experiments, tables and plots share. */
import type { ExperimentResult } from '../measuring/result.js';
import type { Table } from './figures.js';

const meanings: Record<string, string> = {
  'multi-head': 'every query head has its own key/value head; the score matrix is stored in memory',
  'multi-query':
    'one key/value head for all query heads; in attention-types and generate the algorithm in length-first order',
  'multi-query-1': 'one key/value head, batch-first order, queries reshaped to one matrix',
  'memory-efficient': 'streaming softmax over tiles of keys: no score matrix (FlashAttention)',
  'memory-efficient, shared': 'the same with one key/value head',
  auto: 'the algorithm that onehead chooses for the shape: memory-efficient for many query rows, split-kv for few',
  'auto, multi-head': 'auto, every query head with its own key/value head',
  'auto, multi-query': 'auto, one key/value head',
  'multi-query encoder': 'one key/value head in the encoder’s self-attention',
  'multi-query self-attention': 'one key/value head in the decoder’s self-attention',
  'multi-query cross-attention': 'one key/value head in the decoder’s cross-attention',
  'multi-query everywhere': 'one key/value head in all three',
  cached: 'the audio’s keys and values are projected once per window and read from the cache',
  copied: 'the same cache, copied at the beginning of each decode step',
  recomputed: 'the audio’s keys and values are projected again in each decode step',
  floating: 'weights, keys and values in the floating-point type of the run',
  'int8 weights': '8-bit weights of products; their input rows are quantized in each step',
  'int8 cache': '8-bit keys and values, with a scale for each head of a position',
  'int8 weights and cache': '8-bit weights and 8-bit keys and values',
  full: 'whole windows are encoded, even for short clips',
  'query, key, value': 'the fused projection of queries, keys and values',
  split: 'copies that bring queries, keys or values into the order that the products need',
  scores: 'the product of queries and keys',
  softmax: 'the softmax over the scores',
  values: 'the product of the weights with the values (BigCode: output)',
  attention: 'one kernel for scores, softmax and values, which are not timed separately',
  encode: 'the encoder on a batch of whole windows',
  decode: 'the prompt and all new tokens, without the encoder',
  step: 'one decode step: one token of every sequence',
  window: 'projection of the audio’s keys and values, the prompt and all tokens',
  total: 'the whole case',
  embedding: 'the sum of the token and position embeddings',
  'self-attention': 'attention over the earlier tokens, from the KV cache',
  'self out': 'self-attention’s output projection',
  'cross query': 'the projection of cross-attention’s queries',
  'cross-attention': 'attention over the audio, from its cached keys and values',
  'cross out': 'cross-attention’s output projection',
  'feed-forward up': 'the first product of a feed-forward layer',
  'feed-forward down': 'the second product of a feed-forward layer',
  logits: 'the product with the token embedding: one number for each token of the vocabulary',
  'next token': 'suppression, the rules of timestamps, and the choice of the token',
  'whole step': 'a decode step replayed as one program instead of operation by operation',
};

/** A table of the names in these results and their meanings. */
export function namesTable(results: readonly ExperimentResult[]): Table {
  const used = new Set(
    results.flatMap(({ rows }) =>
      rows.flatMap(({ case: { variant, stage, operation } }) => [variant, stage, operation]),
    ),
  );
  return {
    title: 'Names',
    columns: ['name', 'meaning'],
    rows: Object.entries(meanings).filter(([name]) => used.has(name)),
  };
}
