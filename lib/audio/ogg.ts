/** Ogg (RFC 3533) with Opus, Vorbis or FLAC, page by page: handles damage and chained streams. */
import { flacInfo } from './flac-frames.js';
import { hasLetters } from './letters.js';
import { openFlac, openOpus, openVorbis, type PacketDecoder } from './packets.js';
import type { ByteReader } from './reader.js';
import { maxGapSeconds, type Timeline } from './timeline.js';
import type { DecodedChunk } from './wav.js';

interface Page {
  continued: boolean;
  first: boolean;
  last: boolean;
  /** The end position, in samples, of the last packet that ends in this page; null if none ends. */
  granule: number | null;
  serial: number;
  sequence: number;
  /** Parts of packets, in order; the last one continues in the next page if `open`. */
  pieces: Uint8Array[];
  open: boolean;
  /** The checksum is wrong: the header or some packets are damaged. */
  suspect: boolean;
}

/** The maximum bytes kept of a packet, which may contain pictures. */
const maxPacketBytes = 1 << 20;

const crcTable = Uint32Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 24;
  for (let bit = 0; bit < 8; ++bit) crc = crc & 0x8000_0000 ? (crc << 1) ^ 0x04c1_1db7 : crc << 1;
  return crc >>> 0;
});

/** The page's checksum, with its own four bytes as zeros. */
export function oggChecksum(page: Uint8Array): number {
  let crc = 0;
  for (let at = 0; at < page.length; ++at) {
    const byte = at >= 22 && at < 26 ? 0 : page[at];
    crc = (crc << 8) ^ crcTable[(crc >>> 24) ^ byte];
  }
  return crc >>> 0;
}

const isPage = (bytes: Uint8Array, at: number): boolean => hasLetters(bytes, at, 'OggS\0');

function parsePage(bytes: Uint8Array, suspect: boolean): Page {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const segments = bytes.subarray(27, 27 + bytes[26]);
  const pieces: Uint8Array[] = [];
  let begin = 27 + segments.length;
  let end = begin;
  for (const length of segments) {
    end += length;
    if (length === 255) continue;
    pieces.push(bytes.subarray(begin, end));
    begin = end;
  }
  const open = segments.at(-1) === 255;
  if (open) pieces.push(bytes.subarray(begin, end));
  const granule = view.getBigInt64(6, true);
  return {
    continued: (bytes[5] & 1) !== 0,
    first: (bytes[5] & 2) !== 0,
    last: (bytes[5] & 4) !== 0,
    granule: granule < 0n ? null : Number(granule),
    serial: view.getUint32(14, true),
    sequence: view.getUint32(18, true),
    pieces,
    open,
    suspect,
  };
}

/** The pages, copied. A page with a wrong checksum counts if another page follows it and `isNext` accepts it. */
async function* pagesOf(
  reader: ByteReader,
  isNext: (page: Page) => boolean,
  onDamage: () => void,
  onCut: () => void,
): AsyncGenerator<Page> {
  for (;;) {
    if (!(await reader.need(27))) {
      if (reader.held.length > 0 && isPage(reader.held, 0)) onCut();
      return;
    }
    let { held } = reader;
    if (isPage(held, 0)) {
      await reader.need(27 + held[26]);
      held = reader.held;
      const length = held.subarray(27, 27 + held[26]).reduce((sum, size) => sum + size, 27 + held[26]);
      const whole = await reader.need(length + 5);
      held = reader.held;
      if (held.length >= length) {
        const bytes = held.slice(0, length);
        const right = oggChecksum(bytes) === new DataView(bytes.buffer).getUint32(22, true);
        const page = parsePage(bytes, !right);
        if (right || ((!whole || isPage(held, length)) && isNext(page))) {
          reader.drop(length);
          yield page;
          continue;
        }
      } else if (!findPage(held, 1)) {
        onCut();
        return;
      }
    }
    onDamage();
    const next = findPage(held, 1);
    reader.drop(next || Math.max(1, held.length - 4));
  }
}

function findPage(bytes: Uint8Array, from: number): number {
  for (let at = from; at + 5 <= bytes.length; ++at) if (isPage(bytes, at)) return at;
  return 0;
}

const starts = (packet: Uint8Array, magic: string): boolean => hasLetters(packet, 0, magic);

/** One logical stream, from its first page on: converts packets to samples. */
class Link {
  readonly serial: number;
  readonly #head: Uint8Array;
  #decoder: PacketDecoder | null = null;
  /** Samples to skip at the beginning. */
  #skip = 0;
  #partial: Uint8Array[] | null = null;
  #partialBytes = 0;
  #sequence: number | null = null;
  /** The next expected sample, null before the first. */
  #position: number | null = null;
  /** Data of the stream is missing since the last page. */
  damaged = false;

  constructor(serial: number, head: Uint8Array) {
    this.serial = serial;
    this.#head = head;
  }

  /** True if a stream that begins with this packet can be decoded. */
  static knows = (packet: Uint8Array): boolean =>
    starts(packet, 'OpusHead') || starts(packet, '\x01vorbis') || starts(packet, '\x7fFLAC');

  /** True if the page's header makes it the next one. */
  isNext = ({ serial, sequence, first }: Page): boolean =>
    serial === this.serial && !first && this.#sequence !== null && sequence === this.#sequence + 1;

  /** True after the stream's last page. */
  ended = false;

  /** Complete packets that end in the page. */
  #packets(page: Page): Uint8Array[] {
    if (this.#sequence !== null && page.sequence !== this.#sequence + 1) {
      this.damaged = true;
      this.#partial = null;
    }
    this.#sequence = page.sequence;
    const packets: Uint8Array[] = [];
    page.pieces.forEach((piece, i) => {
      const goesOn = page.open && i === page.pieces.length - 1;
      if (i === 0 && page.continued) {
        // Its beginning was lost.
        if (!this.#partial) return;
      } else {
        this.#partial = [];
        this.#partialBytes = 0;
      }
      if (this.#partialBytes < maxPacketBytes) this.#partial!.push(piece);
      this.#partialBytes += piece.length;
      if (goesOn) return;
      packets.push(this.#partial!.length === 1 ? piece : Buffer.concat(this.#partial!));
      this.#partial = null;
    });
    return packets;
  }

  /** Processes headers; returns the audio packets. */
  async #sound(packets: Uint8Array[]): Promise<Uint8Array[]> {
    const sound: Uint8Array[] = [];
    for (const packet of packets) {
      if (starts(this.#head, 'OpusHead')) {
        if (!this.#decoder) {
          const decoder = await openOpus(this.#head);
          this.#decoder = decoder;
          this.#skip = decoder.head.preSkip;
        }
        if (!starts(packet, 'OpusHead') && !starts(packet, 'OpusTags')) sound.push(packet);
      } else if (starts(this.#head, '\x01vorbis')) {
        if (packet.length === 0 || (packet[0] & 1) === 0) {
          if (this.#decoder) sound.push(packet);
          else if (packet.length > 0) throw new Error('its Vorbis setup is missing');
        } else if (starts(packet, '\x05vorbis') && !this.#decoder) {
          this.#decoder = await openVorbis(this.#head, packet);
        }
      } else {
        this.#decoder ??= openFlac(flacInfo(this.#head.subarray(17)).sampleRate);
        if (packet[0] === 0xff) sound.push(packet);
      }
    }
    return sound;
  }

  async read(page: Page, timeline: Timeline): Promise<void> {
    this.ended = page.last;
    if (page.suspect) timeline.lost(0, 48_000);
    const packets = await this.#sound(this.#packets(page));
    const decoder = this.#decoder;
    if (!decoder || packets.length === 0) return;
    const chunks: (DecodedChunk | { lost: number; sampleRate: number })[] = [];
    let count = 0;
    let rate = 48_000;
    for (const packet of packets) {
      const chunk = await decoder.decode(packet);
      const { samples, sampleRate } = decoder.length(packet);
      rate = sampleRate;
      if (!chunk) chunks.push({ lost: samples, sampleRate });
      else if (chunk.channels.length > 0) chunks.push(chunk);
      count += chunk ? (chunk.channels[0]?.length ?? 0) : samples;
    }
    let behind = 0;
    // The next page's granule shows how long a lost page was, even at the beginning.
    const begin = this.#position ?? (this.damaged ? 0 : null);
    if (page.suspect && begin !== null && Math.abs((page.granule ?? begin) - begin) > 60 * rate) page.granule = null;
    if (page.granule !== null) {
      const missing = begin === null ? 0 : page.granule - (begin + count);
      // Time without decoded samples is lost, whatever the reason.
      if (missing > (this.damaged ? 0 : rate)) timeline.lost(missing <= maxGapSeconds * rate ? missing : 0, rate);
      // The granule of the last page marks the end of the audio within its packets.
      if (page.last || page.suspect) behind = Math.min(count, Math.max(0, (begin ?? 0) + count - page.granule));
      this.#position = page.granule;
      if (page.suspect && missing > 0 && missing <= rate) timeline.lost(missing, rate);
    } else {
      if (this.damaged) timeline.lost(0, rate);
      if (begin !== null) this.#position = begin + count;
    }
    this.damaged = false;
    let left = count - behind;
    for (const chunk of chunks) {
      const length = 'lost' in chunk ? chunk.lost : chunk.channels[0].length;
      const [from, to] = [Math.min(this.#skip, length), Math.max(0, Math.min(length, left))];
      this.#skip -= from;
      left -= length;
      if (to <= from) continue;
      if ('lost' in chunk) timeline.lost(to - from, chunk.sampleRate);
      else
        timeline.add(
          chunk.channels.map((channel) => channel.subarray(from, to)),
          chunk.sampleRate,
          chunk.speakers,
        );
    }
  }

  free(): void {
    this.#decoder?.free();
    this.#decoder = null;
  }
}

/** Decodes the first supported stream of each group of chained streams. */
export async function* decodeOgg(reader: ByteReader, timeline: Timeline): AsyncGenerator<DecodedChunk> {
  let link: Link | null = null;
  /** True if the last page began a stream: streams that begin together form a group. */
  let beginning = false;
  let known = false;
  const isNext = (page: Page) => (link ? link.isNext(page) : page.first && !known);
  const damage = () => {
    if (link) link.damaged = true;
  };
  try {
    for await (const page of pagesOf(reader, isNext, damage, () => timeline.cut())) {
      if (page.first) {
        if (!beginning || !link) {
          const found: boolean = Link.knows(page.pieces[0] ?? new Uint8Array());
          if (!beginning) {
            link?.free();
            link = null;
          }
          if (found) link = new Link(page.serial, page.pieces[0]);
          known ||= found;
        }
        beginning = true;
      } else beginning = false;
      if (page.serial === link?.serial) await link.read(page, timeline);
      yield* timeline.drain();
    }
    if (link?.damaged && !link.ended) timeline.lost(0, 48_000);
    if (!known) throw new Error('no stream in it is Opus, Vorbis or FLAC');
    yield* timeline.drain(true);
    timeline.report();
  } finally {
    link?.free();
  }
}
