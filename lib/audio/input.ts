/** What can be given as audio. */
import { fileURLToPath } from 'node:url';
import { type ByteSource, bufferBytes, fileBytes } from './bytes.js';
import { invalid, kindOf } from './options.js';
import type { Samples } from './samples.js';
import { streamBytes } from './streams.js';

/** A path or file: URL, encoded bytes, mono samples at the rate asked for, samples at another rate, or a stream of encoded bytes. */
export type AudioInput =
  | string
  | URL
  | Uint8Array
  | ArrayBuffer
  | Float32Array
  | Samples
  | AsyncIterable<Uint8Array>
  | NodeJS.ReadableStream
  | ReadableStream<Uint8Array>;

/** Encoded bytes of an input. Throws OneheadError INVALID_ARGUMENT, AUDIO_NOT_FOUND or AUDIO_INVALID. */
export async function byteSource(input: Exclude<AudioInput, Float32Array | Samples>): Promise<ByteSource> {
  if (typeof input === 'string') {
    if (input === '') throw invalid('audio', 'Expected a path but received an empty string; name an audio file.');
    if (/^https?:\/\//i.test(input)) {
      throw invalid(
        'audio',
        `Expected a path but received the address ${input}; fetch it and pass the response's body.`,
      );
    }
    return fileBytes(/^file:\/\//i.test(input) ? filePath(input) : input);
  }
  if (input instanceof URL) return fileBytes(filePath(input));
  if (input instanceof Uint8Array) return bufferBytes(input);
  if (input instanceof ArrayBuffer) return bufferBytes(new Uint8Array(input));
  if (typeof input === 'object' && input !== null && (Symbol.asyncIterator in input || 'getReader' in input)) {
    return streamBytes(input);
  }
  throw invalid(
    'audio',
    `Expected audio to be a path, bytes, samples (Float32Array) or a stream but received ${kindOf(input)}.`,
  );
}

function filePath(url: string | URL): string {
  const { protocol } = typeof url === 'string' ? { protocol: 'file:' } : url;
  if (protocol !== 'file:') {
    throw invalid('audio', `Expected a file: URL but received ${protocol}; fetch it and pass the response's body.`);
  }
  try {
    return fileURLToPath(url);
  } catch (cause) {
    throw invalid('audio', `Expected a file: URL of this computer but received ${url} (${(cause as Error).message}).`);
  }
}
