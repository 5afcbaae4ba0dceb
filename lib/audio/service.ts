/** The worker's side of `remote.ts`: decodes recordings for the main thread. */
import type { Transferable } from 'node:worker_threads';
import { OneheadError } from '../errors.js';
import { deserializeError, serializeError } from '../workers/errors.js';
import type { Served, Service } from '../workers/serve.js';
import { type ByteSource, bufferBytes, regularFile } from './bytes.js';
import { apart, type ChannelReader, mixed } from './channels.js';
import { convert } from './convert.js';
import type { FromWorker, Opening, State, ToWorker } from './messages.js';
import { onceRead } from './once.js';
import { fromBytes } from './read.js';
import type { Source } from './source.js';
import { Warnings } from './warnings.js';
import type { DecodedChunk } from './wav.js';

type Samples = Float32Array | Float32Array[];
type Post = (message: FromWorker<Samples>, transfer?: readonly Transferable[]) => void;
type Pulled = Uint8Array | Float32Array[];

/** Input that the main thread reads for this thread. */
class RequestedInput {
  readonly #post: Post;
  readonly #waiting = new Map<number, { resolve(given: Pulled | null): void; reject(error: unknown): void }>();
  #answers = 0;
  #streams = 0;
  #closed = false;

  constructor(post: Post) {
    this.#post = post;
  }

  #request(message: (answer: number) => FromWorker<Samples>): Promise<Pulled | null> {
    return new Promise((resolve, reject) => {
      if (this.#closed) return reject(new OneheadError('DISPOSED', 'The audio was closed while it was read.'));
      const answer = this.#answers++;
      this.#waiting.set(answer, { resolve, reject });
      this.#post(message(answer));
    });
  }

  take(message: Exclude<ToWorker, { more: number }>): void {
    const waiting = this.#waiting.get(message.answer);
    this.#waiting.delete(message.answer);
    if ('error' in message) waiting?.reject(deserializeError(message.error));
    else waiting?.resolve(message.given);
  }

  /** All input from the start; each call starts again. */
  stream<T extends Pulled>(): AsyncGenerator<T> {
    const pull = this.#streams++;
    const request = () => this.#request((answer) => ({ pull, answer })) as Promise<T | null>;
    const leave = () => this.#post({ leave: pull });
    return (async function* () {
      try {
        for (let given = await request(); given !== null; given = await request()) yield given;
      } finally {
        leave();
      }
    })();
  }

  bytes(name: string, size: number | null, canStartAgain: boolean): ByteSource {
    const again = () => this.stream<Uint8Array>();
    const source = { name, bytes: again(), ...(canStartAgain && { again }) };
    if (size === null) return source;
    const read = (at: number, length: number) =>
      this.#request((answer) => ({ at, length, answer })) as Promise<Uint8Array>;
    const random = { size, open: async () => ({ read, close: async () => {} }) };
    return { ...source, random };
  }

  close(): void {
    this.#closed = true;
    for (const { reject } of this.#waiting.values()) {
      reject(new OneheadError('DISPOSED', 'The audio was closed while it was read.'));
    }
    this.#waiting.clear();
  }
}

/** Samples in their own buffer, so that it can be transferred. */
const owned = (samples: Float32Array): Float32Array =>
  samples.byteLength === samples.buffer.byteLength ? samples : samples.slice();

/** The changes since the last message. */
function stateOf({ warnings, incomplete, tracks = [], startTime = 0 }: Source<Samples>, reported: number): State {
  return { warnings: warnings.slice(reported), incomplete, tracks: [...tracks], start: startTime };
}

async function open({ origin, reading, apart: separate }: Opening, supply: RequestedInput, signal: AbortSignal) {
  const way = (separate ? apart : mixed) as ChannelReader<Samples>;
  if ('sampleRate' in origin) {
    const { sampleRate, duration, name } = origin;
    const warnings = new Warnings();
    const pick = way.pick(reading.channels, name, warnings.warn);
    async function* decoded(): AsyncGenerator<DecodedChunk> {
      for await (const channels of supply.stream<Float32Array[]>()) yield { channels, sampleRate };
    }
    return onceRead(duration, new AbortController(), warnings, { tracks: [], start: 0 }, () =>
      way.shape(convert(decoded(), pick, reading.sampleRate, name, signal)),
    );
  }
  const { name } = origin;
  const source =
    'path' in origin
      ? regularFile(origin.path, name, origin.size)
      : 'whole' in origin
        ? { ...bufferBytes(origin.whole), name }
        : supply.bytes(name, origin.size, origin.again);
  return fromBytes(source, reading, way, signal);
}

export const audioService: Service = (opening: Opening, given): Served => {
  const post = given as unknown as Post;
  const supply = new RequestedInput(post);
  const controller = new AbortController();
  let credit = opening.ahead;
  let wake = () => {};
  const wanted = async () => {
    while (credit === 0) {
      await new Promise<void>((resolve) => {
        wake = resolve;
      });
      controller.signal.throwIfAborted();
    }
    credit -= 1;
  };
  const run = async () => {
    let source: Source<Samples> | null = null;
    let reported = 0;
    const state = () => {
      if (!source) return { warnings: [], incomplete: false, tracks: [], start: 0 };
      const now = stateOf(source, reported);
      reported += now.warnings.length;
      return now;
    };
    try {
      source = await open(opening, supply, controller.signal);
      post({ opened: source.duration });
      await wanted();
      for await (const chunk of source.chunks()) {
        const samples = chunk instanceof Float32Array ? owned(chunk) : chunk.map(owned);
        const buffers = (samples instanceof Float32Array ? [samples] : samples).map(({ buffer }) => buffer);
        post({ item: { state: state(), chunk: samples } }, buffers as ArrayBuffer[]);
        await wanted();
      }
      post({ item: { state: state(), end: true } });
    } catch (error) {
      post({ item: { state: state(), error: serializeError(error) } });
    } finally {
      await source?.close();
    }
  };
  const running = run();
  return {
    receive: (message: ToWorker) => {
      if ('more' in message) {
        credit += message.more;
        wake();
      } else supply.take(message);
    },
    close: async () => {
      controller.abort(new OneheadError('DISPOSED', 'The audio was closed while it was read; close it afterwards.'));
      supply.close();
      wake();
      await running;
    },
  };
};
