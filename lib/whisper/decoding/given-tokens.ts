/**
 * What of a window's text was given out before the window was done: it stays, however often the window is searched
 * again.
 */
import type { Written } from '../../engine/runtime.js';
import type { Found, Search } from '../model/search.js';

export interface GivenTokens {
  /** Given out so far, behind the window's prompt. */
  readonly tokens: readonly number[];
  /** Of those that were generated. */
  readonly logProbabilities: readonly number[];
  /** The language that they are written in, once there are any. */
  language: string | null;
  /** Sees what the window's one search has written so far. */
  show(written: Written): void;
}

type Begin = Pick<Search, 'prefix' | 'minimum' | 'maximum'>;

/** Where a search begins: behind what was given out. */
export function behindGiven<B extends Begin>(begin: B, given: GivenTokens | undefined): B {
  const more = (given?.tokens.length ?? 0) - (begin.prefix?.length ?? 0);
  if (!given || more <= 0) return begin;
  const less = (limit: number) => Math.max(0, limit - more);
  return { ...begin, prefix: given.tokens, minimum: less(begin.minimum), maximum: less(begin.maximum) };
}

/**
 * What a search found that began behind `prefix`, given out of tokens behind `first` of it: as if it had found these,
 * too.
 */
export function withGiven(found: Found, first: number, prefix: readonly number[], logs: readonly number[]): Found {
  if (logs.length === 0) return found;
  const ranked = logs.map((logProbability, i) => [{ token: prefix[first + i], logProbability }]);
  return {
    ...found,
    logProbabilities: [...logs, ...found.logProbabilities],
    sum: found.sum + logs.reduce((a, b) => a + b, 0),
    ...(found.top && { top: [...ranked, ...found.top] }),
  };
}
