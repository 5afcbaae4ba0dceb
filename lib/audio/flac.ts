/** FLAC, frame by frame. Damage costs only its own frames, and concatenated files are read one after another. */
import type { FLACDecoder } from '@wasm-audio-decoders/flac';
import { flacDecoders, type LentDecoder } from './decoders.js';
import {
  crc16,
  type FlacHeader,
  type FlacInfo,
  flacHeader,
  flacInfo,
  maxFrameBytes,
  maxHeaderBytes,
  nextCrc16,
  positionCheck,
} from './flac-frames.js';
import { hasLetters } from './letters.js';
import type { ByteReader } from './reader.js';
import { flacSpeakers, type Speakers } from './speakers.js';
import { maxGapSeconds, type Timeline } from './timeline.js';
import type { DecodedChunk } from './wav.js';

/** Decodes frames that were found and verified before. */
export class FlacFrames {
  #decoder: LentDecoder<FLACDecoder> | null = null;
  #shape = '';
  #next = 0;

  /** The samples of a whole frame, or null if it cannot be decoded. */
  async decode(frame: Uint8Array, header: FlacHeader): Promise<Float32Array[] | null> {
    const shape = `${header.sampleRate} ${header.channels} ${header.bits}`;
    // The decoder rejects a frame that does not follow the previous one.
    if (!this.#decoder || shape !== this.#shape || header.number !== this.#next) {
      this.free();
      this.#decoder = await flacDecoders.borrow();
      this.#shape = shape;
    }
    this.#next = header.number + (header.variable ? header.blockSize : 1);
    const decoder = this.#decoder;
    const result = await decoder.call((current) => current.decodeFrames([frame])).catch(() => null);
    if (result && result.errors.length === 0 && result.samplesDecoded === header.blockSize) return result.channelData;
    // The next frame must not depend on this one.
    decoder.failed = true;
    this.free();
    return null;
  }

  free(): void {
    this.#decoder?.free();
    this.#decoder = null;
  }
}

/** A position where a frame may begin, or where something else begins and a frame may end. */
interface Mark {
  at: number;
  check: number;
  header: FlacHeader | null;
}

/** An item of a stream: a header or a frame. */
type StreamItem =
  | { info: FlacInfo | null }
  /** `ends`: candidate ends of the frame, if nothing after it decides; null if all bytes are the frame. */
  | { at: number; header: FlacHeader; bytes: Uint8Array; ends: number[] | null };

/** True at 'fLaC' followed by STREAMINFO. */
function isHead(bytes: Uint8Array, at: number): boolean {
  if (!hasLetters(bytes, at, 'fLaC') || (bytes[at + 4] & 127) !== 0) return false;
  return bytes[at + 5] === 0 && bytes[at + 6] === 0 && bytes[at + 7] === 34;
}

/** True at tags that may follow the last frame of a file. */
const isTag = (bytes: Uint8Array, at: number): boolean =>
  hasLetters(bytes, at, 'ID3') || hasLetters(bytes, at, 'TAG') || hasLetters(bytes, at, 'APETAGEX');

/** Longer comments, which contain pictures, are not searched. */
const maxCommentBytes = 1 << 16;

class FlacStream {
  readonly #reader: ByteReader;
  info: FlacInfo | null = null;
  /** The channel mask of its tags. */
  mask: number | null = null;
  /** The next position to scan, relative to the first byte held, and the checksum of all bytes before it. */
  #scan = 0;
  #crc = 0;
  /** Positions in order, the first being the one whose end is searched; and the same by their check values. */
  #marks: Mark[] = [];
  #byCheck = new Map<number, Mark[]>();
  /** The end of the previous frame: bytes that begin there really are a frame. */
  #trusted = -1;

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  async *found(): AsyncGenerator<StreamItem> {
    const reader = this.#reader;
    for (;;) {
      const head = this.#look();
      const ended = reader.ended && this.#scan >= reader.held.length;
      if (ended) this.#mark(null);
      yield* this.#settle(ended || head);
      if (head) {
        this.#forget(reader.offset + this.#scan);
        yield { info: await this.#head() };
      } else if (ended) return;
      else if (!(await reader.more())) reader.ended = true;
    }
  }

  /** Scans the bytes held and adds marks. Returns true where the header of a stream begins. */
  #look(): boolean {
    const { held, ended } = this.#reader;
    const end = ended ? held.length : held.length - maxHeaderBytes;
    let crc = this.#crc;
    let at = this.#scan;
    let head = false;
    for (; at < end; ++at) {
      const byte = held[at];
      if (byte === 0xff) {
        const header = flacHeader(held, at);
        if (header) this.#mark(header, at, crc);
      } else if (byte === 0x66 && isHead(held, at)) {
        this.#mark(null, at, crc);
        head = true;
        break;
      } else if ((byte === 0x49 || byte === 0x54 || byte === 0x41) && isTag(held, at)) this.#mark(null, at, crc);
      crc = nextCrc16(crc, byte);
    }
    this.#crc = crc;
    this.#scan = Math.max(at, this.#scan);
    return head;
  }

  #mark(header: FlacHeader | null, at = this.#scan, crc = this.#crc): void {
    const place = this.#reader.offset + at;
    const mark = { at: place, check: positionCheck(crc, place), header };
    this.#marks.push(mark);
    const alike = this.#byCheck.get(mark.check);
    if (alike) alike.push(mark);
    else this.#byCheck.set(mark.check, [mark]);
  }

  /** Yields frames whose end is known, and drops candidates that cannot end any more. `all`: nothing follows. */
  *#settle(all: boolean): Generator<StreamItem> {
    const reader = this.#reader;
    for (let passed = 0; ; ) {
      const start = this.#marks[passed];
      if (!start) {
        this.#marks.splice(0, passed);
        return;
      }
      const next = () => {
        passed += 1;
        const alike = this.#byCheck.get(start.check)!;
        alike.shift();
        if (alike.length === 0) this.#byCheck.delete(start.check);
      };
      if (!start.header) {
        next();
        continue;
      }
      const { header } = start;
      const begin = start.at - reader.offset;
      const most = maxFrameBytes(header, this.info);
      const end = this.#byCheck.get(start.check)![1];
      if (end && end.at - start.at <= most && end.at - start.at > header.length) {
        yield { at: start.at, header, bytes: reader.held.subarray(begin, end.at - reader.offset), ends: null };
        this.#trusted = end.at;
        while (this.#marks[passed] && this.#marks[passed].at < end.at) {
          const between = this.#marks[passed++];
          const alike = this.#byCheck.get(between.check)!;
          alike.shift();
          if (alike.length === 0) this.#byCheck.delete(between.check);
        }
        this.#forgetBefore(end.at);
        continue;
      }
      if (!all && this.#scan - begin <= most) {
        this.#marks.splice(0, passed);
        return;
      }
      // The data after this frame is damaged or missing. Its end may still be found.
      if (start.at === this.#trusted) {
        const bytes = reader.held.subarray(begin, Math.min(begin + most, this.#scan));
        const ends: number[] = [];
        let crc = crc16(bytes, 0, header.length);
        for (let at = header.length; at < bytes.length; ++at) {
          crc = nextCrc16(crc, bytes[at]);
          if (crc === 0 && ends.length < 64) ends.push(at + 1);
        }
        if (ends.length > 0) yield { at: start.at, header, bytes, ends };
      }
      next();
      this.#forgetBefore(this.#marks[passed]?.at ?? reader.offset + this.#scan);
    }
  }

  #forgetBefore(place: number): void {
    const count = place - this.#reader.offset;
    this.#reader.drop(count);
    this.#scan -= count;
  }

  /** Drops everything before a position where a new stream begins. */
  #forget(place: number): void {
    this.#forgetBefore(place);
    this.#marks = [];
    this.#byCheck.clear();
  }

  /** Skips the header, including pictures. */
  async #head(): Promise<FlacInfo | null> {
    const reader = this.#reader;
    this.info = null;
    this.mask = null;
    reader.drop(4);
    for (let last = false; !last && (await reader.need(4)); ) {
      const { held } = reader;
      last = held[0] >= 128;
      const length = (held[1] << 16) | (held[2] << 8) | held[3];
      // A damaged length may cover frames: an unknown type of block ends the header.
      if ((held[0] & 127) > 6 && (held[0] & 127) !== 127 && !last) break;
      if ((held[0] & 127) === 0 && length === 34 && (await reader.need(38))) {
        this.info = flacInfo(reader.held.subarray(4, 38));
      }
      if ((held[0] & 127) === 4 && length < maxCommentBytes && (await reader.need(4 + length))) {
        const comments = Buffer.from(reader.held.subarray(4, 4 + length)).toString('latin1');
        const mask = /WAVEFORMATEXTENSIBLE_CHANNEL_MASK=0x([0-9a-f]{1,8})/i.exec(comments);
        if (mask) this.mask = Number.parseInt(mask[1], 16);
      }
      await reader.pass(4 + length);
    }
    this.#scan = 0;
    this.#crc = 0;
    this.#trusted = reader.offset;
    return this.info;
  }
}

/** Decodes FLAC from the first byte of its header. */
export async function* decodeFlac(reader: ByteReader, timeline: Timeline): AsyncGenerator<DecodedChunk> {
  const stream = new FlacStream(reader);
  const frames = new FlacFrames();
  let info: FlacInfo | null = null;
  let speakers: Speakers | undefined;
  let rate = 0;
  /** The next expected sample; null before a stream's first. */
  let expected: number | null = null;
  let nominal = 0;
  /** The end of the last frame or header. */
  let end = reader.offset;
  try {
    for await (const found of stream.found()) {
      if ('info' in found) {
        if (info && expected !== null && info.samples > expected)
          timeline.lost(missing(info.samples, expected, rate), rate);
        info = found.info;
        speakers = info ? flacSpeakers(info.channels, stream.mask) : undefined;
        expected = null;
        end = reader.offset;
        continue;
      }
      const { header, at: begins } = found;
      const { samples, length } = await decodeFound(frames, found);
      if (!samples && found.ends) continue;
      rate = header.sampleRate || info?.sampleRate || 44_100;
      if (expected === null) nominal = info?.blockSize || header.blockSize;
      const at = header.variable ? header.number : header.number * nominal;
      // A recording of a live stream may begin with any number.
      expected ??= begins > end ? 0 : at;
      const gap = missing(at, expected, rate);
      if (gap > 0) timeline.lost(gap, rate);
      else if (begins > end && at !== expected) timeline.lost(0, rate);
      if (samples)
        timeline.add(samples, rate, samples.length === info?.channels ? speakers : flacSpeakers(samples.length));
      else timeline.lost(header.blockSize, rate);
      expected = at + header.blockSize;
      end = begins + length;
      yield* timeline.drain();
    }
    yield* timeline.drain(true);
    const rest = info && expected !== null ? missing(info.samples, expected, rate) / rate : 0;
    timeline.report(rest > 0 ? timeline.seconds + rest : null, 0);
  } finally {
    frames.free();
  }
}

/** The number of samples missing between the expected and the received position, if plausible. */
function missing(at: number, expected: number, rate: number): number {
  return at > expected && at - expected <= maxGapSeconds * rate ? at - expected : 0;
}

async function decodeFound(
  frames: FlacFrames,
  { header, bytes, ends }: Exclude<StreamItem, { info: unknown }>,
): Promise<{ samples: Float32Array[] | null; length: number }> {
  for (const end of ends ?? [bytes.length]) {
    const samples = await frames.decode(bytes.subarray(0, end), header);
    if (samples) return { samples, length: end };
  }
  return { samples: null, length: bytes.length };
}
