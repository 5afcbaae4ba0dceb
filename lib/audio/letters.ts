/** Letters in binary headers. */

/** True if these letters are at `at`. Making strings to compare would cost more than the rest of reading a header. */
export function hasLetters(bytes: Uint8Array, at: number, letters: string): boolean {
  if (at + letters.length > bytes.length) return false;
  for (let i = 0; i < letters.length; ++i) if (bytes[at + i] !== letters.charCodeAt(i)) return false;
  return true;
}
