import { describe, expect, it } from 'vitest';
import { summarizeWordTimes, wordTimeErrors } from '../../lib/evaluate/word-times.js';

/** Words of half a second each, one after the other. */
const spoken = (text: string, late = 0) =>
  text.split(' ').map((word, i) => ({ word, start: i / 2 + late, end: i / 2 + 0.5 + late }));

describe('word times', () => {
  it('are compared word by word', () => {
    const errors = wordTimeErrors(spoken('One two, three.'), spoken('one two three', 0.125));
    expect(errors).toEqual(['One', 'two,', 'three.'].map((word) => ({ word, start: 0.125, end: 0.125 })));
  });

  it('exclude words that are missing, invented or substituted', () => {
    const errors = wordTimeErrors(spoken('a quick brown fox'), [...spoken('a quack brown'), ...spoken('of fox', 1.5)]);
    expect(errors).toEqual([
      { word: 'a', start: 0, end: 0 },
      { word: 'brown', start: 0, end: 0 },
      { word: 'fox', start: 0.5, end: 0.5 },
    ]);
  });

  it('of repeated words are those nearest in time', () => {
    const hypothesis = [
      { word: 'no', start: 0, end: 0.5 },
      { word: 'no', start: 7, end: 7.5 },
    ];
    for (const one of hypothesis) expect(wordTimeErrors([one], hypothesis)).toEqual([{ word: 'no', start: 0, end: 0 }]);
  });

  it('of compound words are compared at both ends', () => {
    const reference = [
      { word: 'cold', start: 0, end: 0.5 },
      { word: 'hearted', start: 0.5, end: 1 },
      { word: 'do', start: 1, end: 1.25 },
      { word: 'not', start: 1.25, end: 1.5 },
    ];
    const hypothesis = [
      { word: ' cold-hearted', start: 0.25, end: 1.25 },
      { word: " don't", start: 1.25, end: 1.5 },
    ];
    expect(wordTimeErrors(reference, hypothesis, 'english')).toEqual([
      { word: 'cold', start: 0.25, end: null },
      { word: 'hearted', start: null, end: 0.25 },
      { word: 'do', start: 0.25, end: null },
      { word: 'not', start: null, end: 0 },
    ]);
    const japanese = [
      { word: '電', start: 0, end: 0.5 },
      { word: '球が', start: 0.5, end: 1.5 },
    ];
    expect(wordTimeErrors([{ word: '電球が', start: 0, end: 1 }], japanese)).toEqual([
      { word: '電球が', start: 0, end: 0.5 },
    ]);
  });

  it('are summarized as means, biases and shares', () => {
    const errors = [-0.05, 0.1, -0.15, -0.3].map((start) => ({ word: 'x', start, end: null }));
    const { words, matched, starts, ends } = summarizeWordTimes(errors, 5);
    expect({ words, matched, count: starts.count, none: ends.count }).toEqual({
      words: 5,
      matched: 4,
      count: 4,
      none: 0,
    });
    expect(starts.mean).toBeCloseTo(0.15);
    expect(starts.bias).toBeCloseTo(-0.1);
    expect([starts.within50, starts.within, starts.within200]).toEqual([0.25, 0.5, 0.75]);
    expect(ends.mean).toBeNaN();
  });

  it('are found in long texts', () => {
    const text = Array.from({ length: 3000 }, (_, i) => `w${i % 97}`).join(' ');
    expect(wordTimeErrors(spoken(text), spoken(text, 0.1))).toHaveLength(3000);
  });
});
