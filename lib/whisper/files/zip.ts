/**
 * Reads the central directory of a zip file whose entries are stored uncompressed, as PyTorch writes them.
 */
import { type BinaryFile, quoted } from './bytes.js';

interface Entry {
  /** Position of the entry's local header, which precedes its data. */
  header: number;
  bytes: number;
  /** Position of the next entry, or of the central directory. */
  limit: number;
}

const endBytes = 22;
const maximumCommentBytes = 65_535;
const maximumDirectoryBytes = 1 << 26;
const unknown32 = 0xffff_ffff;

/** A 64-bit integer, refused if JavaScript cannot represent it exactly. */
function long(file: BinaryFile, buffer: Buffer, at: number): number {
  const value = Number(buffer.readBigUInt64LE(at));
  if (value > Number.MAX_SAFE_INTEGER) file.refuse('its central directory gives a size of more than 2^53 bytes');
  return value;
}

/** Finds the central directory. */
async function findDirectory(file: BinaryFile): Promise<{ offset: number; bytes: number; count: number }> {
  const from = Math.max(0, file.size - endBytes - maximumCommentBytes);
  const tail = await file.read(from, file.size - from, 'its end');
  let at = tail.length - endBytes;
  while (
    at >= 0 &&
    !(tail.readUInt32LE(at) === 0x0605_4b50 && at + endBytes + tail.readUInt16LE(at + 20) === tail.length)
  )
    --at;
  if (at < 0) file.refuse('it has no central directory at its end (truncated?)');
  const directory = {
    count: tail.readUInt16LE(at + 10),
    bytes: tail.readUInt32LE(at + 12),
    offset: tail.readUInt32LE(at + 16),
  };
  if (directory.count !== 0xffff && directory.bytes !== unknown32 && directory.offset !== unknown32) return directory;
  // Beyond the limits of 32 bits, a locator of 20 bytes gives the position of a second end record, with 64-bit fields.
  const locator = await file.read(from + at - 20, 20, 'the locator of its zip64 directory');
  if (locator.readUInt32LE(0) !== 0x0706_4b50) file.refuse('its central directory is damaged');
  const end = await file.read(long(file, locator, 8), 56, 'the end of its zip64 directory');
  if (end.readUInt32LE(0) !== 0x0606_4b50) file.refuse('its central directory is damaged');
  return { count: long(file, end, 32), bytes: long(file, end, 40), offset: long(file, end, 48) };
}

/** Replaces fields that do not fit into 32 bits by their values in the zip64 extra field, which keeps their order. */
function longFields(file: BinaryFile, extra: Buffer, fields: number[]): number[] {
  for (let at = 0; at + 4 <= extra.length; ) {
    const size = extra.readUInt16LE(at + 2);
    const body = extra.subarray(at + 4, at + 4 + size);
    if (extra.readUInt16LE(at) === 1) {
      let next = 0;
      return fields.map((field) => {
        if (field !== unknown32) return field;
        if (next + 8 > body.length) file.refuse('its central directory is damaged');
        next += 8;
        return long(file, body, next - 8);
      });
    }
    at += 4 + size;
  }
  return fields;
}

export class ZipFile {
  readonly file: BinaryFile;
  readonly #entries: ReadonlyMap<string, Entry>;

  private constructor(file: BinaryFile, entries: ReadonlyMap<string, Entry>) {
    this.file = file;
    this.#entries = entries;
  }

  /** Reads the central directory of an open file. Throws OneheadError MODEL_INVALID. */
  static async open(file: BinaryFile): Promise<ZipFile> {
    const { offset, bytes, count } = await findDirectory(file);
    if (bytes > maximumDirectoryBytes)
      file.refuse(`expected its central directory to have at most ${maximumDirectoryBytes} bytes but found ${bytes}`);
    const directory = await file.read(offset, bytes, 'its central directory');
    const entries = new Map<string, Entry>();
    let at = 0;
    for (let index = 0; index < count; ++index) {
      if (at + 46 > directory.length || directory.readUInt32LE(at) !== 0x0201_4b50) {
        file.refuse(`its central directory ends after ${index} of ${count} entries`);
      }
      const [flags, method] = [directory.readUInt16LE(at + 8), directory.readUInt16LE(at + 10)];
      const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((field) => directory.readUInt16LE(at + field));
      const name = directory.toString('utf8', at + 46, at + 46 + nameBytes);
      const extra = directory.subarray(at + 46 + nameBytes, at + 46 + nameBytes + extraBytes);
      const short = [24, 20, 42].map((field) => directory.readUInt32LE(at + field));
      const [unpacked, packed, header] = longFields(file, extra, short);
      if (flags & 1) file.refuse(`its entry ${quoted(name)} is encrypted`);
      if (method !== 0 || packed !== unpacked) {
        file.refuse(`its entry ${quoted(name)} is compressed, which torch.save never does`);
      }
      if (entries.has(name)) file.refuse(`it has two entries ${quoted(name)}`);
      entries.set(name, { header, bytes: packed, limit: offset });
      at += 46 + nameBytes + extraBytes + commentBytes;
    }
    const inOrder = [...entries].sort(([, a], [, b]) => a.header - b.header);
    for (const [index, [name, entry]] of inOrder.entries()) {
      entry.limit = inOrder[index + 1]?.[1].header ?? offset;
      if (entry.header + 30 + entry.bytes > entry.limit) {
        file.refuse(`its entry ${quoted(name)} overlaps the next one`);
      }
    }
    return new ZipFile(file, entries);
  }

  get names(): string[] {
    return [...this.#entries.keys()];
  }

  /** Position of an entry's data, or null if there is none of this name. */
  async find(name: string): Promise<{ offset: number; bytes: number } | null> {
    const entry = this.#entries.get(name);
    if (!entry) return null;
    const header = await this.file.read(entry.header, 30, `the entry ${quoted(name)}`);
    // The local header's sizes may be unset. The lengths of its name and extra field say where the data begins.
    if (header.readUInt32LE(0) !== 0x0403_4b50 || header.readUInt16LE(8) !== 0) {
      this.file.refuse(`its entry ${quoted(name)} has no valid header`);
    }
    const offset = entry.header + 30 + header.readUInt16LE(26) + header.readUInt16LE(28);
    if (offset + entry.bytes > entry.limit) this.file.refuse(`its entry ${quoted(name)} overlaps the next one`);
    return { offset, bytes: entry.bytes };
  }
}
