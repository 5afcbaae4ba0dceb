/** A stream of bytes, held as far back as a parser still needs it. */
import { turn } from '../workers/turns.js';

/** Bytes after whose parsing other work of the program gets its turn. */
const turnBytes = 1 << 20;

export class ByteReader {
  readonly #source: AsyncIterator<Uint8Array>;
  #buffer = new Uint8Array(1 << 16);
  #begin = 0;
  #end = 0;
  #sinceTurn = 0;
  #kept: Uint8Array[] | null = null;
  /** Place in the stream of the first byte held. */
  offset = 0;
  /** True when the source has no more. */
  ended = false;

  constructor(source: AsyncIterable<Uint8Array>) {
    this.#source = source[Symbol.asyncIterator]();
  }

  /** The bytes read and not dropped. A view, which the next reading invalidates. */
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
      await turn();
    }
    return true;
  }

  /** Reads until `count` bytes are held; false when there are fewer. */
  async need(count: number): Promise<boolean> {
    while (this.#end - this.#begin < count) if (!(await this.more())) return false;
    return true;
  }

  /** Forgets held bytes. */
  drop(count: number): void {
    this.#kept?.push(this.held.slice(0, count));
    this.#begin += count;
    this.offset += count;
  }

  /** Passes over bytes, held or not; false when the stream ends before. */
  async pass(count: number): Promise<boolean> {
    for (let left = count; left > 0; ) {
      const held = Math.min(left, this.#end - this.#begin);
      this.drop(held);
      left -= held;
      if (left > 0 && !(await this.more())) return false;
    }
    return true;
  }

  /** Keeps what is dropped from now on, for `again`, until it is forgotten. */
  record(): void {
    this.#kept = [];
  }
  forget(): void {
    this.#kept = null;
  }

  /** All since `record`, and all that is left. */
  async *again(): AsyncGenerator<Uint8Array> {
    const kept = this.#kept ?? [];
    this.#kept = null;
    yield* kept;
    yield* this.rest();
  }

  /** All that is left, in blocks; closes at the end. */
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
