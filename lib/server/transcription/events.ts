/** Server-sent events for streamed text. */
import { PassThrough, type Readable } from 'node:stream';
import { asApiError } from '../service/api-error.js';

/** Milliseconds without an event after which a comment is sent, so that no proxy closes the connection as idle. */
const keepAlive = 15_000;

/** Text delivered in pieces, which together are the whole text without surrounding spaces. */
export class Deltas {
  #held = '';
  #begun = false;
  #text = '';

  /** The next piece to send; '' if it has to wait. */
  add(text: string): string {
    const more = this.#begun ? this.#held + text : text.trimStart();
    if (more === '') return '';
    this.#begun = true;
    const piece = more.trimEnd();
    this.#held = more.slice(piece.length);
    this.#text += piece;
    return piece;
  }

  /** All pieces so far, joined. */
  get text(): string {
    return this.#text;
  }
}

export class EventStream {
  readonly readable: Readable;
  readonly #stream = new PassThrough();
  readonly #timer: NodeJS.Timeout;
  #begin = () => {};
  /** Resolves with the first event: until then an error can be a response of its own. */
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

  /** True once the response has begun. */
  get open(): boolean {
    return this.#open;
  }

  /** Number of events so far. */
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

  /** Sends the end marker, after which clients stop reading. */
  end(): void {
    this.#write('data: [DONE]\n\n');
    this.#close();
  }

  /** Sends an error after text was sent. */
  fail(error: unknown): void {
    this.#write(`event: error\ndata: ${JSON.stringify(asApiError(error).body)}\n\n`);
    this.#close();
  }

  #close(): void {
    clearInterval(this.#timer);
    this.#stream.end();
  }
}
