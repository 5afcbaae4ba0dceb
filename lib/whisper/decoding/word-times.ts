/** Times of tokens, from the times of their words. */
import { timestampSeconds } from '../checkpoint/config.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { TextAttention } from '../model/search.js';
import { splitWords } from './split-words.js';
import { alignWords } from './word-alignment.js';

/** Seconds from the start of the window. */
export interface TokenTimes {
  /** The beginning of each token and, one more, the end of the last. */
  times: number[];
  /** The end of each token. It is before the next beginning if there is a pause between them. */
  ends: number[];
}

/** True for text that is spoken; punctuation alone is not. */
const isSpoken = (text: string): boolean => /[\p{L}\p{N}\p{S}%&@#*+=/\\]/u.test(text);

/**
 * Returns the times of `tokens`. Tokens that are not text or not spoken take no time, between words. The tokens of one
 * word share its time. Tokens of a prefix, which were not decoded, share the time before the first decoded word.
 */
export function timeTokens(
  tokens: readonly number[],
  attention: TextAttention,
  loudness: ArrayLike<number>,
  language: string | null,
  tokenizer: Pick<WhisperTokenizer, 'decode' | 'isText'>,
): TokenTimes {
  const { before, rows } = attention;
  const texts = tokens.flatMap((token, index) => (tokenizer.isText(token) ? [index] : []));
  const words = splitWords(
    texts.map((index) => tokens[index]),
    language,
    tokenizer,
  );
  /** The first and the last token of each spoken word. */
  const spoken: { first: number; last: number }[] = [];
  let place = 0;
  for (const { text, tokens: own } of words) {
    const [first, last] = [texts[place], texts[place + own.length - 1]];
    place += own.length;
    if (isSpoken(text)) spoken.push({ first, last });
  }
  const decoded = spoken.filter(({ first, last }) => first >= before && last - before < rows);
  const spans = alignWords(
    attention,
    decoded.map(({ first, last }) => ({ start: first - before, end: last - before + 1 })),
    loudness,
  );
  const given = spoken.filter(({ first, last }) => first < before && last - before < rows);
  const found = [
    ...given.map(({ first, last }, i) => {
      const each = (spans[0]?.start ?? attention.frames) / given.length;
      return { first, last, start: i * each, end: (i + 1) * each };
    }),
    ...decoded.map((word, i) => ({ ...word, ...spans[i] })),
  ];
  const starts = new Array<number>(tokens.length);
  const ends = new Array<number>(tokens.length);
  let at = found[0]?.start ?? 0;
  let next = 0;
  for (const { first, last, start, end } of found) {
    for (; next < first; ++next) {
      starts[next] = at;
      ends[next] = at;
    }
    const each = (end - start) / (last - first + 1);
    for (; next <= last; ++next) {
      starts[next] = start + (next - first) * each;
      ends[next] = start + (next - first + 1) * each;
    }
    at = end;
  }
  for (; next < tokens.length; ++next) {
    starts[next] = at;
    ends[next] = at;
  }
  const seconds = (frames: number) => frames * timestampSeconds;
  return { times: [...starts, at].map(seconds), ends: ends.map(seconds) };
}
