/** The published part of a window's text. It stays, however often the window is searched again. */
import type { Written } from '../../engine/runtime.js';
import type { Search, SearchResult } from '../model/search.js';

export interface GivenTokens {
  /** The tokens published so far, behind the window's prompt. */
  readonly tokens: readonly number[];
  /** The log-probabilities of those that were generated. */
  readonly logProbabilities: readonly number[];
  /** The language of the text, once there is some. */
  language: string | null;
  /** Receives the text of the window's one search as it grows. */
  show(written: Written): void;
}

type Begin = Pick<Search, 'prefix' | 'minimum' | 'maximum'>;

/** Returns the start of a search that begins behind the published text. */
export function behindGiven<B extends Begin>(begin: B, given: GivenTokens | undefined): B {
  const more = (given?.tokens.length ?? 0) - (begin.prefix?.length ?? 0);
  if (!given || more <= 0) return begin;
  const less = (limit: number) => Math.max(0, limit - more);
  return { ...begin, prefix: given.tokens, minimum: less(begin.minimum), maximum: less(begin.maximum) };
}

/**
 * Adds the tokens of `prefix` from `first` on, and their log-probabilities, to the result of a search that began behind
 * it.
 */
export function withGiven(
  found: SearchResult,
  first: number,
  prefix: readonly number[],
  logs: readonly number[],
): SearchResult {
  if (logs.length === 0) return found;
  const ranked = logs.map((logProbability, i) => [{ token: prefix[first + i], logProbability }]);
  return {
    ...found,
    logProbabilities: [...logs, ...found.logProbabilities],
    sum: found.sum + logs.reduce((a, b) => a + b, 0),
    ...(found.top && { top: [...ranked, ...found.top] }),
  };
}
