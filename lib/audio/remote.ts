/** Recordings that a worker thread decodes: the main thread supplies the input and delivers the chunks. */
import type { OneheadError } from '../errors.js';
import { onAbort } from '../signals.js';
import { deserializeError, serializeError } from '../workers/errors.js';
import type { Session, WorkerPool } from '../workers/pool.js';
import { yieldTimeSlice } from '../workers/time-slices.js';
import { abortable, type ByteSource, type RandomAccess } from './bytes.js';
import type { FromWorker, Item, Opening, Origin, ToWorker } from './messages.js';
import { onceRead } from './once.js';
import type { Source } from './source.js';
import type { Container } from './tracks.js';
import { Warnings } from './warnings.js';

/**
 * Recordings up to this many bytes are sent to the worker whole, or decoded on this thread while no worker has started:
 * some milliseconds of work.
 */
export const smallBytes = 1 << 18;
/** Chunks of a second that a worker decodes ahead. A stream is read no further than requested. */
const ahead = 8;

type Pulled = Uint8Array | Float32Array[];

/** Input that is read for the worker. */
export interface SentSource {
  origin: Origin;
  /** The bytes or samples from the start; a second call starts again. */
  open(): AsyncIterable<Pulled>;
  random?: RandomAccess;
  stop?: () => void;
}

/**
 * A copy in memory of its own, which can be transferred: the original belongs to the caller. A message with a part of a
 * buffer would copy the whole buffer.
 */
const copyOf = (given: Pulled): Pulled =>
  given instanceof Uint8Array ? new Uint8Array(given) : given.map((channel) => new Float32Array(channel));

const memoryOf = (given: Pulled): ArrayBuffer[] =>
  (given instanceof Uint8Array ? [given] : given).map(({ buffer }) => buffer as ArrayBuffer);

/** The form in which a worker gets a source of bytes. */
export async function sendSource(source: ByteSource): Promise<SentSource> {
  const { name, path, random } = source;
  let first = true;
  const open = () => {
    const bytes = first ? source.bytes : source.again!();
    first = false;
    return bytes;
  };
  const origin = async (): Promise<Origin> => {
    const again = source.again !== undefined;
    if (!random) return { remote: true, name, size: null, again };
    if (path !== undefined) return { path, name, size: random.size };
    if (random.size > smallBytes) return { remote: true, name, size: random.size, again };
    const file = await random.open();
    try {
      return { whole: await file.read(0, random.size), name };
    } finally {
      await file.close();
    }
  };
  return { origin: await origin(), open, random, stop: source.stop };
}

/** Reads of fewer bytes are joined with bytes that are available already; more would read ahead of the request. */
const minReadBytes = 256;

/** One reading of an input from its start. */
class Supplied {
  readonly #iterator: AsyncGenerator<Pulled>;
  /** A read that was started but not consumed. */
  #begun: Promise<IteratorResult<Pulled>> | null = null;

  constructor(iterator: AsyncGenerator<Pulled>) {
    this.#iterator = iterator;
  }

  /** Null at the end. */
  async next(): Promise<Pulled | null> {
    const { value, done } = await this.#read();
    if (done) return null;
    if (!(value instanceof Uint8Array) || value.length >= minReadBytes) return value;
    const parts = [value];
    for (let length = value.length; length < minReadBytes; ) {
      // An error is reported by the next read.
      const more = this.#read();
      this.#begun = more;
      const there = await Promise.race([
        more.catch(() => null),
        new Promise<null>((resolve) => setImmediate(resolve, null)),
      ]);
      if (!there || there.done || !(there.value instanceof Uint8Array)) break;
      this.#begun = null;
      parts.push(there.value);
      length += there.value.length;
    }
    return parts.length === 1 ? value : Buffer.concat(parts);
  }

  #read(): Promise<IteratorResult<Pulled>> {
    const begun = this.#begun ?? this.#iterator.next();
    this.#begun = null;
    return begun;
  }

  /** Ends reading; a stalled stream may never answer. */
  async leave(signal: AbortSignal): Promise<void> {
    const left = this.#iterator.return(undefined).catch(() => {});
    if (!signal.aborted && !this.#begun) await left;
  }
}

/** The main thread's side of a session. */
class Remote<T> {
  readonly opened: Promise<number | null>;
  readonly #given: SentSource;
  readonly #signal: AbortSignal;
  readonly #session: Session;
  readonly #ahead: number;
  readonly #streams = new Map<number, Supplied>();
  #file: ReturnType<RandomAccess['open']> | null = null;
  readonly #items: Item<T>[] = [];
  #failure: OneheadError | null = null;
  #settle: { resolve(duration: number | null): void; reject(error: unknown): void } | null = null;
  /** Requested chunks that have not arrived; answers that the worker waits for. */
  #due: number;
  #answers = 0;
  #waits = true;
  #wake = () => {};
  readonly #stopListening: () => void;
  /** Read errors, which the caller gets unchanged. */
  readonly #errors: unknown[] = [];

  private constructor(session: Session, given: SentSource, signal: AbortSignal, maxAhead: number) {
    this.#given = given;
    this.#signal = signal;
    this.#ahead = maxAhead;
    this.#due = maxAhead;
    this.opened = new Promise((resolve, reject) => {
      this.#settle = { resolve, reject };
    });
    this.opened.catch(() => {});
    this.#session = session;
    this.#stopListening = onAbort(signal, this.#abort);
  }

  /** Null if no thread is available. */
  static open<T>(
    pool: WorkerPool,
    given: SentSource,
    opening: Omit<Opening, 'origin' | 'ahead'>,
    signal: AbortSignal,
    patient: boolean,
  ): Remote<T> | null {
    const whole = 'whole' in given.origin ? new Uint8Array(given.origin.whole) : null;
    const origin = whole ? { ...given.origin, whole } : given.origin;
    const maxAhead = 'remote' in origin && origin.size === null ? 0 : ahead;
    let remote: Remote<T> | null = null;
    const data: Opening = { ...opening, origin, ahead: maxAhead };
    const events = {
      message: (message: unknown) => remote!.#take(message as FromWorker<T>),
      failed: (error: OneheadError) => remote!.#fail(error),
    };
    const session = pool.open('audio', data, events, patient, whole ? memoryOf(whole) : []);
    if (!session) return null;
    remote = new Remote<T>(session, given, signal, maxAhead);
    return remote;
  }

  readonly #abort = () => {
    this.#settle?.reject(this.#signal.reason);
    this.#wake();
  };

  #take(message: FromWorker<T>): void {
    if ('opened' in message) {
      this.#waits = false;
      this.#settle?.resolve(message.opened);
    } else if ('item' in message) {
      const { item } = message;
      this.#due -= 1;
      this.#items.push(item);
      if ('error' in item) this.#settle?.reject(this.#restoreError(item));
      this.#wake();
    } else if ('leave' in message) void this.#streams.get(message.leave)?.leave(this.#signal);
    else if ('pull' in message) void this.#answer(message.answer, () => this.#pull(message.pull));
    else void this.#answer(message.answer, () => this.#read(message.at, message.length));
    this.#reportState();
  }

  #fail(error: OneheadError): void {
    this.#failure = error;
    this.#settle?.reject(error);
    this.#wake();
  }

  /** Reports to the pool whether the thread has work, and whether somebody waits for it. */
  #reportState(): void {
    this.#session.setState(this.#answers === 0 && (this.#waits || this.#due > 0), this.#waits);
  }

  async #answer(answer: number, work: () => Promise<Pulled | null>): Promise<void> {
    this.#answers += 1;
    this.#reportState();
    let message: ToWorker;
    let memory: ArrayBuffer[] = [];
    try {
      const given = await work();
      const copy = given && copyOf(given);
      if (copy) memory = memoryOf(copy);
      message = { answer, given: copy };
    } catch (error) {
      message = { answer, error: serializeError(error, (one) => this.#errors.push(one) - 1) };
    }
    this.#answers -= 1;
    this.#reportState();
    this.#session.post(message, memory);
  }

  async #pull(stream: number): Promise<Pulled | null> {
    let supply = this.#streams.get(stream);
    if (!supply) {
      const { stop } = this.#given;
      const bytes = this.#given.open() as AsyncIterable<Uint8Array>;
      supply = new Supplied(abortable(bytes, this.#signal, stream === 0 ? stop : undefined));
      this.#streams.set(stream, supply);
    }
    return supply.next();
  }

  async #read(at: number, length: number): Promise<Uint8Array> {
    this.#file ??= this.#given.random!.open();
    return (await this.#file).read(at, length);
  }

  #more(count: number): void {
    this.#due += count;
    this.#session.post({ more: count } satisfies ToWorker);
  }

  #restoreError(item: { error: Parameters<typeof deserializeError>[0] }): unknown {
    return deserializeError(item.error, this.#errors);
  }

  /** The next chunk, or null at the end; `learn` gets the facts known then. Throws the errors of reading. */
  async next(learn: (item: Item<T>) => void): Promise<T | null> {
    if (this.#ahead === 0) this.#more(1);
    for (;;) {
      this.#signal.throwIfAborted();
      const item = this.#items.shift();
      if (item) {
        learn(item);
        if ('error' in item) throw this.#restoreError(item);
        if ('end' in item) return null;
        if (this.#ahead > 0 && this.#due <= this.#ahead / 2) this.#more(this.#ahead - this.#due - this.#items.length);
        return item.chunk;
      }
      if (this.#failure) throw this.#failure;
      this.#waits = true;
      this.#reportState();
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
      });
      this.#waits = false;
      this.#reportState();
    }
  }

  /** Stops using the input, and waits until the worker has closed what it opened. */
  async close(): Promise<void> {
    this.#stopListening();
    this.#given.stop?.();
    const closed = this.#session.close();
    for (const stream of this.#streams.values()) await stream.leave(this.#signal);
    await (await this.#file)?.close();
    await closed;
  }
}

/** A source that a worker decodes; null if no thread is available. Throws as `openAudio`. */
export async function fromWorker<T>(
  pool: WorkerPool,
  given: SentSource,
  opening: Omit<Opening, 'origin' | 'ahead'>,
  signal: AbortSignal | undefined,
  patient: boolean,
  leave: () => void = () => {},
): Promise<Source<T> | null> {
  const controller = new AbortController();
  const ends = signal ? AbortSignal.any([signal, controller.signal]) : controller.signal;
  const remote = Remote.open<T>(pool, given, opening, ends, patient);
  if (!remote) return null;
  const warnings = new Warnings();
  const container: Container = { tracks: [], start: 0 };
  const learn = ({ state }: Item<T>) => {
    const { warnings: sentences, incomplete, tracks, start } = state;
    warnings.sentences.push(...sentences);
    warnings.incomplete = incomplete;
    Object.assign(container, { tracks, start });
  };
  const release = async () => {
    leave();
    await remote.close();
  };
  async function* read() {
    try {
      for (;;) {
        const chunk = await remote!.next(learn);
        if (chunk === null) return;
        // Chunks of many recordings may arrive at once; their consumers take turns.
        await yieldTimeSlice();
        yield chunk;
      }
    } finally {
      await release();
    }
  }
  try {
    const duration = await remote.opened;
    return Object.assign(onceRead(duration, controller, warnings, container, read, release), { ownsChunks: true });
  } catch (error) {
    await release();
    throw error;
  }
}
