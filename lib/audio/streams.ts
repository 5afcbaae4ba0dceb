/**
 * Reads the bytes of the caller's streams without closing them: an upload's request still needs its response. Reading
 * stops when enough was read; only an abort by the stream's owner destroys it.
 */
import { refuse, requireMemory } from '../checks.js';
import { OneheadError } from '../errors.js';
import { type ByteSource, guarded } from './bytes.js';

/** The part of a Node.js stream that is used, whichever package made it. */
interface NodeStream {
  read(): unknown;
  on(event: string, listener: (error?: unknown) => void): unknown;
  removeListener(event: string, listener: (error?: unknown) => void): unknown;
  destroy?(): unknown;
  destroyed?: boolean;
  readableEnded?: boolean;
  errored?: Error | null;
  closed?: boolean;
}

interface Reader {
  bytes: AsyncIterable<unknown>;
  stop?: () => void;
  destroy?: () => void;
}

function isNodeStream(stream: object): stream is NodeStream {
  const { read, on, removeListener } = stream as Partial<NodeStream>;
  return [read, on, removeListener].every((method) => typeof method === 'function');
}

/**
 * Handles a Node.js stream's error events until the returned function is called: a stream that fails before it is read
 * would otherwise end the process with an unhandled error. The reader later takes the failure from the stream itself.
 * The event of a failure then may still follow.
 */
export function catchEarlyErrors(audio: unknown): () => void {
  if (typeof audio !== 'object' || audio === null || !isNodeStream(audio)) return () => {};
  const ignore = () => {};
  audio.on('error', ignore);
  const forget = () => void audio.removeListener('error', ignore);
  return () => void (audio.errored && !audio.closed ? audio.on('close', forget) : forget());
}

/** Destroys a caller's stream, or the body of a response or request. Other inputs hold nothing open. */
export function destroyStream(audio: unknown): void {
  if (typeof audio !== 'object' || audio === null) return;
  if (isNodeStream(audio)) audio.destroy?.();
  else {
    const stream = 'getReader' in audio ? audio : (audio as Partial<Response>).body;
    // It rejects if somebody else reads the stream.
    (stream as ReadableStream | null | undefined)?.cancel?.().catch(() => {});
  }
}

/** Unlike the stream's own iterator this one destroys nothing, and can be stopped while it waits. */
function readNode(stream: NodeStream): Reader {
  let stopped = false;
  let wake = () => {};
  async function* bytes() {
    if (stream.readableEnded) return;
    let ended = false;
    let closed = stream.destroyed ?? false;
    let failure: { error: unknown } | null = stream.errored ? { error: stream.errored } : null;
    const listeners: Record<string, (error?: unknown) => void> = {
      readable: () => wake(),
      end: () => {
        ended = true;
        wake();
      },
      close: () => {
        closed = true;
        wake();
      },
      error: (error) => {
        failure ??= { error };
        wake();
      },
    };
    for (const [event, listener] of Object.entries(listeners)) stream.on(event, listener);
    try {
      while (!stopped) {
        const chunk = failure || closed ? null : stream.read();
        if (chunk !== null) {
          yield chunk;
          continue;
        }
        if (failure) throw (failure as { error: unknown }).error;
        if (ended) return;
        if (closed) throw new Error('it was closed before its end');
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    } finally {
      for (const [event, listener] of Object.entries(listeners)) stream.removeListener(event, listener);
    }
  }
  return {
    bytes: bytes(),
    stop: () => {
      stopped = true;
      wake();
    },
    destroy: () => void stream.destroy?.(),
  };
}

function readWeb(stream: ReadableStream<Uint8Array>): Reader {
  if (stream.locked) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      'The given stream is already being read, or was read before; pass one that is not.',
      { argument: 'audio' },
    );
  }
  let reader: ReadableStreamDefaultReader<Uint8Array> | null = null;
  async function* bytes() {
    reader = stream.getReader();
    for (let got = await reader.read(); !got.done; got = await reader.read()) yield got.value;
  }
  const stop = () => {
    reader?.releaseLock();
    reader = null;
  };
  return { bytes: bytes(), stop, destroy: () => void (reader ?? stream).cancel().catch(() => {}) };
}

/** Bytes that their owner keeps while they arrive, such as an upload: each reading starts again. */
export class KeptBytes implements AsyncIterable<Uint8Array> {
  /** For error messages. */
  readonly name: string;
  readonly #read: () => AsyncIterable<Uint8Array>;

  constructor(name: string, read: () => AsyncIterable<Uint8Array>) {
    this.name = name;
    this.#read = read;
  }

  [Symbol.asyncIterator](): AsyncIterator<Uint8Array> {
    return this.#read()[Symbol.asyncIterator]();
  }
}

/** A Node stream, web stream or any iterable of byte chunks; `name` is for error sentences. */
export function streamBytes(
  stream: AsyncIterable<Uint8Array> | ReadableStream<Uint8Array> | NodeJS.ReadableStream,
  name = 'the given stream',
): ByteSource {
  if (stream instanceof KeptBytes) {
    const again = () => guarded(stream, stream.name);
    return { name: stream.name, bytes: again(), again };
  }
  let reader: Reader;
  if ('getReader' in stream) reader = readWeb(stream);
  else if (isNodeStream(stream)) reader = readNode(stream);
  else reader = { bytes: stream as AsyncIterable<unknown> };
  async function* checked() {
    for await (const chunk of reader.bytes) {
      if (!(chunk instanceof Uint8Array)) {
        refuse('chunks of the stream', 'bytes (Uint8Array)', chunk, { advice: 'do not set an encoding on the stream' });
      }
      requireMemory('chunks of the stream', chunk);
      yield chunk;
    }
  }
  return { name, bytes: guarded(checked(), name), stop: reader.stop, destroy: reader.destroy };
}
