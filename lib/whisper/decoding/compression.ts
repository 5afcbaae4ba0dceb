/** How repetitive a text is. */
import zlib from 'pako/lib/zlib/deflate.js';
import ZStream from 'pako/lib/zlib/zstream.js';

const deflated = 8;
const finish = 4;
const streamEnd = 1;

/**
 * zlib's usual settings, in one stream that serves all texts: what it needs is 300 kB, which would be garbage after
 * each.
 */
class Compressor {
  readonly #stream = new ZStream();
  readonly #output = new Uint8Array(1 << 14);

  constructor() {
    zlib.deflateInit2(this.#stream, 6, deflated, 15, 8, 0, true);
  }

  /** Bytes of these bytes when they are compressed. */
  length(bytes: Uint8Array): number {
    const stream = this.#stream;
    zlib.deflateReset(stream);
    stream.input = bytes;
    stream.next_in = 0;
    stream.avail_in = bytes.length;
    for (let status = 0; status !== streamEnd; ) {
      // Only the length is wanted.
      stream.output = this.#output;
      stream.next_out = 0;
      stream.avail_out = this.#output.length;
      status = zlib.deflate(stream, finish);
      if (status < 0) throw new Error(`zlib gives ${status}.`);
    }
    return stream.total_out;
  }
}

let compressor: Compressor | null = null;

/**
 * How much smaller the text is when zlib compresses it: high values tell of repetition. Node's own zlib is a variant
 * that finds no matches of three bytes, which is up to a tenth less than what openai/whisper's threshold was chosen
 * for.
 */
export function compressionRatio(text: string): number {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length === 0) return 0;
  compressor ??= new Compressor();
  return bytes.length / compressor.length(bytes);
}
