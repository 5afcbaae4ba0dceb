/** The cost of a product in Einstein notation, by the counting rule of the published analyses. */
import { countOf, refuse, requireObject } from '../../checks.js';

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
  requireObject('sizes', sizes);
  if (typeof einsum !== 'string') refuse('einsum', "like 'bhk,bhmk->bhm'", einsum);
  const match = /^([a-z]+(?:,[a-z]+)*)->([a-z]*)$/.exec(einsum);
  if (!match) {
    refuse('einsum', "like 'bhk,bhmk->bhm'", einsum);
  }
  const inputs = match[1].split(',');
  const distinct = [...new Set(match[1].replaceAll(',', ''))].join('');
  for (const letter of distinct + match[2]) {
    if (!distinct.includes(letter)) {
      refuse(`dimension '${letter}' of the output`, 'a dimension of an input', einsum);
    }
    countOf(`the size of '${letter}'`, sizes[letter]);
  }
  return {
    einsum,
    elementsRead: inputs.reduce((sum, input) => sum + product(input, sizes), 0),
    elementsWritten: product(match[2], sizes),
    operations: 2 * product(distinct, sizes),
  };
}
