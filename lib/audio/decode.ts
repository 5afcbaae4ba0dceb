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

/** The encoded bytes of a recording. */
export interface Encoded {
  /** Where they come from. */
  source: ByteSource;
  /** The first bytes. */
  head: Uint8Array;
  /** All bytes, including the first ones. */
  bytes: AsyncIterable<Uint8Array>;
}

/** What decoding a container needs besides its bytes. */
export interface TrackChoice {
  /** Keeps one of the container's tracks in its bytes. */
  choose: (bytes: AsyncIterable<Uint8Array>) => AsyncIterable<Uint8Array>;
  /** Decodes these bytes if no decoder is installed. */
  otherwise: FallbackDecoder;
}

/**
 * Decodes a recording. Damaged parts become silence, with warnings. Throws OneheadError AUDIO_INVALID if nothing can be
 * decoded, and passes on read errors.
 */
export async function* decodePacked(
  { source, head, bytes: encoded }: Encoded,
  format: PackedFormat,
  { choose, otherwise }: TrackChoice,
  signal: AbortSignal,
  warn: Warn,
): AsyncGenerator<DecodedChunk> {
  let seconds = 0;
  let unread: { error: unknown } | null = null;
  // Read errors are passed on unchanged; decoding errors are converted below.
  async function* bytes() {
    try {
      const ordered = format === 'm4a' ? indexFirst(encoded, head, source, signal, blockBytes) : null;
      yield* choose(ordered ?? blocks(encoded, blockBytes));
    } catch (error) {
      if (!(error instanceof Damage)) unread = { error };
      throw error;
    }
  }
  const reader = new ByteReader(bytes());
  try {
    const timeline = new Timeline(source.name, warn);
    for await (const chunk of decoded(reader, format, head, timeline, otherwise)) {
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
  timeline: Timeline,
  otherwise: FallbackDecoder,
): AsyncGenerator<DecodedChunk> {
  const missing = await missingDecoder(format);
  if (missing) {
    await reader.more(); // reads the index of an MP4 file, so that its tracks are known
    yield* otherwise(reader.rest(), missing.message);
    return;
  }
  if (format === 'flac' && head[0] === 0x66) yield* decodeFlac(reader, timeline);
  else if (head[0] === 0x4f) yield* decodeOgg(reader, timeline);
  else if (format === 'mp3') yield* decodeMp3(reader, timeline);
  else if (format === 'aac') yield* decodeAdts(reader, timeline);
  else if (format === 'webm') yield* decodeMatroska(reader, timeline, otherwise);
  else yield* decodeMp4(reader.rest(), timeline);
}
