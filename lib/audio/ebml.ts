/** The elements of Matroska and WebM (RFC 8794, RFC 9559) that are read here. */

export const ids = {
  file: 0x1a45dfa3,
  segment: 0x18538067,
  info: 0x1549a966,
  scale: 0x2ad7b1,
  duration: 0x4489,
  tracks: 0x1654ae6b,
  entry: 0xae,
  number: 0xd7,
  type: 0x83,
  default: 0x88,
  enabled: 0xb9,
  codec: 0x86,
  language: 0x22b59c,
  languageTag: 0x22b59d,
  title: 0x536e,
  private: 0x63a2,
  delay: 0x56aa,
  audio: 0xe1,
  channels: 0x9f,
  rate: 0xb5,
  bits: 0x6264,
  encodings: 0x6d80,
  encoding: 0x6240,
  compression: 0x5034,
  algorithm: 0x4254,
  settings: 0x4255,
  cluster: 0x1f43b675,
  timestamp: 0xe7,
  simpleBlock: 0xa3,
  group: 0xa0,
  block: 0xa1,
  discard: 0x75a2,
  checksum: 0xbf,
} as const;

/**
 * Elements of a segment or cluster that are skipped: positions, sizes, cues, tags, attachments, chapters, padding,
 * CRCs.
 */
const passed = [0xa7, 0xab, 0x1c53bb6b, 0x1254c367, 0x114d9b74, 0x1941a469, 0x1043a770, 0xec, 0xbf, 0x5854];
/** Skipped elements that may be long. */
const long = [0x1941a469, 0x1c53bb6b, 0x1254c367];
/** All elements of a file, a segment or a cluster. */
const outer = new Set<number>([
  ...passed,
  ...[ids.file, ids.segment, ids.info, ids.tracks, ids.cluster, ids.timestamp, ids.simpleBlock, ids.group],
]);

export interface Element {
  id: number;
  /** Offsets of its content. */
  body: number;
  /** Infinite if the length is unknown. */
  end: number;
}

/** A number of variable length; with `size`, without its length marker. Null if it is invalid or incomplete. */
function variable(bytes: Uint8Array, at: number, size: boolean): { value: number; next: number } | null {
  const first = bytes[at];
  if (!first) return null;
  const length = Math.clz32(first) - 23;
  if (at + length > bytes.length || (!size && length > 4)) return null;
  let value = size ? first & (255 >> length) : first;
  let ones = value === 255 >> length;
  for (let i = 1; i < length; ++i) {
    ones &&= bytes[at + i] === 255;
    value = value * 256 + bytes[at + i];
  }
  return { value: size && ones ? Number.POSITIVE_INFINITY : value, next: at + length };
}

/** The element at `at`, or null. */
export function elementAt(bytes: Uint8Array, at: number): Element | null {
  const id = variable(bytes, at, false);
  const size = id && variable(bytes, id.next, true);
  return size && { id: id.value, body: size.next, end: size.next + size.value };
}

/** The complete elements inside another element. */
export function* elementsIn(bytes: Uint8Array, begin: number, end: number): Generator<Element> {
  for (let at = begin; at < end; ) {
    const one = elementAt(bytes, at);
    if (!one || one.end > end) return;
    yield one;
    at = one.end;
  }
}

export function unsignedOf(bytes: Uint8Array, { body, end }: Element): number {
  let value = 0;
  for (let at = body; at < end; ++at) value = value * 256 + bytes[at];
  return value;
}

export function signedOf(bytes: Uint8Array, one: Element): number {
  const value = unsignedOf(bytes, one);
  const length = one.end - one.body;
  return length > 0 && bytes[one.body] >= 128 ? value - 256 ** length : value;
}

export function floatOf(bytes: Uint8Array, { body, end }: Element): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + body, end - body);
  return view.byteLength === 4 ? view.getFloat32(0) : view.byteLength === 8 ? view.getFloat64(0) : 0;
}

/** The largest plausible block, group or skipped element, in bytes. */
const maxBlockBytes = 1 << 24;

/** The element at `at` if it is valid in a segment or cluster; `tracks` are the valid track numbers of blocks. */
export function outerAt(bytes: Uint8Array, at: number, tracks: ReadonlySet<number>): Element | null {
  const one = elementAt(bytes, at);
  if (!one || !outer.has(one.id)) return null;
  const length = one.end - one.body;
  switch (one.id) {
    case ids.segment:
    case ids.cluster:
      return one;
    case 0xa7:
    case 0xab:
    case ids.timestamp:
      return length >= 1 && length <= 8 ? one : null;
    case ids.simpleBlock: {
      const owner = variable(bytes, one.body, true);
      return length <= maxBlockBytes && length > 4 && owner && tracks.has(owner.value) ? one : null;
    }
    case ids.group:
      return length >= 8 && length <= maxBlockBytes ? one : null;
    case ids.checksum:
      return length === 4 ? one : null;
    case ids.file:
      return length <= 4096 ? one : null;
    default:
      return length <= maxBlockBytes || (long.includes(one.id) && one.end < Number.POSITIVE_INFINITY) ? one : null;
  }
}

/** Text, at most 200 bytes. */
export const textOf = (bytes: Uint8Array, { body, end }: Element): string =>
  new TextDecoder().decode(bytes.subarray(body, Math.min(end, body + 200))).replace(/\0.*$/s, '');

/** A block's track and time, from the start of its content; null if it is invalid or incomplete. */
export function blockHead(bytes: Uint8Array, body: number): { track: number; time: number; next: number } | null {
  const owner = variable(bytes, body, true);
  if (!owner || owner.next + 2 > bytes.length) return null;
  const time = new DataView(bytes.buffer, bytes.byteOffset).getInt16(owner.next);
  return { track: owner.value, time, next: owner.next + 2 };
}

export interface Block {
  track: number;
  /** Relative to the cluster's time, in the segment's units. */
  time: number;
  frames: Uint8Array[];
}

/** A block's content, divided into frames; null if it is invalid. */
export function blockOf(bytes: Uint8Array): Block | null {
  const head = blockHead(bytes, 0);
  if (!head || head.next >= bytes.length) return null;
  const { track, time } = head;
  const lacing = (bytes[head.next] >> 1) & 3;
  let at = head.next + 1;
  if (lacing === 0) return { track, time, frames: [bytes.subarray(at)] };
  const count = (bytes[at++] ?? 0) + 1;
  const sizes: number[] = [];
  if (lacing === 2) for (let i = 1; i < count; ++i) sizes.push(Math.floor((bytes.length - at) / count));
  else if (lacing === 1) {
    for (let i = 1; i < count; ++i) {
      let size = 0;
      do size += bytes[at] ?? 0;
      while (bytes[at++] === 255);
      sizes.push(size);
    }
  } else {
    for (let i = 1; i < count; ++i) {
      const coded = variable(bytes, at, true);
      if (!coded) return null;
      // After the first size come differences, biased by half their range.
      const middle = 2 ** (7 * (coded.next - at) - 1) - 1;
      sizes.push(i === 1 ? coded.value : sizes[i - 2] + coded.value - middle);
      at = coded.next;
    }
  }
  const frames: Uint8Array[] = [];
  for (const size of sizes) {
    if (size < 0 || at + size > bytes.length) return null;
    frames.push(bytes.subarray(at, at + size));
    at += size;
  }
  frames.push(bytes.subarray(at));
  return { track, time, frames };
}
