/** Text and JSON in files that users give. */

/** Removes the byte order mark with which some editors and programs begin text in UTF-8. */
export function withoutByteOrderMark(text: string): string {
  return text.startsWith('\ufeff') ? text.slice(1) : text;
}

/** Removes it from the bytes of a file. */
export function bytesWithoutByteOrderMark(bytes: Buffer): Buffer {
  return bytes[0] === 0xef && bytes[1] === 0xbb && bytes[2] === 0xbf ? bytes.subarray(3) : bytes;
}

/** Parses JSON, which may begin with a byte order mark. Throws SyntaxError. */
export function parseJson(text: string): unknown {
  return JSON.parse(withoutByteOrderMark(text));
}
