/** Frames of MP3 and of AAC in ADTS: each begins with a header that contains its length. */
import type { ByteReader } from './reader.js';
import { tagHeadBytes, tagLength } from './tags.js';
import type { Timeline } from './timeline.js';

export interface FrameHeader {
  /** Bytes of the whole frame. */
  length: number;
  /** Samples of each channel. */
  samples: number;
  /** Hertz. */
  sampleRate: number;
  /** Fields that are equal in all frames of a stream. */
  kind: number;
}

export type HeaderParser = (bytes: Uint8Array, at: number) => FrameHeader | null;

/** Bytes that parsers need. */
export const frameHeaderBytes = 7;

const bitrates = [
  [0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320],
  [0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160],
];
const mp3Rates = [44_100, 48_000, 32_000];
const aacRates = [96_000, 88_200, 64_000, 48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000, 7350];

/** MPEG audio layer III, of MPEG 1, 2 and 2.5. */
export function mp3Header(bytes: Uint8Array, at: number): FrameHeader | null {
  if (at + 4 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xe6) !== 0xe2) return null;
  const version = (bytes[at + 1] >> 3) & 3;
  const [rateCode, rateIndex] = [bytes[at + 2] >> 4, (bytes[at + 2] >> 2) & 3];
  if (version === 1 || rateCode === 15 || rateIndex === 3 || (bytes[at + 3] & 3) === 2) return null;
  const sampleRate = mp3Rates[rateIndex] >> (version === 3 ? 0 : version === 2 ? 1 : 2);
  const samples = version === 3 ? 1152 : 576;
  const padding = (bytes[at + 2] >> 1) & 1;
  const kind = (version << 2) | rateIndex;
  if (rateCode === 0) {
    const length = freeLength(bytes, at);
    return length === null ? null : { length, samples, sampleRate, kind };
  }
  const bitrate = 1000 * bitrates[version === 3 ? 0 : 1][rateCode];
  return { length: Math.floor(((samples / 8) * bitrate) / sampleRate) + padding, samples, sampleRate, kind };
}

/** The length of a frame of free format, which does not state it: up to the next header of the same kind. */
function freeLength(bytes: Uint8Array, at: number): number | null {
  for (let next = at + 24; next + 4 <= bytes.length && next < at + 8192; ++next) {
    const alike =
      bytes[next] === 0xff && bytes[next + 1] === bytes[at + 1] && !((bytes[next + 2] ^ bytes[at + 2]) & 0xfc);
    if (alike) return next - at;
  }
  return null;
}

/** AAC in ADTS. */
export function adtsHeader(bytes: Uint8Array, at: number): FrameHeader | null {
  if (at + 7 > bytes.length || bytes[at] !== 0xff || (bytes[at + 1] & 0xf6) !== 0xf0) return null;
  const rateIndex = (bytes[at + 2] >> 2) & 15;
  const length = ((bytes[at + 3] & 3) << 11) | (bytes[at + 4] << 3) | (bytes[at + 5] >> 5);
  if (rateIndex >= aacRates.length || length < (bytes[at + 1] & 1 ? 8 : 10)) return null;
  const samples = 1024 * ((bytes[at + 6] & 3) + 1);
  // Object type, rate and channels.
  return {
    length,
    samples,
    sampleRate: aacRates[rateIndex],
    kind: ((bytes[at + 2] & 0xfd) << 8) | (bytes[at + 3] & 0xc0),
  };
}

/** True if two frames begin at `at`, or one that ends the bytes. */
export function areFrames(bytes: Uint8Array, at: number, parse: HeaderParser): boolean {
  const header = parse(bytes, at);
  if (!header) return false;
  const next = at + header.length;
  return next + frameHeaderBytes > bytes.length ? at === 0 : parse(bytes, next)?.kind === header.kind;
}

export interface Frame {
  header: FrameHeader;
  /** A view, valid until the next step. */
  bytes: Uint8Array;
  /** Bytes before it that are neither frames nor tags. */
  skipped: number;
}

/**
 * The frames of a stream; tags and damage between them are skipped. A frame is accepted if another one follows, or if
 * it directly follows an accepted frame of the same kind. `onCut` is called if the stream ends inside a frame.
 */
export async function* framesOf(reader: ByteReader, parse: HeaderParser, onCut: () => void): AsyncGenerator<Frame> {
  let kind: number | null = null;
  let synced = false;
  let skipped = 0;
  /** Zeros after a tag belong to it. */
  let padding = true;
  for (;;) {
    await reader.need(8192);
    if (reader.held.length < 4) {
      if (synced && reader.held[0] === 0xff) onCut();
      return;
    }
    const tag = tagLength(reader.held);
    if (tag > 0) {
      await reader.pass(tag);
      padding = true;
      continue;
    }
    const header = parse(reader.held, 0);
    const accepted = header !== null && (await follows(reader, parse, header, synced && header.kind === kind));
    if (!accepted) {
      if (synced && header && header.kind === kind && header.length > reader.held.length) {
        onCut();
        return;
      }
      synced = false;
      const { held } = reader;
      if (held[0] !== 0) padding = false;
      // Moves to the next byte with which a frame or tag can begin.
      let next = 1;
      while (next < held.length && !(held[next] === 0xff || isTagLetter(held[next]))) ++next;
      if (padding && held.subarray(0, next).some((byte) => byte !== 0)) padding = false;
      if (!padding) skipped += next;
      reader.drop(next);
      continue;
    }
    yield { header, bytes: reader.held.subarray(0, header.length), skipped };
    reader.drop(header.length);
    kind = header.kind;
    [synced, skipped, padding] = [true, 0, false];
  }
}

const isTagLetter = (byte: number): boolean => byte === 0x49 || byte === 0x54 || byte === 0x41;

async function follows(
  reader: ByteReader,
  parse: HeaderParser,
  { length, kind }: FrameHeader,
  expected: boolean,
): Promise<boolean> {
  await reader.need(length + tagHeadBytes);
  const { held } = reader;
  if (held.length < length) return false;
  if (expected || held.length < length + frameHeaderBytes) return expected || held.length === length;
  return parse(held, length)?.kind === kind || tagLength(held, length) > 0;
}

/**
 * Adds silence for bytes that are not frames, as long as frames of that many bytes would last. Part of a frame before
 * the first one is not a loss.
 */
export function loseSkipped(
  timeline: Timeline,
  { samples, sampleRate }: Pick<FrameHeader, 'samples' | 'sampleRate'>,
  skipped: number,
  frameBytes: number,
  inside: boolean,
): void {
  const count = Math.round(skipped / frameBytes);
  if (inside ? skipped > 0 : count > 1) timeline.lost(count * samples, sampleRate);
}
