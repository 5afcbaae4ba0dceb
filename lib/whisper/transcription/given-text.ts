/** Encodes the first or last tokens of a caller's text. Of a long text only the part that is needed is encoded. */

/** Characters that are encoded for each wanted token: in the first attempt, and at most. */
const [firstCharacters, mostCharacters] = [16, 256];
/** Characters within which a place to cut is searched for. */
const reach = 4096;

/**
 * Where the tokenizer's pattern always splits, so that the tokens on both sides are those of the whole text: before a
 * blank, and between a letter or digit and a mark that is no apostrophe.
 */
const divides = /[^\s](?=\s)|[\p{L}\p{N}](?=[^\s\p{L}\p{N}'])/gu;

/** The last index in `text`, at or before `at`, where it can be cut. */
function cutBefore(text: string, at: number): number {
  if (at <= 0) return 0;
  const begin = Math.max(0, at - reach);
  // One character more on each side, since the pattern looks at neighbours.
  const last = [...text.slice(begin, at + 1).matchAll(divides)].at(-1);
  if (last) return begin + last.index + last[0].length;
  return begin === 0 ? 0 : whole(text, at);
}

/** The first index in `text`, at or after `at`, where it can be cut. */
function cutAfter(text: string, at: number): number {
  if (at >= text.length) return text.length;
  const [first] = text.slice(at - 1, at + reach).matchAll(divides);
  if (first) return at - 1 + first.index + first[0].length;
  return at + reach >= text.length ? text.length : whole(text, at);
}

/** `at`, or the index before it if that would split a surrogate pair. */
function whole(text: string, at: number): number {
  return /[\ud800-\udbff]/.test(text[at - 1]) ? at - 1 : at;
}

type Encode = (text: string) => number[];

/** Adds the leading blank that Whisper's prompts have. */
function prepared(given: string | readonly number[]): string | readonly number[] {
  if (typeof given !== 'string') return given;
  const trimmed = given.trim();
  return trimmed === '' ? [] : ` ${trimmed}`;
}

/** The last `count` tokens of a text or of given tokens. */
export function lastTokens(given: string | readonly number[], count: number, encode: Encode): number[] {
  const text = prepared(given);
  if (count < 1) return [];
  if (typeof text !== 'string') return text.slice(-count);
  for (let each = firstCharacters; ; each *= 2) {
    const begin = cutBefore(text, text.length - each * count);
    const tokens = encode(text.slice(begin));
    if (begin === 0 || tokens.length >= count || each >= mostCharacters) return tokens.slice(-count);
  }
}

/** The first `count` tokens of a text or of given tokens. */
export function firstTokens(given: string | readonly number[], count: number, encode: Encode): number[] {
  const text = prepared(given);
  if (count < 1) return [];
  if (typeof text !== 'string') return text.slice(0, count);
  for (let each = firstCharacters; ; each *= 2) {
    const end = cutAfter(text, each * count);
    const tokens = encode(text.slice(0, end));
    if (end === text.length || tokens.length >= count || each >= mostCharacters) return tokens.slice(0, count);
  }
}
