/**
 * Ends searches of texts that repeat themselves without end. Such a text fails at its temperature however it goes on,
 * and would go on to the longest length there is.
 */
import type { Written } from '../../engine/runtime.js';
import type { SearchResult } from '../model/search.js';

/** Generated tokens from which on a text is checked. Most texts of a clip are shorter. */
export const leastRepeated = 64;
/** The compression ratio of a text that is ended, over the threshold: enough to fail with half as much new text. */
const certain = 1.5;

/** What a search that is still under way has found. */
export function foundSoFar({ tokens, logProbabilities, noSpeechProbability, startLogits }: Written): SearchResult {
  const sum = logProbabilities.reduce((a, b) => a + b, 0);
  return { tokens, logProbabilities, sum, ended: false, noSpeechProbability, startLogits };
}

/** Thrown from `onTokens`: ends a search, and has what it found until then. */
export class Repetition extends Error {
  readonly found: SearchResult;

  constructor(found: SearchResult) {
    super('The text repeats itself.');
    this.found = found;
  }
}

/** True if a text of `leastRepeated` tokens or more repeats itself so much that it cannot pass any more. */
export const isEndless = (compressionRatio: number, threshold: number): boolean =>
  compressionRatio > certain * threshold;
