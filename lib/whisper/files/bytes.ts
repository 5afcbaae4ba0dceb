/**
 * Reads binary files of weights. Sizes that a file states are checked against its length before memory is allocated.
 */
import type { Stats } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { OneheadError, reasonOf, shown } from '../../errors.js';

const reasons = new Map([
  ['ENOENT', 'there is no such file'],
  ['EISDIR', 'it is a folder'],
  ['EACCES', 'this user may not read it'],
  ['EPERM', 'this user may not read it'],
  ['ELOOP', 'it is a broken link'],
]);

/** Runs `read`. Throws OneheadError MODEL_INVALID instead of a system error: the file cannot be opened or read. */
export async function reading<Result>(path: string, read: () => Promise<Result>): Promise<Result> {
  try {
    return await read();
  } catch (cause) {
    const { syscall, code } = cause as NodeJS.ErrnoException;
    if (!syscall) throw cause;
    const reason = reasons.get(String(code)) ?? reasonOf(cause);
    const advice =
      code === 'EACCES' || code === 'EPERM' ? 'change its permissions' : 'check the file, or download it again';
    throw new OneheadError('MODEL_INVALID', `Cannot read ${path}: ${reason}; ${advice}.`, { cause });
  }
}

/** Errors of paths at which nothing can be. */
const absent = new Set(['ENOENT', 'ENOTDIR', 'ENAMETOOLONG', 'ERR_INVALID_ARG_VALUE']);

/**
 * The status of a file or folder; null if it does not exist. Throws OneheadError MODEL_INVALID if that cannot be
 * determined, such as in a folder that this user may not enter.
 */
export function statusOf(path: string): Promise<Stats | null> {
  return reading(path, () =>
    stat(path).catch((error: NodeJS.ErrnoException) => {
      if (absent.has(String(error.code))) return null;
      throw error;
    }),
  );
}

/** The first bytes of a file, at most `count`. Rejects with the system's errors. */
export async function firstBytes(path: string, count: number): Promise<Buffer> {
  const handle = await open(path);
  try {
    const begin = Buffer.alloc(count);
    const { bytesRead } = await handle.read(begin, 0, count, 0);
    return begin.subarray(0, bytesRead);
  } finally {
    await handle.close();
  }
}

/** An open file, and the name of its format in messages. */
export class BinaryFile {
  readonly path: string;
  /** Bytes, when the file was opened. */
  readonly size: number;
  readonly #kind: string;
  readonly #handle: FileHandle;

  private constructor(path: string, kind: string, handle: FileHandle, size: number) {
    this.path = path;
    this.size = size;
    this.#kind = kind;
    this.#handle = handle;
  }

  /** Runs `read` on the opened file and closes it. Throws OneheadError MODEL_INVALID if it cannot be opened or read. */
  static with<Result>(path: string, kind: string, read: (file: BinaryFile) => Promise<Result>): Promise<Result> {
    return reading(path, async () => {
      const handle = await open(path);
      try {
        return await read(new BinaryFile(path, kind, handle, (await handle.stat()).size));
      } finally {
        await handle.close();
      }
    });
  }

  /** Throws OneheadError MODEL_INVALID. `problem` completes "... is not a valid ggml file: ...". */
  refuse(problem: string): never {
    throw new OneheadError(
      'MODEL_INVALID',
      `${this.path} is not a valid ${this.#kind} file: ${problem}; download or export it again.`,
    );
  }

  /** Throws unless the file has `bytes` at `offset`. `what` names them in the message. */
  require(offset: number, bytes: number, what: string): void {
    if (!(offset >= 0 && bytes >= 0 && offset + bytes <= this.size)) {
      this.refuse(`${what} would end at byte ${offset + bytes}, but the file has ${this.size} (truncated?)`);
    }
  }

  /** Reads exactly `bytes` at `offset`, or throws. */
  async read(offset: number, bytes: number, what: string): Promise<Buffer> {
    this.require(offset, bytes, what);
    const buffer = Buffer.allocUnsafe(bytes);
    for (let done = 0; done < bytes; ) {
      const { bytesRead } = await this.#handle.read(buffer, done, bytes - done, offset + done);
      if (bytesRead === 0) this.refuse(`it ended at byte ${offset + done} while it was read`);
      done += bytesRead;
    }
    return buffer;
  }
}

/** Bytes that are read ahead: few, since a reader skips the data between the descriptions of tensors. */
const windowBytes = 1 << 12;

/** Reads a file's little-endian fields one after another. `what` names a field in messages. */
export class Cursor {
  readonly #file: BinaryFile;
  #buffer: Buffer = Buffer.alloc(0);
  #begin = 0;
  /** The position of the next field, in bytes. */
  offset: number;

  constructor(file: BinaryFile, offset = 0) {
    this.#file = file;
    this.offset = offset;
  }

  get atEnd(): boolean {
    return this.offset >= this.#file.size;
  }

  async bytes(count: number, what: string): Promise<Buffer> {
    const { offset } = this;
    if (offset < this.#begin || offset + count > this.#begin + this.#buffer.length) {
      this.#file.require(offset, count, what);
      this.#buffer = await this.#file.read(
        offset,
        Math.max(count, Math.min(windowBytes, this.#file.size - offset)),
        what,
      );
      this.#begin = offset;
    }
    this.offset += count;
    return this.#buffer.subarray(offset - this.#begin, offset - this.#begin + count);
  }

  async uint8(what: string): Promise<number> {
    return (await this.bytes(1, what)).readUInt8();
  }

  async uint16(what: string): Promise<number> {
    return (await this.bytes(2, what)).readUInt16LE();
  }

  async uint32(what: string): Promise<number> {
    return (await this.bytes(4, what)).readUInt32LE();
  }

  /** An int32 from `minimum` to `maximum`. */
  async count(what: string, minimum: number, maximum: number): Promise<number> {
    const value = (await this.bytes(4, what)).readInt32LE();
    if (value < minimum || value > maximum) {
      this.#file.refuse(`expected ${what} to be from ${minimum} to ${maximum} but found ${value}`);
    }
    return value;
  }
}

/** A name from a file, shortened and in quotes, for a message. */
export const quoted = (name: string): string => `'${shown(name, 100)}'`;
