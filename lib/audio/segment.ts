/** Finds a Matroska file's first audio track and its blocks, resynchronizing after damage. */
import zlib from 'node:zlib';
import { blockOf, type Element, elementsIn, floatOf, ids, outerAt, signedOf, unsignedOf } from './ebml.js';
import type { ByteReader } from './reader.js';

export interface Track {
  number: number;
  codec: string;
  private: Uint8Array;
  channels: number;
  /** Hertz. */
  sampleRate: number;
  bits: number;
  /** Nanoseconds to skip at the beginning. */
  delay: number;
  /** Bytes that begin every frame and were stripped from it. */
  stripped: Uint8Array;
}

export interface Sound {
  /** Seconds. */
  time: number;
  frames: Uint8Array[];
  /** Nanoseconds to skip at the end. */
  discard: number;
  /** Data before it could not be read. */
  damaged: boolean;
  /** Its cluster stated its time since the previous block. */
  dated: boolean;
}

/** Reads elements, and finds the next valid one after damage. */
export class Segment {
  readonly #reader: ByteReader;
  readonly #numbers = new Set<number>();
  track: Track | null = null;
  /** True if the audio is the only track. */
  alone = false;
  /** Seconds; null if not stated. */
  duration: number | null = null;
  /** The file ends inside an element. */
  cut = false;
  damaged = false;
  /** The list of tracks has a wrong checksum. */
  headDamaged = false;
  #dated = false;
  /** There was damage, so lengths do not show where the end is. */
  #holed = false;
  #scale = 1_000_000;
  #units: number | null = null;
  #cluster = 0;
  /** The end of the cluster by its stated length. */
  #clusterEnd = 0;

  constructor(reader: ByteReader) {
    this.#reader = reader;
  }

  /** The track once it is known, then its blocks, copied. */
  async *sounds(): AsyncGenerator<Track | Sound> {
    const reader = this.#reader;
    for (;;) {
      await reader.need(16);
      if (reader.held.length === 0) break;
      const one = outerAt(reader.held, 0, this.#numbers);
      if (!one) {
        this.damaged = true;
        this.#holed = true;
        reader.drop(await this.#next(1));
        continue;
      }
      const length = one.end;
      switch (one.id) {
        case ids.segment:
          reader.drop(one.body);
          continue;
        case ids.cluster:
          this.#clusterEnd = length < Number.POSITIVE_INFINITY ? reader.offset + length : 0;
          reader.drop(one.body);
          continue;
        case ids.info:
        case ids.tracks:
        case ids.timestamp:
          if (!(await reader.need(length))) break;
          if (one.id === ids.timestamp) {
            // A time before damage may be damaged itself.
            if (await this.#followed(length)) {
              this.#cluster = unsignedOf(reader.held, one);
              this.#dated = true;
            }
          } else if (one.id === ids.info) this.#info(one);
          else if (this.#tracks(one)) yield this.track!;
          reader.drop(length);
          continue;
        case ids.simpleBlock:
        case ids.group: {
          if (!(await reader.need(length))) break;
          if (!(await this.#whole(length))) continue;
          const sound = this.#sound(one);
          if (sound) {
            this.damaged = false;
            this.#dated = false;
            yield sound;
          }
          reader.drop(length);
          continue;
        }
        default:
          if (one.id === ids.file) this.track = null;
          // A single random byte often looks like one of these.
          if (one.id < 256 && !(await this.#followed(length))) {
            this.damaged = true;
            reader.drop(await this.#next(1));
            continue;
          }
          if (await reader.pass(length)) continue;
      }
      this.cut = true;
      return;
    }
    this.cut ||= reader.offset < this.#clusterEnd && !this.#holed;
  }

  /** True if an element or the end follows the first `length` bytes. */
  async #followed(length: number): Promise<boolean> {
    const more = await this.#reader.need(length + 16);
    const { held } = this.#reader;
    return (!more && held.length === length) || outerAt(held, length, this.#numbers) !== null;
  }

  /** True if the first bytes hold a valid block, which the bytes after it confirm. An invalid one is skipped. */
  async #whole(length: number): Promise<boolean> {
    const reader = this.#reader;
    if (await this.#followed(length)) return true;
    // Either it does not end there, or the data after it is damaged.
    const next = await this.#next(1, length + (1 << 16));
    if (next >= length) return true;
    this.damaged = true;
    reader.drop(next);
    return false;
  }

  /** The offset, from `from` up to `limit`, of the next element that is followed by another one. */
  async #next(from: number, limit = Number.POSITIVE_INFINITY): Promise<number> {
    const reader = this.#reader;
    // Not a cluster's timestamp, whose few bytes often occur by chance.
    const first = new Set([0x1f, 0xa3, 0xa0, 0x1a]);
    for (let at = from; ; ++at) {
      // Searched bytes are dropped, unless they may still be needed.
      if (at >= limit) return limit;
      if (limit === Number.POSITIVE_INFINITY && at > 1 << 16) {
        reader.drop(at - 1);
        at = 1;
      }
      if (!(await reader.need(at + 16)) && at >= reader.held.length) return reader.held.length;
      if (!first.has(reader.held[at])) continue;
      const one = outerAt(reader.held, at, this.#numbers);
      if (!one) continue;
      const enters = one.id === ids.cluster || one.id === ids.segment;
      const end = enters ? one.body : one.end;
      if (end - at > 1 << 20) continue;
      const more = await reader.need(end + 16);
      if (outerAt(reader.held, end, this.#numbers)) return at;
      if (!more && end === reader.held.length) return at;
    }
  }

  #info(info: Element): void {
    const { held } = this.#reader;
    for (const one of elementsIn(held, info.body, info.end)) {
      if (one.id === ids.scale) this.#scale = unsignedOf(held, one) || this.#scale;
      else if (one.id === ids.duration) this.#units = floatOf(held, one);
    }
    this.duration = this.#units === null ? null : (this.#units * this.#scale) / 1e9;
  }

  /** Selects the first audio track; false if there is none. */
  #tracks(tracks: Element): boolean {
    const { held } = this.#reader;
    this.track = null;
    this.#numbers.clear();
    let count = 0;
    for (const entry of elementsIn(held, tracks.body, tracks.end)) {
      if (entry.id === ids.checksum && entry.end - entry.body === 4) {
        const wanted = new DataView(held.buffer, held.byteOffset + entry.body).getUint32(0, true);
        // Not imported by name: older Node.js without it would fail with that instead of a clear message.
        this.headDamaged = zlib.crc32(held.subarray(entry.end, tracks.end)) !== wanted;
      }
      if (entry.id !== ids.entry) continue;
      count += 1;
      const track = readTrack(held, entry);
      this.#numbers.add(track.number);
      if (track.type === 2) this.track ??= track;
    }
    this.alone = count === 1;
    return this.track !== null;
  }

  #sound(one: Element): Sound | null {
    const { held } = this.#reader;
    let [content, discard] = [one, 0];
    if (one.id === ids.group) {
      const parts = [...elementsIn(held, one.body, one.end)];
      const block = parts.find(({ id }) => id === ids.block);
      if (!block) return null;
      content = block;
      const end = parts.find(({ id }) => id === ids.discard);
      if (end) discard = signedOf(held, end);
    }
    const block = blockOf(held.subarray(content.body, content.end));
    if (!block || !this.track || block.track !== this.track.number) return null;
    const { stripped } = this.track;
    const frames = block.frames.map((frame) => Buffer.concat([stripped, frame]));
    const time = ((this.#cluster + block.time) * this.#scale) / 1e9;
    return { time, frames, discard, damaged: this.damaged, dated: this.#dated };
  }
}

function readTrack(bytes: Uint8Array, entry: Element): Track & { type: number } {
  const none = new Uint8Array();
  const track = {
    number: 0,
    type: 0,
    codec: '',
    private: none,
    channels: 1,
    sampleRate: 8000,
    bits: 16,
    delay: 0,
    stripped: none,
  };
  const content = ({ body, end }: Element) => bytes.slice(body, end);
  for (const one of elementsIn(bytes, entry.body, entry.end)) {
    if (one.id === ids.number) track.number = unsignedOf(bytes, one);
    else if (one.id === ids.type) track.type = unsignedOf(bytes, one);
    else if (one.id === ids.codec)
      track.codec = String.fromCharCode(...content(one).subarray(0, 64)).replace(/\0.*$/s, '');
    else if (one.id === ids.private) track.private = content(one);
    else if (one.id === ids.delay) track.delay = unsignedOf(bytes, one);
    else if (one.id === ids.audio) {
      for (const field of elementsIn(bytes, one.body, one.end)) {
        if (field.id === ids.channels) track.channels = unsignedOf(bytes, field);
        else if (field.id === ids.rate) track.sampleRate = floatOf(bytes, field);
        else if (field.id === ids.bits) track.bits = unsignedOf(bytes, field);
      }
    } else if (one.id === ids.encodings) {
      for (const encoding of elementsIn(bytes, one.body, one.end)) {
        for (const compression of elementsIn(bytes, encoding.body, encoding.end)) {
          if (compression.id !== ids.compression) continue;
          let algorithm = 0;
          for (const field of elementsIn(bytes, compression.body, compression.end)) {
            if (field.id === ids.algorithm) algorithm = unsignedOf(bytes, field);
            else if (field.id === ids.settings) track.stripped = content(field);
          }
          if (algorithm !== 3) track.codec += ', compressed';
        }
      }
    }
  }
  return track;
}
