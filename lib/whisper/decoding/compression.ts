/** How repetitive a text is. */
import { deflate } from 'pako';

/**
 * How much smaller the text is when zlib compresses it: high values tell of repetition. Node's own zlib is a variant that finds no matches of
 * three bytes, which is up to a tenth less than what openai/whisper's threshold was chosen for.
 */
export function compressionRatio(text: string): number {
  const bytes = Buffer.from(text, 'utf8');
  return bytes.length === 0 ? 0 : bytes.length / deflate(bytes).length;
}
