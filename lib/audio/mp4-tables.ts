/**
 * Checks the tables of MP4 files before a decoder reads them: it would allocate memory for whatever counts they claim.
 */
import { ByteReader } from './reader.js';

/** The largest box that is held, in bytes: an index of 20 hours takes about 20 MB. */
const maxBoxBytes = 1 << 28;
/**
 * Frames of equal size that an index may claim without listing them: 12 minutes at 44.1 kHz if each sample is a frame.
 */
const maxEqualFrames = 1 << 25;
/** The same for a fragment. */
const maxFragmentFrames = 1 << 20;
/** The largest plausible frame, in bytes; a decoder would wait for all of it. */
const maxFrameSize = 1 << 24;

/** The offsets of a table's count and entries in its box, and the bytes of an entry. */
const tables: readonly (readonly [name: string, count: number, entries: number, bytes: (version: number) => number])[] =
  [
    ['stsz', 8, 12, () => 4],
    ['stco', 4, 8, () => 4],
    ['co64', 4, 8, () => 8],
    ['stsc', 4, 8, () => 12],
    ['stts', 4, 8, () => 8],
    ['ctts', 4, 8, () => 8],
    ['elst', 4, 8, (version) => (version === 1 ? 20 : 12)],
  ];

/** Contents of all boxes with a name, wherever they are: readers differ in where they look. They must not overlap. */
function* named(box: Buffer, name: string): Generator<Buffer> {
  let left = box.length;
  for (let at = box.indexOf(name); at >= 0; at = box.indexOf(name, at + 4)) {
    const size = at >= 4 ? box.readUInt32BE(at - 4) : 0;
    if (size < 16) continue;
    const content = box.subarray(at + 4, at - 4 + size);
    left -= content.length;
    if (left < 0) throw new Damage(`its tables '${name}' overlap`);
    yield content;
  }
}

/** Thrown if an MP4 file cannot be read, or not further. */
export class Damage extends Error {}

const cutShort = 'its last fragment was cut short';

/** Limits the counts in a box to what it holds, in place. */
function boundCounts(box: Buffer): void {
  for (const [table, count, entries, bytes] of tables) {
    for (const content of named(box, table)) {
      if (content.length < entries) continue;
      const claimed = content.readUInt32BE(count);
      if (table === 'stsz' && content.readUInt32BE(4) > 0) {
        if (claimed > maxEqualFrames || content.readUInt32BE(4) > maxFrameSize)
          throw new Damage('its index claims more frames than can be');
        continue;
      }
      const held = Math.floor((content.length - entries) / bytes(content[0]));
      if (claimed > held) content.writeUInt32BE(held, count);
      if (table !== 'stsz') continue;
      for (let at = entries; at + 4 <= content.length; at += 4) {
        if (content[at] > 0) content.fill(0, at, at + 4); // 16 MB and more
      }
    }
  }
  for (const content of named(box, 'trex')) {
    if (content.length >= 20 && content[16] > 0) content.fill(0, 16, 20);
  }
}

/** The same for a fragment. */
function boundFragment(box: Buffer): void {
  for (const content of named(box, 'tfhd')) {
    const flags = content.readUInt32BE(0);
    const at = 8 + (flags & 1 ? 8 : 0) + (flags & 2 ? 4 : 0) + (flags & 8 ? 4 : 0);
    if (flags & 16 && at < content.length && content[at] > 0) content.fill(0, at, at + 4);
  }
  let left = maxFragmentFrames;
  for (const content of named(box, 'trun')) {
    const flags = content.readUInt32BE(0);
    const fields = [0x100, 0x200, 0x400, 0x800].filter((flag) => flags & flag).length;
    const begin = 8 + (flags & 1 ? 4 : 0) + (flags & 4 ? 4 : 0);
    const held = fields > 0 ? Math.floor(Math.max(0, content.length - begin) / (4 * fields)) : left;
    const count = Math.min(content.readUInt32BE(4), held);
    content.writeUInt32BE(count, 4);
    if (fields === 0) left -= count;
    if (!(flags & 0x200)) continue;
    const size = begin + (flags & 0x100 ? 4 : 0);
    for (let i = 0, at = size; i < count; ++i, at += 4 * fields) {
      if (content[at] > 0) content.fill(0, at, at + 4);
    }
  }
}

/** Boxes allowed between fragments. Any other box means that the previous ones were damaged. */
const betweenFragments = new Set(
  'moof mdat mfra sidx ssix styp ftyp free skip wide emsg prft uuid pdin meta moov'.split(' '),
);

/**
 * The bytes of an MP4 file, box by box, with valid counts in its tables. Throws Damage if there are no boxes, and after
 * a fragment that was cut short.
 */
export async function* boundTables(bytes: AsyncIterable<Uint8Array>): AsyncGenerator<Uint8Array> {
  const reader = new ByteReader(bytes);
  let indexed = false;
  let fragmented = false;
  try {
    while (await reader.need(8)) {
      await reader.need(16);
      const head = Buffer.from(reader.held.subarray(0, 16));
      const type = head.toString('latin1', 4, 8);
      let size = head.readUInt32BE(0);
      const long = size === 1;
      if (long) size = head.length < 16 ? 0 : head.readUInt32BE(8) * 2 ** 32 + head.readUInt32BE(12);
      else if (size === 0) size = Number.POSITIVE_INFINITY;
      const sound = type === 'mdat';
      const held = (!indexed && !sound) || type === 'moof';
      // Before the index, no box may have a size that readers interpret differently.
      const doubtful = !indexed && (sound ? long && size >= 2 ** 32 : long);
      const broken = size < (long ? 16 : 8) || (held && size > maxBoxBytes) || doubtful;
      const strange = fragmented && (!betweenFragments.has(type) || (!sound && !Number.isFinite(size)));
      if (indexed && !fragmented && broken) {
        // Data after the audio is not read.
        yield* reader.rest();
        return;
      }
      if (broken || strange) throw new Damage(`no box begins at byte ${reader.offset}, where one should`);
      if (held) {
        await reader.need(size);
        const box = Buffer.from(reader.held.subarray(0, size));
        if (box.length === size) {
          boundCounts(box);
          if (type === 'moof') boundFragment(box);
          else if (type === 'moov') {
            indexed = true;
            fragmented = box.includes('mvex');
          }
        }
        reader.drop(box.length);
        yield box;
        if (fragmented && box.length < size) throw new Damage(cutShort);
        continue;
      }
      let left = size;
      while (left > 0 && (await reader.need(1))) {
        const part = Buffer.from(reader.held.subarray(0, Math.min(left, reader.held.length)));
        left -= part.length;
        reader.drop(part.length);
        yield part;
      }
      // An index tells how many frames there are, but each fragment tells only of its own.
      if (fragmented && sound && left > 0 && Number.isFinite(left)) throw new Damage(cutShort);
    }
    if (reader.held.length > 0) yield Buffer.from(reader.held);
  } finally {
    await reader.close();
  }
}
