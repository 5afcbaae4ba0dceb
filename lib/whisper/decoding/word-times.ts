/** Computes the times of tokens from those of their words (`wordTimes: 'speech'`). */
import { timestampSeconds } from '../checkpoint/config.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { TextAttention } from '../model/search.js';
import { splitWords } from './split-words.js';
import { alignWords } from './word-alignment.js';

/** Seconds from the start of the window. */
export interface TokenTimes {
  /** The start of each token, and one more time: the end of the last one. */
  times: number[];
  /** The end of each token. It is before the next start if there is a pause between them. */
  ends: number[];
}

/** True if a text has letters, digits or spoken symbols; punctuation alone is not spoken. */
const isSpoken = (text: string): boolean => /[\p{L}\p{N}\p{S}%&@#*+=/\\]/u.test(text);

/**
 * Returns the times of a window's tokens. The tokens of a word divide its time equally, and the words of a prefix,
 * which was not decoded, divide the time before the first decoded word. Other tokens (timestamps, punctuation) have no
 * duration; they are at the end of the word before them.
 */
export function timeTokens(
  tokens: readonly number[],
  attention: TextAttention,
  loudness: ArrayLike<number>,
  language: string | null,
  tokenizer: Pick<WhisperTokenizer, 'decode' | 'isText'>,
): TokenTimes {
  const { before, rows } = attention;
  const textIndices = tokens.flatMap((token, index) => (tokenizer.isText(token) ? [index] : []));
  const words = splitWords(
    textIndices.map((index) => tokens[index]),
    language,
    tokenizer,
  );
  /** The indices of the first and the last token of each spoken word. */
  const spoken: { first: number; last: number }[] = [];
  let next = 0;
  for (const word of words) {
    const [first, last] = [textIndices[next], textIndices[next + word.tokens.length - 1]];
    next += word.tokens.length;
    if (isSpoken(word.text)) spoken.push({ first, last });
  }
  const decoded = spoken.filter(({ first, last }) => first >= before && last - before < rows);
  const spans = alignWords(
    attention,
    decoded.map(({ first, last }) => ({ start: first - before, end: last - before + 1 })),
    loudness,
  );
  const prefix = spoken.filter(({ first, last }) => first < before && last - before < rows);
  const prefixWordFrames = (spans[0]?.start ?? attention.frames) / prefix.length;
  const timed = [
    ...prefix.map((word, i) => ({ ...word, start: i * prefixWordFrames, end: (i + 1) * prefixWordFrames })),
    ...decoded.map((word, i) => ({ ...word, ...spans[i] })),
  ];
  return tokenTimes(tokens.length, timed);
}

/** Divides the frames of words among their tokens. `words` are in order, with the indices of their tokens. */
function tokenTimes(
  count: number,
  words: readonly { first: number; last: number; start: number; end: number }[],
): TokenTimes {
  const starts = new Array<number>(count);
  const ends = new Array<number>(count);
  let frame = words[0]?.start ?? 0;
  let token = 0;
  const fillTo = (end: number) => {
    for (; token < end; ++token) {
      starts[token] = frame;
      ends[token] = frame;
    }
  };
  for (const { first, last, start, end } of words) {
    fillTo(first);
    const tokenFrames = (end - start) / (last - first + 1);
    for (; token <= last; ++token) {
      starts[token] = start + (token - first) * tokenFrames;
      ends[token] = start + (token - first + 1) * tokenFrames;
    }
    frame = end;
  }
  fillTo(count);
  const seconds = (frames: number) => frames * timestampSeconds;
  return { times: [...starts, frame].map(seconds), ends: ends.map(seconds) };
}
