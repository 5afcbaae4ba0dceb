/** Server-sent events for a streamed transcription. */
import { PassThrough, type Readable } from 'node:stream';
import { asApiError } from '../service/api-error.js';

/** Milliseconds without an event after which a comment is sent, so that proxies do not close the idle connection. */
const keepAliveInterval = 15_000;

/** Trims the text of a stream: the deltas together have no space at the beginning and end. */
export class Deltas {
  /** Spaces to be sent before the next text. */
  #pendingSpace = '';
  #started = false;
  #text = '';

  /** Returns the delta to send; '' if there is none yet. */
  add(text: string): string {
    const pending = this.#started ? this.#pendingSpace + text : text.trimStart();
    if (pending === '') return '';
    this.#started = true;
    const delta = pending.trimEnd();
    this.#pendingSpace = pending.slice(delta.length);
    this.#text += delta;
    return delta;
  }

  /** All deltas so far, joined. */
  get text(): string {
    return this.#text;
  }
}

/** The body of a streamed response. */
export class EventStream {
  readonly readable: Readable;
  readonly #stream = new PassThrough();
  readonly #timer: NodeJS.Timeout;
  #resolveStarted = () => {};
  /** Resolves when the body begins. Until then an error can still be sent with its own status. */
  readonly started: Promise<void>;
  #open = false;
  #count = 0;

  constructor() {
    this.readable = this.#stream;
    this.started = new Promise((resolve) => {
      this.#resolveStarted = resolve;
    });
    this.#timer = setInterval(() => this.#write(': keep-alive\n\n'), keepAliveInterval).unref();
  }

  /** True once the body has begun. */
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
    this.#resolveStarted();
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

  /** Ends a body that was not begun: the error is sent with its own status. */
  discard(): void {
    clearInterval(this.#timer);
    this.#stream.destroy();
  }

  #close(): void {
    clearInterval(this.#timer);
    this.#stream.end();
  }
}
