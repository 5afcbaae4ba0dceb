/** Encoded bytes from whatever the caller has: a file, a buffer, a stream. */
import { createReadStream } from 'node:fs';
import { stat } from 'node:fs/promises';
import { OneheadError } from '../errors.js';

export interface ByteSource {
  /** For error sentences. */
  name: string;
  bytes: AsyncIterable<Uint8Array>;
}

const chunkBytes = 1 << 18;

/** A file's bytes. Throws OneheadError AUDIO_NOT_FOUND for what cannot be opened, AUDIO_INVALID for an empty file. */
export async function fileBytes(path: string): Promise<ByteSource> {
  const status = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    const reason =
      cause.code === 'ENOENT'
        ? 'there is no such file'
        : cause.code === 'EACCES'
          ? 'it may not be read'
          : cause.message;
    throw new OneheadError('AUDIO_NOT_FOUND', `Cannot open ${path}: ${reason}; check the path.`, { cause });
  });
  if (status.isDirectory()) throw new OneheadError('AUDIO_NOT_FOUND', `${path} is a folder; name an audio file in it.`);
  if (status.isFile() && status.size === 0)
    throw new OneheadError('AUDIO_INVALID', `${path} is empty; it contains no audio.`);
  // Opened when the first bytes are wanted, so that a source never read leaves nothing open.
  async function* opened() {
    yield* createReadStream(path, { highWaterMark: chunkBytes }) as AsyncIterable<Uint8Array>;
  }
  return { name: path, bytes: guarded(opened(), path) };
}

/** Read errors as one sentence. */
async function* guarded(stream: AsyncIterable<Uint8Array>, name: string): AsyncIterable<Uint8Array> {
  try {
    yield* stream;
  } catch (cause) {
    const { code, message } = cause as NodeJS.ErrnoException;
    if (cause instanceof OneheadError) throw cause;
    const kind = code === 'EACCES' || code === 'EPERM' ? 'AUDIO_NOT_FOUND' : 'AUDIO_INVALID';
    throw new OneheadError(kind, `Cannot read ${name}: ${message}; check that it may be read.`, { cause });
  }
}

export function bufferBytes(buffer: Uint8Array): ByteSource {
  async function* pieces() {
    for (let at = 0; at < buffer.length; at += chunkBytes) yield buffer.subarray(at, at + chunkBytes);
  }
  return { name: 'the given bytes', bytes: pieces() };
}

/** A Node stream, web stream or any iterable of byte chunks. */
export function streamBytes(stream: AsyncIterable<Uint8Array>): ByteSource {
  async function* checked() {
    for await (const chunk of stream) {
      if (!(chunk instanceof Uint8Array)) {
        throw new OneheadError(
          'INVALID_ARGUMENT',
          `Expected the stream to give bytes (Uint8Array) but received ${typeof chunk}; do not set an encoding on it.`,
        );
      }
      yield chunk;
    }
  }
  return { name: 'the given stream', bytes: guarded(checked(), 'the given stream') };
}

/** The same bytes until `signal` aborts, even while a stream that gives nothing is waited for. */
export async function* abortable(bytes: AsyncIterable<Uint8Array>, signal?: AbortSignal): AsyncGenerator<Uint8Array> {
  if (!signal) {
    yield* bytes;
    return;
  }
  const iterator = bytes[Symbol.asyncIterator]();
  let stop = () => {};
  const aborted = new Promise<never>((_, reject) => {
    stop = () => reject(signal.reason);
  });
  aborted.catch(() => {}); // it is waited for below, or not at all
  signal.addEventListener('abort', stop, { once: true });
  try {
    for (;;) {
      signal.throwIfAborted();
      const { value, done } = await Promise.race([iterator.next(), aborted]);
      if (done) return;
      yield value;
    }
  } finally {
    signal.removeEventListener('abort', stop);
    // Not waited for: a stalled stream may never answer.
    iterator.return?.()?.catch(() => {});
  }
}

/** The first bytes of a source, and the whole source again. */
export async function peek(
  bytes: AsyncIterable<Uint8Array>,
  count: number,
): Promise<{ head: Uint8Array; rest: AsyncIterable<Uint8Array>; close: () => Promise<void> }> {
  const iterator = bytes[Symbol.asyncIterator]();
  const chunks: Uint8Array[] = [];
  let length = 0;
  while (length < count) {
    const { value, done } = await iterator.next();
    if (done) break;
    chunks.push(value);
    length += value.length;
  }
  const head = Buffer.concat(chunks);
  const close = async () => {
    await iterator.return?.();
  };
  async function* rest() {
    try {
      if (head.length > 0) yield head as Uint8Array;
      for (;;) {
        const { value, done } = await iterator.next();
        if (done) return;
        yield value;
      }
    } finally {
      await close();
    }
  }
  return { head, rest: rest(), close };
}
