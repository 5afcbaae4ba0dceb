/**
 * Detects texts that repeat themselves in a loop. Such a text fails the threshold however it continues, and would
 * continue to the maximum length.
 */
import type { Written } from '../../engine/runtime.js';
import type { SearchResult } from '../model/search.js';

/** The number of generated tokens from which on a text is checked. Most texts of short clips have fewer. */
export const minimumLoopTokens = 64;
/**
 * A text is ended if its compression ratio is this many times the threshold. It would still fail if half as much new
 * text followed.
 */
const loopFactor = 1.5;

/** The result so far of a search that has not ended. */
export function partialResult({ tokens, logProbabilities, noSpeechProbability, startLogits }: Written): SearchResult {
  const sum = logProbabilities.reduce((a, b) => a + b, 0);
  return { tokens, logProbabilities, sum, ended: false, noSpeechProbability, startLogits };
}

/** True if a text of at least `minimumLoopTokens` tokens is so repetitive that it cannot pass the threshold. */
export const isLooping = (compressionRatio: number, threshold: number): boolean =>
  compressionRatio > loopFactor * threshold;
