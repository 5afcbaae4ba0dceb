/** Decodes flac, mp3, ogg, opus and webm with WebAssembly decoders, and m4a and aac if their decoders are installed. */
import { OneheadError, reasonOf } from '../errors.js';
import { decodeAdts } from './aac.js';
import { type FallbackDecoder, missingDecoder } from './aac-decoders.js';
import { type ByteSource, blocks } from './bytes.js';
import { decodeFlac } from './flac.js';
import type { PackedFormat } from './format.js';
import { decodeMatroska } from './matroska.js';
import { decodeMp3 } from './mp3.js';
import { indexFirst } from './mp4.js';
import { decodeMp4 } from './mp4-sound.js';
import { Damage } from './mp4-tables.js';
import { decodeOgg } from './ogg.js';
import { ByteReader } from './reader.js';
import { Timeline } from './timeline.js';
import { clock, type Warn } from './warnings.js';
import type { DecodedChunk } from './wav.js';

/** Encoded bytes passed to a decoder at once: seconds of audio, hundreds of kilobytes of samples. */
const blockBytes = 1 << 15;

/**
 * Decodes a recording. Damaged parts become silence, with warnings. Throws OneheadError AUDIO_INVALID if nothing can be
 * decoded, and passes on read errors. `choose` keeps one of a container's tracks in its bytes. `otherwise` gets those
 * bytes if no decoder is installed.
 */
export async function* decodePacked(
  rest: AsyncIterable<Uint8Array>,
  format: PackedFormat,
  source: ByteSource,
  head: Uint8Array,
  signal: AbortSignal,
  warn: Warn,
  choose: (bytes: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>,
  otherwise: FallbackDecoder,
): AsyncGenerator<DecodedChunk> {
  let seconds = 0;
  let unread: { error: unknown } | null = null;
  // Read errors are passed on unchanged; decoding errors are converted below.
  async function* bytes() {
    try {
      yield* choose(format === 'm4a' ? indexFirst(rest, head, source, signal, blockBytes) : blocks(rest, blockBytes));
    } catch (error) {
      if (!(error instanceof Damage)) unread = { error };
      throw error;
    }
  }
  const reader = new ByteReader(bytes());
  try {
    for await (const chunk of decoded(reader, format, head, source.name, warn, otherwise)) {
      const { channels, sampleRate } = chunk;
      const usable = channels.length > 0 && sampleRate >= 1000 && sampleRate <= 768_000;
      if (!usable) throw new Error(`its stated sample rate is ${sampleRate} Hz`);
      seconds += channels[0].length / sampleRate;
      yield chunk;
    }
  } catch (cause) {
    if (unread) throw (unread as { error: unknown }).error;
    if (cause instanceof OneheadError) throw cause;
    const reason = reasonOf(cause);
    if (seconds > 0) {
      warn(`${source.name} could not be read from ${clock(seconds)} on (${reason}); the rest is missing.`, 'lost');
      return;
    }
    throw new OneheadError(
      'AUDIO_INVALID',
      `${source.name} looks like ${format} but cannot be decoded (${reason}); export it again.`,
      { cause },
    );
  } finally {
    await reader.close();
  }
}

async function* decoded(
  reader: ByteReader,
  format: PackedFormat,
  head: Uint8Array,
  name: string,
  warn: Warn,
  otherwise: FallbackDecoder,
): AsyncGenerator<DecodedChunk> {
  const missing = await missingDecoder(format);
  if (missing) {
    await reader.more(); // reads the index of an MP4 file, so that its tracks are known
    yield* otherwise(reader.rest(), missing.message);
    return;
  }
  const timeline = new Timeline(name, warn);
  if (format === 'flac' && head[0] === 0x66) yield* decodeFlac(reader, timeline);
  else if (head[0] === 0x4f) yield* decodeOgg(reader, timeline);
  else if (format === 'mp3') yield* decodeMp3(reader, timeline);
  else if (format === 'aac') yield* decodeAdts(reader, timeline);
  else if (format === 'webm') yield* decodeMatroska(reader, timeline, otherwise);
  else yield* decodeMp4(reader.rest(), timeline);
}
