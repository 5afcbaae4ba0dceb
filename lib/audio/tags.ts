/** Tags before, between and after the frames of a recording: names, pictures, texts. */
import { type ByteSource, peek } from './bytes.js';
import { hasLetters } from './letters.js';
import { ByteReader } from './reader.js';

/** Bytes that `tagLength` needs. */
export const tagHeadBytes = 32;

/** Bytes of the ID3v2 tag at `at`, including extended header, padding and footer; 0 if there is none. */
function id3Length(bytes: Uint8Array, at = 0): number {
  if (!hasLetters(bytes, at, 'ID3') || bytes.length < at + 10) return 0;
  const size = bytes.subarray(at + 6, at + 10);
  if (bytes[at + 3] === 0xff || bytes[at + 4] === 0xff || size.some((byte) => byte >= 128)) return 0;
  const footer = bytes[at + 5] & 0x10 ? 10 : 0;
  return 10 + ((size[0] << 21) | (size[1] << 14) | (size[2] << 7) | size[3]) + footer;
}

/** Bytes of the tag at `at`, of any known kind; 0 if there is none. */
export function tagLength(bytes: Uint8Array, at = 0): number {
  const id3 = id3Length(bytes, at);
  if (id3 > 0) return id3;
  if (hasLetters(bytes, at, 'TAG')) return 128;
  if (!hasLetters(bytes, at, 'APETAGEX') || bytes.length < at + tagHeadBytes) return 0;
  const view = new DataView(bytes.buffer, bytes.byteOffset + at, tagHeadBytes);
  // The size excludes the header, and a footer has no data after it.
  return view.getUint32(20, true) & 0x2000_0000 ? view.getUint32(12, true) + 32 : 32;
}

/**
 * Like `peek`, after the ID3v2 tags at the start of a stream; there may be several of any size. `skipped`: their bytes.
 */
export async function peekBehindTags(
  bytes: AsyncIterable<Uint8Array>,
  count: number,
): Promise<Awaited<ReturnType<typeof peek>> & { skipped: number }> {
  const peeked = await peek(bytes, count);
  if (id3Length(peeked.head) === 0) return { ...peeked, skipped: 0 };
  const reader = new ByteReader(peeked.rest);
  while ((await reader.need(10)) && id3Length(reader.held) > 0) await reader.pass(id3Length(reader.held));
  await reader.need(count);
  const skipped = reader.offset;
  return { head: reader.held.slice(0, count), rest: reader.rest(), close: () => reader.close(), skipped };
}

/** The source without its first bytes. */
export function behind(source: ByteSource, skipped: number): ByteSource {
  if (skipped === 0) return source;
  const { again, random } = source;
  async function* later() {
    const reader = new ByteReader(again!());
    await reader.pass(skipped);
    yield* reader.rest();
  }
  const open = async () => {
    const { read, close } = await random!.open();
    return { read: (at: number, length: number) => read(at + skipped, length), close };
  };
  return {
    ...source,
    path: undefined,
    again: again && later,
    random: random && { size: random.size - skipped, open },
  };
}
