/** From what attention was asked for to the algorithm that computes it, or to the reasons why none does. */

import { described } from '../checks.js';
import type { ElementType } from '../element-types.js';
import { OneheadError } from '../errors.js';
import {
  type AttentionCase,
  type AttentionVariantName,
  attentionVariants,
  chooseAlgorithm,
  contradictions,
  notSupportedReasons,
} from './variants.js';

interface Given {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
}

interface Wanted {
  heads: number;
  keyValueHeads?: number;
  causal?: boolean;
  append?: unknown;
  source?: unknown;
  scores?: { row?: unknown };
  rows?: unknown;
  keys?: unknown;
  algorithm?: 'auto' | AttentionVariantName;
}

const floating: readonly ElementType[] = ['float32', 'float16', 'bfloat16'];
const listed = (names: readonly string[]) => names.map((name) => `'${name}'`).join(', ');

/**
 * The algorithm's name, 'auto' resolved. Throws OneheadError NOT_SUPPORTED when the device cannot compute the case with
 * it, with the reasons and the algorithms that can; arguments that do not fit together are left to the native checks,
 * which name the argument.
 */
export function dispatch(
  device: string,
  query: Given,
  key: Given,
  {
    heads,
    keyValueHeads = heads,
    causal,
    append,
    source,
    scores,
    rows,
    keys: ranges,
    algorithm: wanted = 'auto',
  }: Wanted,
): AttentionVariantName {
  // Plain JavaScript may pass what is no tensor.
  const [queryShape, keyShape] = [query?.shape ?? [], key?.shape ?? []];
  const algorithm = wanted === 'auto' ? chooseAlgorithm({ queries: queryShape[1] }).algorithm : wanted;
  const variant = attentionVariants.find(({ name }) => name === algorithm);
  if (!variant) {
    const expected = listed(['auto', ...attentionVariants.map(({ name }) => name)]);
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `attention: expected algorithm to be one of ${expected} but received ${described(wanted)}.`,
      {
        operation: 'attention',
        argument: 'algorithm',
        expected,
        received: `'${wanted}'`,
      },
    );
  }
  const length = variant.layout === 'length-first' ? 0 : 1;
  const given: AttentionCase = {
    device,
    dtype: query?.dtype,
    heads,
    keyValueHeads,
    headSize: queryShape[2] / heads,
    queries: queryShape[length],
    keys: keyShape[length],
    causal,
    append: append !== undefined,
    indexed: source !== undefined,
    scores: scores !== undefined,
    pooled: rows !== undefined || ranges !== undefined || scores?.row !== undefined,
  };
  if (!floating.includes(given.dtype) || contradictions(given).length > 0) return algorithm;
  const reasons = notSupportedReasons(algorithm, given);
  if (reasons.length === 0) return algorithm;

  const { headSize, queries, keys, dtype } = given;
  const others = attentionVariants.filter(({ name }) => notSupportedReasons(name, given).length === 0);
  const order = others.some(({ layout }) => layout !== variant.layout) ? '; their order is [batch, length]' : '';
  const instead = others.length > 0 ? ` Algorithms that can: ${listed(others.map(({ name }) => name))}${order}.` : '';
  const received = `${dtype}, queries ${queries}, keys ${keys}, heads ${heads}, key/value heads ${keyValueHeads}, head size ${headSize}`;
  throw new OneheadError(
    'NOT_SUPPORTED',
    `attention: '${algorithm}' on '${device}' cannot compute this case (${received}). ${reasons.join(' ')}${instead}`,
    { operation: 'attention', received },
  );
}
