/** flac, mp3, ogg, opus, m4a, aac and webm on audio-decode's WebAssembly decoders. */
import { OneheadError } from '../errors.js';
import { type ByteSource, blocks } from './bytes.js';
import type { PackedFormat } from './format.js';
import { indexFirst } from './mp4.js';
import { clock, type Warn } from './warnings.js';
import type { DecodedChunk } from './wav.js';

/** Encoded bytes given to a decoder at once: seconds of sound, in hundreds of kilobytes of samples. */
const blockBytes = 1 << 15;
/** The longest header of a FLAC frame. */
const flacHeaderBytes = 16;

/**
 * Where a block of FLAC may end. The decoder overlooks a frame whose header is cut in two, and the frame's sound is then missing (seen
 * with @audio/decode-flac 1.3.5), so that a block ends before what could be a header near its end.
 */
export function flacCut(block: Uint8Array): number {
  let end = block.length;
  for (let at = end - 1; at >= 0 && at >= end - flacHeaderBytes; --at) {
    const starts = block[at] === 0xff && (at + 1 >= block.length || (block[at + 1] & 0xfe) === 0xf8);
    if (starts) end = at;
  }
  return end > 0 ? end : block.length;
}

/**
 * Decodes what is there: a file cut short or damaged further on gives its first part. Throws OneheadError AUDIO_INVALID when nothing
 * can be decoded, and errors of reading as they are.
 */
export async function* decodePacked(
  rest: AsyncIterable<Uint8Array>,
  format: PackedFormat,
  source: ByteSource,
  head: Uint8Array,
  signal: AbortSignal,
  warn: Warn,
): AsyncGenerator<DecodedChunk> {
  const { default: decode } = await import('audio-decode');
  let seconds = 0;
  let unread: { error: unknown } | null = null;
  // Errors of reading are the caller's to see; errors of decoding are told in a sentence below.
  async function* bytes() {
    try {
      if (format === 'm4a') yield* indexFirst(rest, head, source, signal, blockBytes);
      else yield* blocks(rest, blockBytes, format === 'flac' ? flacCut : undefined);
    } catch (error) {
      unread = { error };
      throw error;
    }
  }
  try {
    for await (const { channelData, sampleRate } of decode(bytes(), format)) {
      const usable = channelData.length > 0 && sampleRate >= 1000 && sampleRate <= 768_000;
      if (!usable) throw new Error(`it says that its sample rate is ${sampleRate} Hz`);
      seconds += channelData[0].length / sampleRate;
      yield { channels: channelData, sampleRate };
    }
  } catch (cause) {
    if (unread) throw (unread as { error: unknown }).error;
    const reason = (cause instanceof Error ? cause.message : String(cause)).replace(/\.$/, '');
    if (seconds > 0) {
      warn(
        `${source.name} could not be read from ${clock(seconds)} on (${reason}); what follows there is missing.`,
        'lost',
      );
      return;
    }
    throw new OneheadError(
      'AUDIO_INVALID',
      `${source.name} looks like ${format} but cannot be decoded (${reason}); export it again.`,
      { cause },
    );
  }
}
