/** The published part of a window's text. It stays unchanged even if the window is decoded again. */
import type { Written } from '../../engine/runtime.js';
import type { Search, SearchResult } from '../model/search.js';

export interface PublishedText {
  /** The published tokens after the window's prompt, including those of a prefix. */
  readonly tokens: readonly number[];
  /** The log-probabilities of the generated ones among them. */
  readonly logProbabilities: readonly number[];
  /** The language of the text, once it is known. */
  language: string | null;
  /** Receives the growing text of the window's only search, and may publish more of it. */
  show(written: Written): void;
}

type Begin = Pick<Search, 'prefix' | 'minimum' | 'maximum'>;

/** Returns the start of a search whose prefix is the published text. */
export function afterPublished<B extends Begin>(begin: B, published: PublishedText | undefined): B {
  const added = (published?.tokens.length ?? 0) - (begin.prefix?.length ?? 0);
  if (!published || added <= 0) return begin;
  const reduced = (limit: number) => Math.max(0, limit - added);
  return { ...begin, prefix: published.tokens, minimum: reduced(begin.minimum), maximum: reduced(begin.maximum) };
}

/**
 * Adds published tokens to the result of a search: those of its `prefix` from index `first` on, with their
 * log-probabilities.
 */
export function withPublished(
  result: SearchResult,
  first: number,
  prefix: readonly number[],
  logProbabilities: readonly number[],
): SearchResult {
  if (logProbabilities.length === 0) return result;
  const ranked = logProbabilities.map((logProbability, i) => [{ token: prefix[first + i], logProbability }]);
  return {
    ...result,
    logProbabilities: [...logProbabilities, ...result.logProbabilities],
    sum: result.sum + logProbabilities.reduce((a, b) => a + b, 0),
    ...(result.top && { top: [...ranked, ...result.top] }),
  };
}
