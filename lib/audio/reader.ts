/** Buffers a stream of bytes for a parser. */
import { yieldTimeSlice } from '../workers/time-slices.js';

/** Bytes after which other work may run. */
const turnBytes = 1 << 20;

export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #buffer = new Uint8Array(1 << 16);
  #begin = 0;
  #end = 0;
  #sinceTurn = 0;
  #kept: Uint8Array[] | null = null;
  /** Position in the stream of the first byte held. */
  offset = 0;
  /** True if the source has no more bytes. */
  ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The bytes read and not dropped. A view, valid until the next read. */
  get held(): Uint8Array {
    return this.#buffer.subarray(this.#begin, this.#end);
  }

  /** Reads some more bytes; false at the end. */
  async more(): Promise<boolean> {
    if (this.ended) return false;
    const { value, done } = await this.#source.next();
    if (done) {
      this.ended = true;
      return false;
    }
    const held = this.#end - this.#begin;
    if (this.#end + value.length > this.#buffer.length) {
      const large = held + value.length > this.#buffer.length;
      const next = large ? new Uint8Array(Math.max(2 * this.#buffer.length, held + value.length)) : this.#buffer;
      next.set(this.#buffer.subarray(this.#begin, this.#end));
      this.#buffer = next;
      this.#begin = 0;
      this.#end = held;
    }
    this.#buffer.set(value, this.#end);
    this.#end += value.length;
    this.#sinceTurn += value.length;
    if (this.#sinceTurn >= turnBytes) {
      this.#sinceTurn = 0;
      await yieldTimeSlice();
    }
    return true;
  }

  /** Reads until `count` bytes are held; false if the stream ends before. */
  async need(count: number): Promise<boolean> {
    while (this.#end - this.#begin < count) if (!(await this.more())) return false;
    return true;
  }

  /** Drops held bytes. */
  drop(count: number): void {
    this.#kept?.push(this.held.slice(0, count));
    this.#begin += count;
    this.offset += count;
  }

  /** Skips bytes, held or not; false if the stream ends before. */
  async pass(count: number): Promise<boolean> {
    for (let left = count; left > 0; ) {
      const held = Math.min(left, this.#end - this.#begin);
      this.drop(held);
      left -= held;
      if (left > 0 && !(await this.more())) return false;
    }
    return true;
  }

  /** Keeps dropped bytes from now on, for `again`, until `forget`. */
  record(): void {
    this.#kept = [];
  }
  forget(): void {
    this.#kept = null;
  }

  /** All bytes since `record`, and all remaining ones. */
  async *again(): AsyncGenerator<Uint8Array> {
    const kept = this.#kept ?? [];
    this.#kept = null;
    yield* kept;
    yield* this.rest();
  }

  /** All remaining bytes, in blocks; closes the source at the end. */
  async *rest(): AsyncGenerator<Uint8Array> {
    try {
      do {
        const block = this.held.slice();
        this.drop(block.length);
        if (block.length > 0) yield block;
      } while (await this.more());
    } finally {
      await this.close();
    }
  }

  async close(): Promise<void> {
    this.ended = true;
    await this.#source.return?.();
  }
}
