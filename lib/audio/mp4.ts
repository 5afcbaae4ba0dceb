/**
 * Moves the index (moov) of MP4 files to the front: recorders write it last, and a decoder would hold the whole file.
 */
import { createWriteStream } from 'node:fs';
import { mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { OneheadError, reasonOf } from '../errors.js';
import { abortable, type ByteSource, blocks, fileBytes, type RandomAccess } from './bytes.js';

interface Box {
  type: string;
  at: number;
  size: number;
}

/** Bytes; an index of 20 hours takes about 20 MB. */
const maxIndexBytes = 1 << 28;

/** The box at offset `at` of the file, from its first 16 bytes; null if they are not a box. */
function boxAt(header: Uint8Array, at: number, fileSize: number): Box | null {
  if (header.length < 8) return null;
  const view = new DataView(header.buffer, header.byteOffset, header.length);
  let size = view.getUint32(0);
  const type = String.fromCharCode(...header.subarray(4, 8));
  if (size === 1) {
    if (header.length < 16) return null;
    size = view.getUint32(8) * 2 ** 32 + view.getUint32(12);
    if (size < 16) return null;
  } else if (size === 0) size = fileSize - at;
  else if (size < 8) return null;
  return { type, at, size };
}

/** True if the first bytes show that the audio comes before the index. */
function soundFirst(head: Uint8Array): boolean {
  for (let at = 0; at < head.length; ) {
    const box = boxAt(head.subarray(at, at + 16), at, Number.MAX_SAFE_INTEGER);
    if (!box || box.type === 'moov') return false;
    if (box.type === 'mdat') return true;
    at += box.size;
  }
  return false;
}

/**
 * Adds `shift` to all offsets from `behind` up to `before`, in every stco and co64 of the boxes from `begin` to `end`.
 */
function shiftOffsets(
  index: DataView,
  begin: number,
  end: number,
  shift: number,
  behind: number,
  before: number,
): void {
  for (let at = begin; at + 8 <= end; ) {
    const size = index.getUint32(at);
    if (size < 8 || at + size > end) return;
    const type = String.fromCharCode(...new Uint8Array(index.buffer, index.byteOffset + at + 4, 4));
    if (['moov', 'trak', 'mdia', 'minf', 'stbl'].includes(type)) {
      shiftOffsets(index, at + 8, at + size, shift, behind, before);
    } else if ((type === 'stco' || type === 'co64') && size >= 16) {
      const width = type === 'stco' ? 4 : 8;
      const count = Math.min(index.getUint32(at + 12), Math.floor((size - 16) / width));
      for (let i = 0; i < count; ++i) {
        const low = at + 16 + i * width + width - 4;
        const high = width === 8 ? index.getUint32(low - 4) : 0;
        const place = high * 2 ** 32 + index.getUint32(low);
        if (place < behind || place >= before) continue;
        index.setUint32(low, (place + shift) >>> 0);
        if (width === 8) index.setUint32(low - 4, Math.floor((place + shift) / 2 ** 32));
      }
    }
    at += size;
  }
}

/** The file's bytes, with the index before the audio. */
async function* moved(random: RandomAccess, name: string, blockBytes: number): AsyncGenerator<Uint8Array> {
  const file = await random.open();
  try {
    const boxes: Box[] = [];
    for (let at = 0; at < random.size && boxes.length < 10_000; ) {
      const box = boxAt(await file.read(at, 16), at, random.size);
      if (!box) break;
      boxes.push(box);
      at += box.size;
    }
    const index = boxes.find(({ type }) => type === 'moov');
    const sound = boxes.find(({ type }) => type === 'mdat');
    if (!index || index.at + index.size > random.size || index.size > maxIndexBytes) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${name} is an MP4 file without its index, as a recording that was cut short is; export or repair it.`,
      );
    }
    async function* bytes(begin: number, end: number) {
      for (let at = begin; at < end; at += blockBytes) yield await file.read(at, Math.min(blockBytes, end - at));
    }
    const last = index.at + index.size;
    if (!sound || sound.at > index.at) {
      // One piece up to the end of the index: the decoder copies everything again for each further piece.
      yield await file.read(0, last);
      yield* bytes(last, random.size);
      return;
    }
    const moov = await file.read(index.at, index.size);
    const copy = new Uint8Array(moov);
    shiftOffsets(new DataView(copy.buffer), 0, copy.length, copy.length, sound.at, index.at);
    yield Buffer.concat([await file.read(0, sound.at), copy]);
    yield* bytes(sound.at, index.at);
    yield* bytes(last, random.size);
  } finally {
    await file.close();
  }
}

/**
 * The bytes of an MP4 file in an order that can be decoded sequentially. A stream whose index is at its end is stored
 * in a temporary file, which is removed at the end. Throws OneheadError AUDIO_INVALID for a file without an index.
 */
export async function* indexFirst(
  rest: AsyncIterable<Uint8Array>,
  head: Uint8Array,
  source: ByteSource,
  signal: AbortSignal,
  blockBytes: number,
): AsyncGenerator<Uint8Array> {
  if (source.random) {
    yield* abortable(moved(source.random, source.name, blockBytes), signal);
  } else if (!soundFirst(head)) {
    yield* blocks(rest, blockBytes);
  } else {
    const folder = await mkdtemp(join(tmpdir(), 'onehead-'));
    try {
      const path = join(folder, 'audio.mp4');
      await pipeline(rest, createWriteStream(path), { signal }).catch((cause: NodeJS.ErrnoException) => {
        signal.throwIfAborted();
        if (cause instanceof OneheadError) throw cause;
        const sentence = `Cannot keep ${source.name} in ${folder}: ${reasonOf(cause)}; make room there or give a file.`;
        throw new OneheadError('AUDIO_INVALID', sentence, { cause });
      });
      const { random } = await fileBytes(path);
      if (random) yield* abortable(moved(random, source.name, blockBytes), signal);
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }
}
