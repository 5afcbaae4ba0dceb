/**
 * Byte-pair vocabularies as GPT-2 has them: tokens are runs of bytes, each one but the single bytes made of two that
 * come before it.
 */

/** Bytes that stand for themselves in a vocabulary's text; the others take the characters from 256 on, in order. */
const printable = (byte: number) =>
  (byte >= 33 && byte <= 126) || (byte >= 161 && byte <= 172) || (byte >= 174 && byte <= 255);
const hidden = Array.from({ length: 256 }, (_, byte) => byte).filter((byte) => !printable(byte));
const characters = Array.from({ length: 256 }, (_, byte) =>
  String.fromCharCode(printable(byte) ? byte : 256 + hidden.indexOf(byte)),
);

/** The 256 bytes in the order of their ids in GPT-2's vocabulary. */
export const singleBytes: readonly string[] = [
  ...characters.filter((_, byte) => printable(byte)),
  ...characters.filter((_, byte) => !printable(byte)),
];

/** A token's bytes as the text that tokenizer.json has. */
export function textOf(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += characters[byte];
  return text;
}

/** Ids by the token's text: of a text that occurs twice, the first. */
export function rankOf(tokens: readonly string[]): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (!ranks.has(token)) ranks.set(token, id);
  return ranks;
}

/**
 * The tokens of one piece of text (as `textOf` gives it): the pair of the lowest rank, below `limit`, is joined first.
 */
export function bytePairs(
  text: string,
  ranks: ReadonlyMap<string, number>,
  limit = Number.POSITIVE_INFINITY,
): string[] {
  const parts = [...text];
  for (;;) {
    let best = limit;
    let at = -1;
    for (let i = 0; i + 1 < parts.length; ++i) {
      const rank = ranks.get(parts[i] + parts[i + 1]);
      if (rank !== undefined && rank < best) {
        best = rank;
        at = i;
      }
    }
    if (at < 0) return parts;
    parts.splice(at, 2, parts[at] + parts[at + 1]);
  }
}

/**
 * Longer tokens are not taken apart: the time that it takes grows with the square of the length, and no vocabulary has
 * them.
 */
const mostCharacters = 256;

/**
 * The two tokens that each token is made of, in the order of ids; a token that no pair gives has none, and text is
 * never divided into it.
 */
export function derivedMerges(tokens: readonly string[]): [string, string][] {
  const ranks = rankOf(tokens);
  const merges: [string, string][] = [];
  for (const [token, rank] of ranks) {
    if (token.length < 2 || token.length > mostCharacters) continue;
    const parts = bytePairs(token, ranks, rank);
    if (parts.length === 2) merges.push([parts[0], parts[1]]);
  }
  return merges;
}
