/** The compression ratio of a text, which measures repetition. */
import zlib from 'pako/lib/zlib/deflate.js';
import ZStream from 'pako/lib/zlib/zstream.js';

const deflated = 8;
const finish = 4;
const streamEnd = 1;

/** Compresses with zlib's default settings. One stream is reused for all texts, since its state has 300 kB. */
class Compressor {
  readonly #stream = new ZStream();
  readonly #output = new Uint8Array(1 << 14);

  constructor() {
    zlib.deflateInit2(this.#stream, 6, deflated, 15, 8, 0, true);
  }

  /** Returns the compressed size in bytes. */
  length(bytes: Uint8Array): number {
    const stream = this.#stream;
    zlib.deflateReset(stream);
    stream.input = bytes;
    stream.next_in = 0;
    stream.avail_in = bytes.length;
    for (let status = 0; status !== streamEnd; ) {
      // Output is discarded; only the length matters.
      stream.output = this.#output;
      stream.next_out = 0;
      stream.avail_out = this.#output.length;
      status = zlib.deflate(stream, finish);
      if (status < 0) throw new Error(`zlib returns the error ${status}.`);
    }
    return stream.total_out;
  }
}

let compressor: Compressor | null = null;

/**
 * The size of a text divided by its zlib-compressed size; 0 for an empty text. High values mean repetition.
 *
 * Node's own zlib is a variant that does not find matches of three bytes. Its ratios are up to a tenth lower than those
 * for which openai/whisper's threshold was chosen.
 */
export function compressionRatio(text: string): number {
  const bytes = Buffer.from(text, 'utf8');
  if (bytes.length === 0) return 0;
  compressor ??= new Compressor();
  return bytes.length / compressor.length(bytes);
}
