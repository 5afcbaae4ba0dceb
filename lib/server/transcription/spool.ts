/** An upload as it comes: its beginning in memory, what is more in a temporary file, to be read from the start as often as wanted. */
import { randomUUID } from 'node:crypto';
import { type FileHandle, open, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { AudioInput } from '../../audio/index.js';
import { ApiError } from '../service/api-error.js';

export interface SpoolLimits {
  /** Bytes that are held in memory. */
  memory: number;
  /** Bytes in all. */
  most: number;
  folder?: string;
}

const pieceBytes = 1 << 18;

export class Spool {
  readonly #limits: SpoolLimits;
  readonly #chunks: Uint8Array[] = [];
  #inMemory = 0;
  #size = 0;
  #file: FileHandle | null = null;
  #path: string | null = null;
  #ended = false;
  #failure: { error: unknown } | null = null;
  /** Those who wait for more. */
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

  /** Takes more bytes. Rejects with ApiError 413 where they are too many, and with the system's error where the disk is full. */
  async write(chunk: Uint8Array): Promise<void> {
    const { memory, most } = this.#limits;
    if (this.#size + chunk.length > most) throw tooLarge(most);
    const fits = this.#file ? 0 : Math.min(chunk.length, memory - this.#inMemory);
    if (fits > 0) {
      this.#chunks.push(fits === chunk.length ? chunk : chunk.slice(0, fits));
      this.#inMemory += fits;
    }
    if (fits < chunk.length) {
      const file = this.#file ?? (await this.#create());
      const rest = chunk.subarray(fits);
      for (let written = 0; written < rest.length; ) {
        const place = this.#size + fits - this.#inMemory + written;
        written += (await file.write(rest, written, rest.length - written, place)).bytesWritten;
      }
    }
    this.#size += chunk.length;
    this.#tell();
  }

  async #create(): Promise<FileHandle> {
    // Nothing of the client's is in the name, nobody else may read it, and it has no name as soon as it is open, where the system allows that.
    const path = join(this.#limits.folder ?? tmpdir(), `onehead-${randomUUID()}`);
    this.#file = await open(path, 'wx+', 0o600);
    await rm(path).catch(() => {
      this.#path = path;
    });
    return this.#file;
  }

  /** All is there. */
  end(): void {
    this.#ended = true;
    this.#tell();
  }

  /** No more will come: readers are told why. */
  fail(error: unknown): void {
    this.#failure ??= { error };
    this.#tell();
  }

  #tell(): void {
    for (const wake of this.#wake) wake();
    this.#wake.clear();
  }

  async #readAt(at: number, length: number): Promise<Uint8Array> {
    let start = 0;
    for (const chunk of at < this.#inMemory ? this.#chunks : []) {
      if (at < start + chunk.length) return chunk.subarray(at - start, at - start + length);
      start += chunk.length;
    }
    const into = new Uint8Array(length);
    const { bytesRead } = await this.#file!.read(into, 0, length, at - this.#inMemory);
    return into.subarray(0, bytesRead);
  }

  /** From the start on, and further as more comes. */
  async *bytes(): AsyncGenerator<Uint8Array, void> {
    let chunk = 0;
    let at = 0;
    this.#reading += 1;
    try {
      for (;;) {
        if (this.#failure) throw this.#failure.error;
        if (chunk < this.#chunks.length) {
          at += this.#chunks[chunk].length;
          yield this.#chunks[chunk++];
        } else if (at < this.#size) {
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

  /** What a recording is read from: any place of it where all is there. */
  input(): AudioInput {
    if (!this.#ended) return this.bytes();
    if (!this.#file) return Buffer.concat(this.#chunks);
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

  /** Forgets all. Those who still read are told that it is over. */
  async close(): Promise<void> {
    this.#closed = true;
    this.fail(new ApiError(499, 'The upload is over.'));
    this.#chunks.length = 0;
    if (this.#reading === 0) await this.#remove();
  }

  async #remove(): Promise<void> {
    const file = this.#file;
    this.#file = null;
    await file?.close().catch(() => {});
    if (this.#path !== null) await rm(this.#path, { force: true }).catch(() => {});
  }
}

export function tooLarge(most: number): ApiError {
  return new ApiError(413, `Maximum content size limit (${most} bytes) exceeded; send a smaller file.`, {
    param: 'file',
    code: 'file_too_large',
  });
}
