/** The cost of a product in Einstein's notation: the counting rule of the analyses that the profiler repeats. */
import { OneheadError } from '../../errors.js';

export interface EinsumCost {
  /** 'bhk,bhmk->bhm'. */
  einsum: string;
  /** Elements of all inputs, and of the output. */
  elementsRead: number;
  elementsWritten: number;
  /** A multiply-add is two. */
  operations: number;
}

const product = (letters: string, sizes: Readonly<Record<string, number>>): number =>
  [...letters].reduce((result, letter) => result * sizes[letter], 1);

/**
 * Each input is read once and the output written once; the multiply-adds are the product of the inputs' distinct
 * dimensions. Throws OneheadError INVALID_ARGUMENT when a size is missing or is not a positive whole number.
 */
export function einsumCost(einsum: string, sizes: Readonly<Record<string, number>>): EinsumCost {
  const match = /^([a-z]+(?:,[a-z]+)*)->([a-z]*)$/.exec(einsum);
  if (!match) {
    throw new OneheadError('INVALID_ARGUMENT', `Expected an einsum such as 'bhk,bhmk->bhm' but received '${einsum}'.`);
  }
  const inputs = match[1].split(',');
  const distinct = [...new Set(match[1].replaceAll(',', ''))].join('');
  for (const letter of distinct + match[2]) {
    const size = sizes[letter];
    if (!(Number.isSafeInteger(size) && size > 0) || !distinct.includes(letter)) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Expected dimension '${letter}' of '${einsum}' to be an input's, with a positive whole size, but received ${size}.`,
        { argument: letter, expected: 'a positive whole number', received: String(size) },
      );
    }
  }
  return {
    einsum,
    elementsRead: inputs.reduce((sum, input) => sum + product(input, sizes), 0),
    elementsWritten: product(match[2], sizes),
    operations: 2 * product(distinct, sizes),
  };
}
