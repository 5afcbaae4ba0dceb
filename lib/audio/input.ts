/** The kinds of audio input. */
import { fileURLToPath } from 'node:url';
import { refuse, requireMemory } from '../checks.js';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { type ByteSource, blobBytes, bufferBytes, fileBytes } from './bytes.js';
import { invalid } from './options.js';
import type { Samples } from './samples.js';
import { streamBytes } from './streams.js';

/**
 * A path or file: URL, encoded bytes, a File or Blob, the body of a Response or Request, a stream of encoded bytes
 * (Node.js, web, or any async iterable), mono samples at the requested rate, or samples with their rate.
 */
export type AudioInput =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Blob
  | Response
  | Request
  | AsyncIterable<Uint8Array>
  | NodeJS.ReadableStream
  | ReadableStream<Uint8Array>
  | Float32Array
  | Samples;

type Stream = Parameters<typeof streamBytes>[0];

const isStream = (input: object): input is Stream => Symbol.asyncIterator in input || 'getReader' in input;

/** Recognized by properties, since runtimes and polyfills have their own classes. */
function isBlob(input: object): input is Blob {
  const { size, slice } = input as Partial<Blob>;
  return typeof size === 'number' && typeof slice === 'function' && 'arrayBuffer' in input;
}

const hasBody = (input: object): input is Response | Request =>
  'body' in input && 'bodyUsed' in input && 'arrayBuffer' in input;

function bodyBytes(message: Response | Request): ByteSource {
  const isResponse = 'status' in message;
  const what = isResponse ? 'response' : 'request';
  const name = message.url ? `the ${what} of ${shown(message.url)}` : `the given ${what}`;
  if (isResponse && message.ok === false) {
    const status = shown(`${message.status} ${message.statusText}`.trim());
    throw new OneheadError('AUDIO_NOT_FOUND', `${name} has status ${status} and no audio; check the address.`);
  }
  if (message.bodyUsed) throw invalid('audio', `${name} was read before; fetch it again.`);
  if (!message.body) throw new OneheadError('AUDIO_INVALID', `${name} has no body; it contains no audio.`);
  return streamBytes(message.body as ReadableStream<Uint8Array>, name);
}

/** The file at a path, or at a file: URL given as text; `expected` is for error messages. */
function pathBytes(path: string, expected = 'a path'): Promise<ByteSource> {
  if (path === '') refuse('audio', expected, path, { advice: 'name an audio file' });
  if (/^data:/i.test(path)) {
    const advice = "pass the bytes of the data: URL, such as Buffer.from(url.split(',')[1], 'base64')";
    refuse('audio', expected, path, { advice });
  }
  if (/^file:\/\//i.test(path)) return fileBytes(filePath(path));
  if (/^([a-z][a-z0-9+.-]*:\/\/|blob:)/i.test(path)) {
    refuse('audio', expected, path, { advice: "fetch the address and pass the response's body" });
  }
  return fileBytes(path);
}

/** The encoded bytes of an input. Throws OneheadError INVALID_ARGUMENT, AUDIO_NOT_FOUND or AUDIO_INVALID. */
export async function byteSource(input: Exclude<AudioInput, Float32Array | Samples>): Promise<ByteSource> {
  if (typeof input === 'string') return pathBytes(input);
  if (input instanceof URL)
    return input.protocol === 'file:' ? fileBytes(filePath(input)) : pathBytes(input.href, 'a file: URL');
  if (input instanceof Uint8Array || input instanceof ArrayBuffer) {
    requireMemory('audio', input);
    return bufferBytes(input instanceof Uint8Array ? input : new Uint8Array(input));
  }
  if (typeof input === 'object' && input !== null) {
    if (isBlob(input)) return blobBytes(input);
    if (hasBody(input)) return bodyBytes(input);
    if (isStream(input)) return streamBytes(input);
  }
  refuse('audio', 'a path, bytes, a File, a Response, samples (Float32Array) or a stream', input);
}

function filePath(url: string | URL): string {
  try {
    return fileURLToPath(url);
  } catch (cause) {
    const advice = `give its path (${reasonOf(cause)})`;
    refuse('audio', 'a file: URL of this computer', String(url), { advice });
  }
}
