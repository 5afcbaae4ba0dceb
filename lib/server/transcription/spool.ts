/**
 * Stores an upload while it arrives: its beginning in memory, the rest in a temporary file. It can be read more than
 * once, and before it is complete.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AudioInput } from '../../audio/index.js';
import { KeptBytes } from '../../audio/streams.js';
import { ApiError } from '../service/api-error.js';

export interface SpoolLimits {
  /** Maximum bytes in memory. */
  memory: number;
  /** Maximum bytes in total. */
  maxBytes: number;
  /** The folder of the temporary file; default: the system's. */
  folder?: string;
}

/** The size of a block in memory, and the maximum size of a chunk that is read. */
const blockBytes = 1 << 16;
const maxChunkBytes = 1 << 18;

export class Spool {
  readonly #limits: SpoolLimits;
  readonly #blocks: Uint8Array[] = [];
  #inMemory = 0;
  #size = 0;
  #file: FileHandle | null = null;
  #path: string | null = null;
  #ended = false;
  #failure: { error: unknown } | null = null;
  /** Readers that wait for more data. */
  #waiting = new Set<() => void>();
  /** Number of active readers. */
  #readers = 0;
  #closed = false;

  constructor(limits: SpoolLimits) {
    this.#limits = limits;
  }

  /** The number of bytes so far. */
  get size(): number {
    return this.#size;
  }

  /**
   * Appends bytes. Rejects with ApiError 413 above the limit, and with the system's error if the disk is full. After
   * `close` the rest of an upload is only counted.
   */
  async write(chunk: Uint8Array): Promise<void> {
    const { maxBytes } = this.#limits;
    if (this.#size + chunk.length > maxBytes) throw tooLarge(maxBytes);
    if (!this.#closed) await this.#keep(chunk);
    this.#size += chunk.length;
    this.#wakeReaders();
  }

  async #keep(chunk: Uint8Array): Promise<void> {
    const fits = this.#file ? 0 : Math.min(chunk.length, this.#limits.memory - this.#inMemory);
    if (fits > 0) this.#store(chunk.subarray(0, fits));
    if (fits === chunk.length) return;
    const file = this.#file ?? (await this.#create());
    const rest = chunk.subarray(fits);
    for (let written = 0; written < rest.length && !this.#closed; ) {
      const position = this.#size + fits - this.#inMemory + written;
      written += (await file.write(rest, written, rest.length - written, position)).bytesWritten;
    }
  }

  /** Copies into blocks of fixed size, since a client may send single bytes, which would each keep a buffer alive. */
  #store(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const offset = this.#inMemory % blockBytes;
      if (offset === 0) this.#blocks.push(new Uint8Array(blockBytes));
      const part = bytes.subarray(done, done + blockBytes - offset);
      this.#blocks[this.#blocks.length - 1].set(part, offset);
      this.#inMemory += part.length;
      done += part.length;
    }
  }

  async #create(): Promise<FileHandle> {
    // For security: no part of the name is from the client, only this user may read the file, and it is unlinked as
    // soon as it is open, where the system supports that.
    const path = join(this.#limits.folder ?? tmpdir(), `onehead-${randomUUID()}`);
    const file = await open(path, 'wx+', 0o600);
    this.#file = file;
    await rm(path).catch(() => {
      this.#path = path;
    });
    // If it was closed meanwhile, nobody else removes the file.
    if (this.#closed && this.#readers === 0) await this.#remove();
    return file;
  }

  /** Marks the upload as complete. */
  end(): void {
    this.#ended = true;
    this.#wakeReaders();
  }

  /** Makes all readers fail with the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wakeReaders();
  }

  #wakeReaders(): void {
    for (const wake of this.#waiting) wake();
    this.#waiting.clear();
  }

  /** Reads at most `length` bytes. */
  async #readAt(position: number, length: number): Promise<Uint8Array> {
    if (position < this.#inMemory) {
      const offset = position % blockBytes;
      const end = Math.min(blockBytes, offset + Math.min(length, this.#inMemory - position));
      return this.#blocks[Math.floor(position / blockBytes)].subarray(offset, end);
    }
    const buffer = new Uint8Array(length);
    const { bytesRead } = await this.#file!.read(buffer, 0, length, position - this.#inMemory);
    return buffer.subarray(0, bytesRead);
  }

  /** Yields all bytes from the beginning, waiting for those that have not arrived. */
  async *bytes(): AsyncGenerator<Uint8Array, void> {
    let position = 0;
    this.#readers += 1;
    try {
      for (;;) {
        if (this.#failure) throw this.#failure.error;
        if (position < this.#size) {
          const chunk = await this.#readAt(position, Math.min(maxChunkBytes, this.#size - position));
          position += chunk.length;
          yield chunk;
        } else if (this.#ended) return;
        else await new Promise<void>((resolve) => this.#waiting.add(resolve));
      }
    } finally {
      this.#readers -= 1;
      if (this.#closed) await this.#remove();
    }
  }

  /** The upload as audio input. Once it is complete, it supports random access. */
  input(): AudioInput {
    // Messages and results do not depend on how much has arrived.
    const name = 'the file';
    if (!this.#ended) return new KeptBytes(name, () => this.bytes());
    const slice = (from: number, to: number) => ({ arrayBuffer: () => this.#slice(from, to) });
    const blob = { name, size: this.#size, slice, arrayBuffer: () => this.#slice(0, this.#size) };
    return blob as unknown as Blob;
  }

  async #slice(from: number, to: number): Promise<ArrayBuffer> {
    const buffer = new Uint8Array(Math.max(0, Math.min(to, this.#size) - from));
    for (let done = 0; done < buffer.length; ) {
      if (this.#failure) throw this.#failure.error;
      const chunk = await this.#readAt(from + done, buffer.length - done);
      buffer.set(chunk, done);
      done += chunk.length;
    }
    return buffer.buffer as ArrayBuffer;
  }

  /** Discards the upload. Readers fail with an ApiError. */
  async close(): Promise<void> {
    this.#closed = true;
    this.fail(new ApiError(499, 'The upload was closed.'));
    this.#blocks.length = 0;
    if (this.#readers === 0) await this.#remove();
  }

  async #remove(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close().catch(() => {});
    if (this.#path !== null) await rm(this.#path, { force: true }).catch(() => {});
  }
}

export function tooLarge(maxBytes: number): ApiError {
  return new ApiError(413, `Maximum content size limit (${maxBytes} bytes) exceeded; send a smaller file.`, {
    param: 'file',
    code: 'file_too_large',
  });
}
