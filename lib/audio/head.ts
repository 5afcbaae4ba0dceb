/** A stream whose beginning is looked at, and perhaps changed, before it is passed on. */

/**
 * The bytes of a stream. `look` is shown what has come so far, and once more (`last`) when no more will. It gives what
 * is passed on in their place, or the number of bytes that it needs to see. The bytes are a copy as soon as more than
 * one chunk has come, else the chunk.
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
      // A share more than there is, so that a long beginning in small pieces is not copied for each of them.
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
