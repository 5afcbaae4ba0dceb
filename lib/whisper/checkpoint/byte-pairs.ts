/**
 * Byte-pair encoding as in GPT-2: a token is a sequence of bytes. The first 256 tokens are single bytes, and each other
 * token joins two earlier ones.
 */

/** Printable bytes are written as themselves in a vocabulary; the others as the characters from 256 on, in order. */
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

/** A token's bytes as text, as tokenizer.json writes them: one character for each byte. */
export function textOf(bytes: Uint8Array): string {
  let text = '';
  for (const byte of bytes) text += characters[byte];
  return text;
}

/** The byte of each character of `textOf`, by the character's code; -1 for any other below 324. */
export const byteOfCharacter: Int16Array = (() => {
  const bytes = new Int16Array(256 + hidden.length).fill(-1);
  for (const [byte, character] of characters.entries()) bytes[character.charCodeAt(0)] = byte;
  return bytes;
})();

/** The bytes of a token's text, the inverse of `textOf`; null if a character does not represent a byte. */
export function bytesOf(text: string): Uint8Array | null {
  const bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; ++i) {
    const byte = byteOfCharacter[text.charCodeAt(i)] ?? -1;
    if (byte < 0) return null;
    bytes[i] = byte;
  }
  return bytes;
}

/** The id of each token's text. If a text occurs twice, its first id counts. */
export function rankOf(tokens: readonly string[]): Map<string, number> {
  const ranks = new Map<string, number>();
  for (const [id, token] of tokens.entries()) if (!ranks.has(token)) ranks.set(token, id);
  return ranks;
}

/**
 * Encodes a piece of text, given in the characters of `textOf`: repeatedly joins the pair with the lowest rank, as long
 * as that is below `limit`.
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
 * Longer tokens are ignored: splitting one takes time quadratic in its length, and no real vocabulary has such tokens.
 */
const maximumCharacters = 256;

/**
 * The pair that each token was merged from, in the order of ids. Tokens that no pair yields are left out; encoding
 * never yields them either.
 */
export function derivedMerges(tokens: readonly string[]): [string, string][] {
  const ranks = rankOf(tokens);
  const merges: [string, string][] = [];
  for (const [token, rank] of ranks) {
    if (token.length < 2 || token.length > maximumCharacters) continue;
    const parts = bytePairs(token, ranks, rank);
    if (parts.length === 2) merges.push([parts[0], parts[1]]);
  }
  return merges;
}
