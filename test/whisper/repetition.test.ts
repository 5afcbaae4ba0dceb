/** Repetitive texts are ended early, unless they would be the result. */
import { describe, expect, it } from 'vitest';
import type { EncodedWindow, SearchOptions } from '../../lib/engine/tasks.js';
import { isPlausible } from '../../lib/whisper/decoding/audio-context.js';
import { decodeWithFallback, type SearchAttempt } from '../../lib/whisper/decoding/fallback.js';
import type { Decoding } from '../../lib/whisper/decoding/resolve.js';
import type { Search, SearchResult } from '../../lib/whisper/model/search.js';

const decoding: Decoding = {
  ...{ beamSize: 1, patience: 1, lengthPenalty: null, bestOf: 2, temperatures: [0, 0.5, 1], seed: 0 },
  ...{ compressionRatioThreshold: 2.4, logProbabilityThreshold: -1, noSpeechThreshold: 0.6, repetitionPenalty: 1 },
  ...{ noRepeatNgramSize: 0, top: 0, words: false, suppressed: new Uint8Array() },
};
const begin = { prompt: [1], startIndex: 0, minimum: 0, maximum: 440, timestamps: false };
const textOf = (tokens: readonly number[]) => tokens.map((token) => ` word${token}`).join('');
const endless = Array.from({ length: 440 }, (_, i) => i % 3);
const plain = Array.from({ length: 30 }, (_, i) => i);

/** A window whose searches generate what `write` returns, and the number of tokens of each. */
function windowOf(write: (search: Search) => { tokens: number[]; logProbability: number }) {
  const written: { temperature: number; tokens: number }[] = [];
  const search = async (
    given: Search,
    { onTokens, until, watchFrom = 0 }: SearchOptions<SearchResult> = {},
  ): Promise<SearchResult> => {
    const { tokens, logProbability } = write(given);
    const found = (length: number) => ({
      tokens: tokens.slice(0, length),
      logProbabilities: new Array<number>(length).fill(logProbability),
      noSpeechProbability: 0,
    });
    const own = { temperature: given.temperature, tokens: 0 };
    written.push(own);
    for (own.tokens = 8; own.tokens < tokens.length; own.tokens += 8) {
      if (own.tokens < watchFrom) continue;
      onTokens?.(found(own.tokens).tokens, found(own.tokens));
      const enough = until?.(found(own.tokens));
      if (enough) return enough;
    }
    own.tokens = tokens.length;
    return { ...found(tokens.length), sum: tokens.length * logProbability, ended: tokens.length < 440 };
  };
  return { window: { search } as unknown as EncodedWindow<Search, SearchResult>, written };
}

describe('a text that repeats itself', () => {
  const loops = (search: Search) =>
    search.temperature < 1 ? { tokens: endless, logProbability: -0.01 } : { tokens: plain, logProbability: -0.5 };

  it('is ended once it cannot pass, and the next temperature is tried', async () => {
    const { window, written } = windowOf(loops);
    const attempt = await decodeWithFallback(window, begin, 0, decoding, textOf);
    expect(attempt).toMatchObject({ tokens: plain, temperature: 1 });
    expect(written.map(({ temperature }) => temperature)).toEqual([0, 0.5, 0.5, 1, 1]);
    for (const { temperature, tokens } of written) if (temperature < 1) expect(tokens).toBeLessThan(100);
  });

  it('is kept completely at the last temperature', async () => {
    const { window } = windowOf(loops);
    const attempt = await decodeWithFallback(window, begin, 0, { ...decoding, temperatures: [0] }, textOf);
    expect(attempt.tokens).toEqual(endless);
  });

  it.each([
    ['nothing limits repetition', { compressionRatioThreshold: null }, {}],
    ['no other temperature would be tried', {}, { tryNextTemperature: () => false }],
  ])('is kept completely if %s', async (_, limits, calls) => {
    const { window } = windowOf(loops);
    const attempt = await decodeWithFallback(window, begin, 0, { ...decoding, ...limits }, textOf, calls);
    expect(attempt).toMatchObject({ tokens: endless, temperature: 0 });
  });

  it('does not hide an error of the search', async () => {
    const { window } = windowOf(() => {
      throw new RangeError('no such row');
    });
    await expect(decodeWithFallback(window, begin, 0, decoding, textOf)).rejects.toThrow('no such row');
  });

  it('is less tolerated in a short window', () => {
    const attempt = { averageLogProbability: -0.3, ended: true } as SearchAttempt;
    expect(isPlausible({ ...attempt, compressionRatio: 1.6 }, false, decoding)).toBe(true);
    expect(isPlausible({ ...attempt, compressionRatio: 2 }, false, decoding)).toBe(false);
    const strict = { ...decoding, compressionRatioThreshold: 1.5 };
    expect(isPlausible({ ...attempt, compressionRatio: 1.6 }, false, strict)).toBe(false);
  });
});
