/** Encodes the first or last tokens of a caller's text. Of a long text only a part is encoded. */

/** Characters that are encoded for each token: in the first attempt, and the maximum. */
const [firstCharacters, maximumCharacters] = [16, 256];
/** Characters within which a position to cut is searched for. */
const searchRange = 4096;

/**
 * Positions at which the tokenizer's pattern always splits, so that the tokens on both sides are those of the full
 * text: before whitespace, and between a letter or digit and punctuation other than an apostrophe.
 */
const boundaries = /\P{White_Space}(?=\p{White_Space})|[\p{L}\p{N}](?=[^\p{White_Space}\p{L}\p{N}'])/gu;

/** Returns the last index in `text`, not after `index`, at which it can be cut. */
function cutBefore(text: string, index: number): number {
  if (index <= 0) return 0;
  const begin = Math.max(0, index - searchRange);
  // One more character, since the pattern has a lookahead.
  const last = [...text.slice(begin, index + 1).matchAll(boundaries)].at(-1);
  if (last) return begin + last.index + last[0].length;
  return begin === 0 ? 0 : characterBoundary(text, index);
}

/** Returns the first index in `text`, not before `index`, at which it can be cut. */
function cutAfter(text: string, index: number): number {
  if (index >= text.length) return text.length;
  const [first] = text.slice(index - 1, index + searchRange).matchAll(boundaries);
  if (first) return index - 1 + first.index + first[0].length;
  return index + searchRange >= text.length ? text.length : characterBoundary(text, index);
}

/** Returns `index`, or the index before it if `index` is within a surrogate pair. */
function characterBoundary(text: string, index: number): number {
  return /[\ud800-\udbff]/.test(text[index - 1]) ? index - 1 : index;
}

type Encode = (text: string) => number[];

/** Trims a text and adds the leading space of Whisper's prompts. Tokens are returned unchanged. */
function withLeadingSpace(prompt: string | readonly number[]): string | readonly number[] {
  if (typeof prompt !== 'string') return prompt;
  const trimmed = prompt.trim();
  return trimmed === '' ? [] : ` ${trimmed}`;
}

/** Returns the last `count` tokens of a prompt, which is a text or tokens. */
export function lastTokens(prompt: string | readonly number[], count: number, encode: Encode): number[] {
  const text = withLeadingSpace(prompt);
  if (count < 1) return [];
  if (typeof text !== 'string') return text.slice(-count);
  for (let perToken = firstCharacters; ; perToken *= 2) {
    const begin = cutBefore(text, text.length - perToken * count);
    const tokens = encode(text.slice(begin));
    if (begin === 0 || tokens.length >= count || perToken >= maximumCharacters) return tokens.slice(-count);
  }
}

/** Returns the first `count` tokens of a prompt, which is a text or tokens. */
export function firstTokens(prompt: string | readonly number[], count: number, encode: Encode): number[] {
  const text = withLeadingSpace(prompt);
  if (count < 1) return [];
  if (typeof text !== 'string') return text.slice(0, count);
  for (let perToken = firstCharacters; ; perToken *= 2) {
    const end = cutAfter(text, perToken * count);
    const tokens = encode(text.slice(0, end));
    if (end === text.length || tokens.length >= count || perToken >= maximumCharacters) return tokens.slice(0, count);
  }
}
