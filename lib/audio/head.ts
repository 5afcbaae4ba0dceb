/** Inspects, and possibly changes, the beginning of a stream before passing it on. */

/**
 * The bytes of a stream. `look` gets the bytes received so far, and once more with `last` at the end. It returns the
 * bytes to pass on in their place, or the number of bytes that it needs. Its argument is a copy if it consists of
 * several chunks, otherwise it is the chunk itself.
 */
export async function* throughHead(
  bytes: AsyncIterable<Uint8Array>,
  look: (held: Uint8Array, last: boolean) => Uint8Array | number,
): AsyncGenerator<Uint8Array> {
  let parts: Uint8Array[] = [];
  let length = 0;
  let wanted = 1;
  let done = false;
  const joined = () => (parts.length === 1 ? parts[0] : Buffer.concat(parts, length));
  for await (const chunk of bytes) {
    if (done) {
      yield chunk;
      continue;
    }
    parts.push(chunk);
    length += chunk.length;
    if (length < wanted) continue;
    parts = [joined()];
    const found = look(parts[0], false);
    if (typeof found === 'number') {
      // Waits for an eighth more at least, so that a long beginning in small pieces is not copied for each of them.
      wanted = Math.max(found, length + (length >> 3));
      continue;
    }
    done = true;
    parts = [];
    yield found;
  }
  if (done || length === 0) return;
  const held = joined();
  const found = look(held, true);
  yield typeof found === 'number' ? held : found;
}
