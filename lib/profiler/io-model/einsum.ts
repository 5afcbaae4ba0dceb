/** The cost of a product in Einstein notation, by the counting rule of the published analyses. */
import { OneheadError } from '../../errors.js';

export interface EinsumCost {
  /** Such as 'bhk,bhmk->bhm'. */
  einsum: string;
  /** Elements of all inputs. */
  elementsRead: number;
  /** Elements of the output. */
  elementsWritten: number;
  /** A multiply-add counts as two operations. */
  operations: number;
}

const product = (letters: string, sizes: Readonly<Record<string, number>>): number =>
  [...letters].reduce((result, letter) => result * sizes[letter], 1);

/**
 * Each input is read once and the output written once; the number of multiply-adds is the product of all distinct
 * dimensions. Throws OneheadError INVALID_ARGUMENT if a size is missing or is not a positive whole number.
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
        `Expected dimension '${letter}' of '${einsum}' to occur in an input and to have a positive whole size, but received ${size}.`,
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
