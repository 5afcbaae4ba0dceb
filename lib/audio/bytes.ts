/** Encoded bytes from a file, a buffer or a stream. */
import { createReadStream } from 'node:fs';
import { type FileHandle, open, stat } from 'node:fs/promises';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { onAbort } from '../signals.js';
import { tooLarge } from './options.js';

/** Random access to bytes, for formats whose index is at the end. */
export interface RandomAccess {
  /** Total bytes. */
  size: number;
  /** Opens the bytes. `read` returns at most `length` bytes from `at`. */
  open(): Promise<{ read(at: number, length: number): Promise<Uint8Array>; close(): Promise<void> }>;
}

export interface ByteSource {
  /** For error messages. */
  name: string;
  bytes: AsyncIterable<Uint8Array>;
  /** Reads everything again from the start; absent for streams that are not kept. */
  again?: () => AsyncIterable<Uint8Array>;
  random?: RandomAccess;
  /** The file's path, for a process that opens the file itself. */
  path?: string;
  /** Stops reading a stream, even during a pending read; the stream itself is not closed. */
  stop?: () => void;
  /** Destroys the stream itself. */
  destroy?: () => void;
}

const chunkBytes = 1 << 18;

/** Explains why a path cannot be opened. */
function notFound(path: string, cause: NodeJS.ErrnoException): string {
  if (path.includes('\0')) return 'it holds a null byte, as bytes do; pass bytes as a Uint8Array';
  // Encoded bytes in place of a path: long, and nothing but the letters of base64.
  if (path.length >= 64 && /^[\w+/=\s-]+$/.test(path)) {
    return "there is no such file; if this is base64, pass its bytes, as Buffer.from(text, 'base64')";
  }
  if (cause.code === 'ENOENT') return 'there is no such file; check the path';
  return `${reasonOf(cause)}; check the path`;
}

/** A file's bytes. Throws OneheadError AUDIO_NOT_FOUND for what cannot be opened, AUDIO_INVALID for an empty file. */
export async function fileBytes(path: string): Promise<ByteSource> {
  const name = shown(path);
  const status = await stat(path).catch((cause: NodeJS.ErrnoException) => {
    const start = path.length >= 4096 ? shown(path, 40) : name;
    throw new OneheadError('AUDIO_NOT_FOUND', `Cannot open ${start}: ${notFound(path, cause)}.`, { cause });
  });
  if (status.isDirectory()) throw new OneheadError('AUDIO_NOT_FOUND', `${name} is a folder; name an audio file in it.`);
  if (!status.isFile()) return { name, bytes: guarded(opened(path), name) };
  if (status.size === 0) throw new OneheadError('AUDIO_INVALID', `${name} is empty; it contains no audio.`);
  return regularFile(path, name, status.size);
}

/** Opens the file at the first read, so that a source that is never read leaves nothing open. */
async function* opened(path: string): AsyncGenerator<Uint8Array> {
  yield* createReadStream(path, { highWaterMark: chunkBytes }) as AsyncIterable<Uint8Array>;
}

/** An existing regular file of `size` bytes. */
export function regularFile(path: string, name: string, size: number): ByteSource & { random: RandomAccess } {
  const again = () => guarded(opened(path), name);
  const random = { size, open: async () => reader(await open(path)) };
  return { name, bytes: again(), again, random, path };
}

function reader(file: FileHandle) {
  return {
    read: async (at: number, length: number) => {
      const into = new Uint8Array(length);
      const { bytesRead } = await file.read(into, 0, length, at);
      return into.subarray(0, bytesRead);
    },
    close: () => file.close(),
  };
}

/** Converts read errors to OneheadError. */
export async function* guarded(stream: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<Uint8Array> {
  try {
    yield* stream;
  } catch (cause) {
    if (cause instanceof OneheadError) throw cause;
    const code = (cause as NodeJS.ErrnoException | undefined)?.code;
    const kind = code === 'EACCES' || code === 'EPERM' ? 'AUDIO_NOT_FOUND' : 'AUDIO_INVALID';
    throw new OneheadError(kind, `Cannot read ${name}: ${reasonOf(cause)}; check that it may be read.`, { cause });
  }
}

export function bufferBytes(buffer: Uint8Array): ByteSource {
  async function* again() {
    for (let at = 0; at < buffer.length; at += chunkBytes) yield buffer.subarray(at, at + chunkBytes);
  }
  const read = async (at: number, length: number) => buffer.subarray(at, at + length);
  const random = { size: buffer.length, open: async () => ({ read, close: async () => {} }) };
  return { name: 'the given data', bytes: again(), again, random };
}

/** A Blob or File, which may be larger than memory. */
export function blobBytes(blob: Blob): ByteSource {
  const name = 'name' in blob && typeof blob.name === 'string' ? shown(blob.name) : 'the given Blob';
  if (blob.size === 0) throw new OneheadError('AUDIO_INVALID', `${name} is empty; it contains no audio.`);
  const read = async (at: number, length: number) => new Uint8Array(await blob.slice(at, at + length).arrayBuffer());
  async function* pieces() {
    for (let at = 0; at < blob.size; at += chunkBytes) yield await read(at, chunkBytes);
  }
  const again = () => guarded(pieces(), name);
  const random = { size: blob.size, open: async () => ({ read, close: async () => {} }) };
  return { name, bytes: again(), again, random };
}

/** Limits a source to `limit` bytes. Throws OneheadError AUDIO_TOO_LARGE, for a stream while it is read. */
export function limitBytes(source: ByteSource, limit: number): ByteSource {
  if (limit === Number.POSITIVE_INFINITY) return source;
  if (source.random) {
    if (source.random.size > limit) throw tooLarge(source.name, limit);
    return source;
  }
  async function* counted(bytes: AsyncIterable<Uint8Array>) {
    let count = 0;
    for await (const chunk of bytes) {
      count += chunk.length;
      if (count > limit) throw tooLarge(source.name, limit);
      yield chunk;
    }
  }
  const { again } = source;
  return { ...source, bytes: counted(source.bytes), ...(again && { again: () => counted(again()) }) };
}

/**
 * The same bytes until `signal` aborts, even while a stalled stream is pending. `stop` is called when reading ends for
 * any reason.
 */
export async function* abortable(
  bytes: AsyncIterable<Uint8Array>,
  signal: AbortSignal,
  stop: () => void = () => {},
): AsyncGenerator<Uint8Array> {
  const iterator = bytes[Symbol.asyncIterator]();
  // Not Promise.race with one promise for the abort: that would hold every chunk until the end.
  let fail: (reason: unknown) => void = () => {};
  const stopListening = onAbort(signal, () => fail(signal.reason));
  try {
    for (;;) {
      signal.throwIfAborted();
      const { value, done } = await new Promise<IteratorResult<Uint8Array>>((resolve, reject) => {
        fail = reject;
        iterator.next().then(resolve, reject);
      });
      if (done) return;
      yield value;
    }
  } catch (error) {
    // A stream that was ended by the same signal throws its own error instead of the signal's reason.
    signal.throwIfAborted();
    throw error;
  } finally {
    stopListening();
    stop();
    // Not waited for after an abort: a stalled stream may never answer.
    const ended = iterator.return?.()?.catch(() => {});
    if (!signal.aborted) await ended;
  }
}

/** The first bytes of a source, and the whole source from the start. */
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

/**
 * The same bytes in blocks of `size`, so that decoders give the same samples however a stream is divided, and are not
 * called for every byte. `cut` may end a block earlier.
 */
export async function* blocks(
  bytes: AsyncIterable<Uint8Array>,
  size: number,
  cut: (block: Uint8Array) => number = (block) => block.length,
): AsyncGenerator<Uint8Array> {
  let block = new Uint8Array(size);
  let held = 0;
  for await (const chunk of bytes) {
    for (let at = 0; at < chunk.length; ) {
      const taken = Math.min(size - held, chunk.length - at);
      block.set(chunk.subarray(at, at + taken), held);
      held += taken;
      at += taken;
      if (held < size) continue;
      const end = cut(block);
      const next = new Uint8Array(size);
      next.set(block.subarray(end));
      held -= end;
      yield block.subarray(0, end);
      block = next;
    }
  }
  if (held > 0) yield block.subarray(0, held);
}
