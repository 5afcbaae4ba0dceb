/**
 * The cost of each operation of an attention layer: the two tables of Athiwaratkun's analysis of multi-query inference
 * (incremental decoding and batch computation), and the sum over n decoded tokens from "Fast Transformer Decoding: One
 * Write-Head is All You Need" (Shazeer 2019).
 */
import { countOf, refuse, requireObject } from '../../checks.js';
import { einsumCost } from './einsum.js';

export interface AttentionShape {
  /** 'incremental': one new position per sequence, with a cache; 'batch': all query positions at once. */
  form: 'incremental' | 'batch';
  /** b. */
  batch: number;
  /** n: query positions of a sequence; 1 when incremental. */
  queries?: number;
  /** m: key positions that a query sees. */
  keys: number;
  /** d. */
  width: number;
  /** h. */
  heads: number;
  /** g; `heads` (multi-head) by default, 1 is multi-query. */
  keyValueHeads?: number;
  /** k; width / heads by default. */
  headSize?: number;
  /** Bytes of a stored element; 2 by default. */
  bytesPerElement?: number;
}

export interface AttentionOperation {
  /** 'q', 'K', 'V', 'logits', 'weights', 'out' or 'y', as in the analysis. */
  operation: string;
  einsum: string;
  bytesRead: number;
  bytesWritten: number;
  /** A multiply-add counts as two operations, the softmax as five for each weight. */
  operations: number;
  /** In the letters of `AttentionShape`, without lower orders. */
  complexity: { memory: string; computation: string };
}

export interface AttentionCost {
  kind: 'multi-head' | 'grouped' | 'multi-query';
  operations: AttentionOperation[];
  bytes: number;
  /** The sum of all operations. */
  arithmetic: number;
  /** Elements moved per multiply-add; near 1, the layer is bound by memory. */
  ratio: number;
  complexity: { memory: string; computation: string; ratio: string };
}

/** For each weight: maximum, difference, exponential, sum and quotient. */
const softmaxOperations = 5;

const kindOf = (heads: number, keyValueHeads: number): AttentionCost['kind'] =>
  keyValueHeads === heads ? 'multi-head' : keyValueHeads === 1 ? 'multi-query' : 'grouped';

/**
 * Query head gr is head r of group g. For multi-head and multi-query attention, the analysis writes h instead.
 */
function letters(einsum: string, kind: AttentionCost['kind']): string {
  if (kind === 'grouped') return einsum;
  return einsum.replaceAll('gr', 'h').replaceAll('g', kind === 'multi-head' ? 'h' : '');
}

/** [operation, einsum, memory, computation]; G is the width of all key/value heads. */
const tables: Record<AttentionShape['form'], [string, string, string, string][]> = {
  incremental: [
    ['q', 'bd,grdk->bgrk', 'bd + d²', 'bd²'],
    ['K', 'bd,gdk->bgk', 'bd + dG', 'bdG'],
    ['V', 'bd,gdv->bgv', 'bd + dG', 'bdG'],
    ['logits', 'bgrk,bgmk->bgrm', 'bd + bmG', 'bmd'],
    ['weights', 'bgrm->bgrm', 'bhm', 'bhm'],
    ['out', 'bgrm,bgmv->bgrv', 'bhm + bmG', 'bmd'],
    ['y', 'bgrv,grdv->bd', 'bd + d²', 'bd²'],
  ],
  batch: [
    ['q', 'bnd,grdk->bgrnk', 'bnd + d²', 'bnd²'],
    ['K', 'bmd,gdk->bgmk', 'bmd + dG', 'bmdG'],
    ['V', 'bmd,gdv->bgmv', 'bmd + dG', 'bmdG'],
    ['logits', 'bgrnk,bgmk->bgrnm', 'bnd + bmG', 'bmnd'],
    ['weights', 'bgrnm->bgrnm', 'bhnm', 'bhnm'],
    ['out', 'bgrnm,bgmv->bgrnv', 'bhnm + bmG', 'bmnd'],
    ['y', 'bgrnv,grdv->bnd', 'bnd + d²', 'bnd²'],
  ],
};

const shareOfWidth = { 'multi-head': 'd', grouped: 'gk', 'multi-query': 'k' };
const cacheRatio = { 'multi-head': 'm/d', grouped: 'gm/(dh)', 'multi-query': 'm/(dh)' };

const writeComplexity = (formula: string, kind: AttentionCost['kind']): string =>
  formula.replaceAll('dG', kind === 'multi-head' ? 'd²' : `d${shareOfWidth[kind]}`).replaceAll('G', shareOfWidth[kind]);

function totals(form: AttentionShape['form'], kind: AttentionCost['kind']): AttentionCost['complexity'] {
  if (form === 'batch') return { memory: 'bnd + bhn² + d²', computation: 'bnd² + bn²d', ratio: '1/d + 1/k + 1/(bn)' };
  return {
    memory: `bd + bm${shareOfWidth[kind]} + d²`,
    computation: 'bd² + bmd',
    ratio: `1/d + ${cacheRatio[kind]} + 1/b`,
  };
}

interface Completed extends Required<AttentionShape> {}

function complete(shape: AttentionShape): Completed {
  requireObject('shape', shape);
  const { heads, width } = shape;
  const headSize = shape.headSize ?? width / heads;
  const keyValueHeads = shape.keyValueHeads ?? heads;
  const queries = shape.queries ?? (shape.form === 'incremental' ? 1 : shape.keys);
  const completed = { bytesPerElement: 2, ...shape, headSize, keyValueHeads, queries };
  for (const [name, value] of Object.entries(completed)) {
    if (name !== 'form') countOf(name, value);
  }
  if (typeof shape.form !== 'string' || !Object.hasOwn(tables, shape.form))
    refuse('form', "'incremental' or 'batch'", shape.form);
  if (shape.form === 'incremental' && queries !== 1) refuse('queries', "1 in the form 'incremental'", queries);
  if (heads % keyValueHeads) refuse('keyValueHeads', `a divisor of heads (${heads})`, keyValueHeads);
  return completed;
}

/** The cost of one attention layer, including projections. Throws OneheadError INVALID_ARGUMENT. */
export function attention(shape: AttentionShape): AttentionCost {
  const { form, batch, queries, keys, width, heads, keyValueHeads, headSize, bytesPerElement } = complete(shape);
  const kind = kindOf(heads, keyValueHeads);
  const [b, n, m, d, h, k, v] = [batch, queries, keys, width, heads, headSize, headSize];
  const sizes = { b, n, m, d, h, g: keyValueHeads, r: heads / keyValueHeads, k, v };
  const operations = tables[form].map(([operation, general, memory, computation]): AttentionOperation => {
    const cost = einsumCost(letters(general, kind), sizes);
    return {
      operation,
      einsum: cost.einsum,
      bytesRead: cost.elementsRead * bytesPerElement,
      bytesWritten: cost.elementsWritten * bytesPerElement,
      operations: operation === 'weights' ? softmaxOperations * cost.elementsRead : cost.operations,
      complexity: { memory: writeComplexity(memory, kind), computation: writeComplexity(computation, kind) },
    };
  });
  const bytes = operations.reduce((sum, { bytesRead, bytesWritten }) => sum + bytesRead + bytesWritten, 0);
  const arithmetic = operations.reduce((sum, operation) => sum + operation.operations, 0);
  const ratio = (2 * bytes) / bytesPerElement / arithmetic;
  return { kind, operations, bytes, arithmetic, ratio, complexity: totals(form, kind) };
}

export interface DecodingCost {
  bytes: number;
  arithmetic: number;
  /** Elements moved per multiply-add. */
  ratio: number;
  complexity: { memory: string; computation: string; ratio: string };
}

/**
 * The cost of `tokens` incremental calls, of which call n sees n positions. It shows that a decoder at batch 1 is bound
 * by memory with any number of key/value heads, and how much traffic shared heads save. Throws OneheadError
 * INVALID_ARGUMENT.
 */
export function decoding(shape: Omit<AttentionShape, 'form' | 'keys' | 'queries'>, tokens: number): DecodingCost {
  requireObject('shape', shape);
  const kind = kindOf(shape.heads, shape.keyValueHeads ?? shape.heads);
  // The cost of a call is linear in its positions, so the mean of the first and last call is that of all.
  const first = attention({ ...shape, form: 'incremental', keys: 1 });
  const last = attention({ ...shape, form: 'incremental', keys: tokens });
  const sum = (figure: 'bytes' | 'arithmetic') => ((first[figure] + last[figure]) / 2) * tokens;
  const [bytes, arithmetic] = [sum('bytes'), sum('arithmetic')];
  return {
    bytes,
    arithmetic,
    ratio: (2 * bytes) / (shape.bytesPerElement ?? 2) / arithmetic,
    complexity: {
      'multi-head': { memory: 'bn²d + nd²', computation: 'bnd²', ratio: 'n/d + 1/b' },
      grouped: { memory: 'bnd + bn²gk + nd²', computation: 'bnd²', ratio: '1/d + gn/(dh) + 1/b' },
      'multi-query': { memory: 'bnd + bn²k + nd²', computation: 'bnd²', ratio: '1/d + n/(dh) + 1/b' },
    }[kind],
  };
}
