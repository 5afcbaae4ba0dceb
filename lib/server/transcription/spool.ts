/**
 * Stores an upload while it arrives: the beginning in memory, the rest in a temporary file. It can be read repeatedly.
 */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AudioInput } from '../../audio/index.js';
import { ApiError } from '../service/api-error.js';

export interface SpoolLimits {
  /** Maximum bytes in memory. */
  memory: number;
  /** Maximum bytes in total. */
  maxBytes: number;
  folder?: string;
}

const blockBytes = 1 << 16;
const pieceBytes = 1 << 18;

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
  #wake = new Set<() => void>();
  #reading = 0;
  #closed = false;

  constructor(limits: SpoolLimits) {
    this.#limits = limits;
  }

  /** Bytes so far. */
  get size(): number {
    return this.#size;
  }

  /** Appends bytes. Rejects with ApiError 413 above the limit, and with the system's error if the disk is full. */
  async write(chunk: Uint8Array): Promise<void> {
    const { memory, maxBytes } = this.#limits;
    if (this.#size + chunk.length > maxBytes) throw tooLarge(maxBytes);
    const fits = this.#file ? 0 : Math.min(chunk.length, memory - this.#inMemory);
    if (fits > 0) this.#keep(chunk.subarray(0, fits));
    if (fits < chunk.length) {
      const file = this.#file ?? (await this.#create());
      const rest = chunk.subarray(fits);
      for (let written = 0; written < rest.length; ) {
        const place = this.#size + fits - this.#inMemory + written;
        written += (await file.write(rest, written, rest.length - written, place)).bytesWritten;
      }
    }
    this.#size += chunk.length;
    this.#wakeReaders();
  }

  /** Copies into blocks of fixed size: a client that sends single bytes would otherwise use one buffer for each. */
  #keep(bytes: Uint8Array): void {
    for (let done = 0; done < bytes.length; ) {
      const place = this.#inMemory % blockBytes;
      if (place === 0) this.#blocks.push(new Uint8Array(blockBytes));
      const piece = bytes.subarray(done, done + blockBytes - place);
      this.#blocks[this.#blocks.length - 1].set(piece, place);
      this.#inMemory += piece.length;
      done += piece.length;
    }
  }

  async #create(): Promise<FileHandle> {
    // The name contains nothing from the client, nobody else may read the file, and it is unlinked as soon as it is
    // open, if the system supports that.
    const path = join(this.#limits.folder ?? tmpdir(), `onehead-${randomUUID()}`);
    this.#file = await open(path, 'wx+', 0o600);
    await rm(path).catch(() => {
      this.#path = path;
    });
    return this.#file;
  }

  /** Marks the upload as complete. */
  end(): void {
    this.#ended = true;
    this.#wakeReaders();
  }

  /** Fails the upload: readers get the error. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#wakeReaders();
  }

  #wakeReaders(): void {
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }

  async #readAt(at: number, length: number): Promise<Uint8Array> {
    if (at < this.#inMemory) {
      const place = at % blockBytes;
      const end = Math.min(blockBytes, place + Math.min(length, this.#inMemory - at));
      return this.#blocks[Math.floor(at / blockBytes)].subarray(place, end);
    }
    const into = new Uint8Array(length);
    const { bytesRead } = await this.#file!.read(into, 0, length, at - this.#inMemory);
    return into.subarray(0, bytesRead);
  }

  /** The bytes from the start, waiting for more as they arrive. */
  async *bytes(): AsyncGenerator<Uint8Array, void> {
    let at = 0;
    this.#reading += 1;
    try {
      for (;;) {
        if (this.#failure) throw this.#failure.error;
        if (at < this.#size) {
          const piece = await this.#readAt(at, Math.min(pieceBytes, this.#size - at));
          at += piece.length;
          yield piece;
        } else if (this.#ended) return;
        else await new Promise<void>((resolve) => this.#wake.add(resolve));
      }
    } finally {
      this.#reading -= 1;
      if (this.#closed) await this.#remove();
    }
  }

  /** The recording as input; it supports random access once all has arrived. */
  input(): AudioInput {
    if (!this.#ended) return this.bytes();
    if (!this.#file) return Buffer.concat(this.#blocks).subarray(0, this.#size);
    const slice = (from: number, to: number) => ({ arrayBuffer: () => this.#slice(from, to) });
    const blob = { name: 'the file', size: this.#size, slice, arrayBuffer: () => this.#slice(0, this.#size) };
    return blob as unknown as Blob;
  }

  async #slice(from: number, to: number): Promise<ArrayBuffer> {
    const into = new Uint8Array(Math.max(0, Math.min(to, this.#size) - from));
    for (let done = 0; done < into.length; ) {
      if (this.#failure) throw this.#failure.error;
      const piece = await this.#readAt(from + done, into.length - done);
      into.set(piece, done);
      done += piece.length;
    }
    return into.buffer as ArrayBuffer;
  }

  /** Discards everything. Readers get an error. */
  async close(): Promise<void> {
    this.#closed = true;
    this.fail(new ApiError(499, 'The upload was closed.'));
    this.#blocks.length = 0;
    if (this.#reading === 0) await this.#remove();
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
