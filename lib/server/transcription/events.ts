/** Server-sent events: text as it is written. */
import { PassThrough, type Readable } from 'node:stream';
import { asApiError } from '../service/api-error.js';

/**
 * Milliseconds after which a comment is sent where there was no event, so that nothing on the way takes the connection
 * for dead.
 */
const keepAlive = 15_000;

/** Text that is given out in pieces which join to the whole without blanks around it. */
export class Deltas {
  #held = '';
  #begun = false;
  #text = '';

  /** The next piece of what may be given out; '' where that has to wait. */
  add(text: string): string {
    const more = this.#begun ? this.#held + text : text.trimStart();
    if (more === '') return '';
    this.#begun = true;
    const piece = more.trimEnd();
    this.#held = more.slice(piece.length);
    this.#text += piece;
    return piece;
  }

  /** All pieces so far. */
  get text(): string {
    return this.#text;
  }
}

export class EventStream {
  readonly readable: Readable;
  readonly #stream = new PassThrough();
  readonly #timer: NodeJS.Timeout;
  #begin = () => {};
  /** Settled with the first event: until then an error can still be an answer of its own. */
  readonly begun: Promise<void>;
  #open = false;
  #count = 0;

  constructor() {
    this.readable = this.#stream;
    this.begun = new Promise((resolve) => {
      this.#begin = resolve;
    });
    this.#timer = setInterval(() => this.#write(': still at work\n\n'), keepAlive).unref();
  }

  /** True when the answer has begun. */
  get open(): boolean {
    return this.#open;
  }

  /** Events so far. */
  get count(): number {
    return this.#count;
  }

  #write(text: string): void {
    if (!this.#stream.writable) return;
    this.#open = true;
    this.#stream.write(text);
    this.#begin();
  }

  send(event: { type: string; [member: string]: unknown }): void {
    this.#count += 1;
    this.#write(`data: ${JSON.stringify(event)}\n\n`);
    this.#timer.refresh();
  }

  /** The end, after which a client reads no further. */
  end(): void {
    this.#write('data: [DONE]\n\n');
    this.#close();
  }

  /** An error after text was sent. */
  fail(error: unknown): void {
    this.#write(`event: error\ndata: ${JSON.stringify(asApiError(error).body)}\n\n`);
    this.#close();
  }

  #close(): void {
    clearInterval(this.#timer);
    this.#stream.end();
  }
}
