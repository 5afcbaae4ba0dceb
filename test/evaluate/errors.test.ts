import { describe, expect, it } from 'vitest';
import { countErrors, errorRate, textErrors } from '../../lib/evaluate/errors.js';

const words = (text: string) => text.split(' ').filter((word) => word !== '');

describe('errors', () => {
  it.each([
    ['a b c', 'a b c', { hits: 3, substitutions: 0, deletions: 0, insertions: 0 }],
    ['a b c', 'a x c', { hits: 2, substitutions: 1, deletions: 0, insertions: 0 }],
    ['a b c', 'a c', { hits: 2, substitutions: 0, deletions: 1, insertions: 0 }],
    ['a b', 'a x y b', { hits: 2, substitutions: 0, deletions: 0, insertions: 2 }],
    ['', 'x', { hits: 0, substitutions: 0, deletions: 0, insertions: 1 }],
    ['x y', '', { hits: 0, substitutions: 0, deletions: 2, insertions: 0 }],
    ['the cat sat', 'cat sat down', { hits: 2, substitutions: 0, deletions: 1, insertions: 1 }],
  ])("of '%s' transcribed as '%s'", (reference, hypothesis, wanted) => {
    expect(countErrors(words(reference), words(hypothesis))).toEqual(wanted);
  });

  it('are divided by the length of the reference', () => {
    expect(errorRate({ hits: 3, substitutions: 1, deletions: 0, insertions: 1 })).toBe(0.5);
    expect(errorRate({ hits: 0, substitutions: 0, deletions: 0, insertions: 0 })).toBe(0);
    expect(errorRate({ hits: 0, substitutions: 0, deletions: 0, insertions: 2 })).toBe(Number.POSITIVE_INFINITY);
  });

  it('of characters include single spaces between words', () => {
    const { words: byWord, characters } = textErrors(' ab  cd ', 'ab d');
    expect(byWord).toEqual({ hits: 1, substitutions: 1, deletions: 0, insertions: 0 });
    expect(characters).toEqual({ hits: 4, substitutions: 0, deletions: 1, insertions: 0 });
  });
});
