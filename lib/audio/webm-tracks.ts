/** The audio tracks of a Matroska or WebM file's beginning. */
import type { AudioTrack, Container } from './tracks.js';
import { chooseTrack, shortCode } from './tracks.js';

const ids = {
  segment: 0x18538067,
  info: 0x1549a966,
  timestampScale: 0x2ad7b1,
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
  audio: 0xe1,
  channels: 0x9f,
  sampleRate: 0xb5,
  cluster: 0x1f43b675,
  timestamp: 0xe7,
  simpleBlock: 0xa3,
  group: 0xa0,
  block: 0xa1,
} as const;
const soundType = 2;
/** A type of track that no player knows as sound: its control buttons. */
const hiddenType = 0x20;

interface Element {
  id: number;
  body: number;
  /** Infinite where the length is unknown. */
  end: number;
}

/** A number of variable length at `at`, its marker among its bits unless `plain`; null when it is not whole or none. */
function number(
  bytes: Uint8Array,
  at: number,
  plain: boolean,
): { value: number; next: number; unknown: boolean } | null {
  const first = bytes[at];
  if (first === undefined || first === 0) return null;
  const length = Math.clz32(first) - 23;
  if (at + length > bytes.length) return null;
  let value = plain ? first & ((1 << (8 - length)) - 1) : first;
  let unknown = plain && value === (1 << (8 - length)) - 1;
  for (let i = 1; i < length; ++i) {
    unknown &&= bytes[at + i] === 255;
    value = value * 256 + bytes[at + i];
  }
  return { value, next: at + length, unknown };
}

/** The element at `at`; null when its head is not whole. */
function element(bytes: Uint8Array, at: number): Element | null {
  const id = number(bytes, at, false);
  const size = id && number(bytes, id.next, true);
  if (!size) return null;
  return { id: id.value, body: size.next, end: size.unknown ? Number.POSITIVE_INFINITY : size.next + size.value };
}

/** The elements between two places, as far as they are whole. */
function* elements(bytes: Uint8Array, begin: number, end: number): Generator<Element> {
  for (let at = begin; at < end; ) {
    const one = element(bytes, at);
    if (!one || one.end > end) return;
    yield one;
    at = one.end;
  }
}

function unsigned(bytes: Uint8Array, { body, end }: Element): number {
  let value = 0;
  for (let at = body; at < end; ++at) value = value * 256 + bytes[at];
  return value;
}

function float(bytes: Uint8Array, { body, end }: Element): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset + body, end - body);
  return view.byteLength === 4 ? view.getFloat32(0) : view.byteLength === 8 ? view.getFloat64(0) : 0;
}

const text = (bytes: Uint8Array, { body, end }: Element): string =>
  new TextDecoder().decode(bytes.subarray(body, Math.min(end, body + 200))).replace(/\0.*$/s, '');

interface WebmTrack extends AudioTrack {
  number: number;
  /** Place of the last byte of its type. */
  typeAt: number;
}

function readTrack(bytes: Uint8Array, entry: Element): Omit<WebmTrack, 'index'> | null {
  const track = { codec: '', title: null as string | null, channels: 1, sampleRate: 8000, number: 0, typeAt: -1 };
  let [type, isDefault, enabled] = [0, true, true];
  // What a track without a language speaks, by the standard.
  let language: string | null = 'en';
  let tag: string | null = null;
  for (const one of elements(bytes, entry.body, entry.end)) {
    if (one.id === ids.type) {
      type = unsigned(bytes, one);
      track.typeAt = one.end - 1;
    } else if (one.id === ids.number) track.number = unsigned(bytes, one);
    else if (one.id === ids.default) isDefault = unsigned(bytes, one) === 1;
    else if (one.id === ids.enabled) enabled = unsigned(bytes, one) === 1;
    else if (one.id === ids.codec) track.codec = text(bytes, one);
    else if (one.id === ids.title) track.title = text(bytes, one);
    else if (one.id === ids.language) language = shortCode(text(bytes, one));
    else if (one.id === ids.languageTag) tag = shortCode(text(bytes, one));
    else if (one.id === ids.audio) {
      for (const field of elements(bytes, one.body, one.end)) {
        if (field.id === ids.channels) track.channels = unsigned(bytes, field);
        else if (field.id === ids.sampleRate) track.sampleRate = float(bytes, field);
      }
    }
  }
  if (type !== soundType || track.typeAt < 0) return null;
  return { ...track, language: tag ?? language, default: isDefault && enabled, chosen: false };
}

/** The time of a track's first block in a cluster, in units; null where it is not in the bytes yet. */
function firstBlock(bytes: Uint8Array, cluster: Element, track: number): number | null {
  let timestamp = 0;
  const end = Math.min(cluster.end, bytes.length);
  for (let at = cluster.body; at < end; ) {
    const one = element(bytes, at);
    if (!one) return null;
    if (one.id === ids.cluster) {
      // The one before had no length.
      at = one.body;
      continue;
    }
    if (one.id === ids.timestamp && one.end <= end) timestamp = unsigned(bytes, one);
    const inner = one.id === ids.group ? [...elements(bytes, one.body, Math.min(one.end, end))] : [one];
    for (const block of inner) {
      if (block.id !== ids.simpleBlock && block.id !== ids.block) continue;
      const owner = number(bytes, block.body, true);
      if (!owner || owner.next + 2 > bytes.length) return null;
      if (owner.value !== track) continue;
      return timestamp + new DataView(bytes.buffer, bytes.byteOffset).getInt16(owner.next);
    }
    at = one.end;
  }
  return null;
}

/** Bytes in which the chosen track's first sound has to be found: pictures may come before it. */
const longestHead = 1 << 22;

/**
 * The bytes of a Matroska file with one audio track: the one that is chosen. `tell` is called before the first sound with what the file's
 * beginning says.
 */
export async function* chooseWebmTrack(
  bytes: AsyncIterable<Uint8Array>,
  wanted: number | string | null,
  name: string,
  tell: (container: Container) => void,
): AsyncGenerator<Uint8Array> {
  let held: Uint8Array = new Uint8Array();
  let done = false;
  for await (const chunk of bytes) {
    if (done) {
      yield chunk;
      continue;
    }
    held = Buffer.concat([held, chunk]);
    const found = readHead(held, wanted, name);
    if (!found && held.length < longestHead) continue;
    done = true;
    if (found) tell(found);
    yield held;
    held = new Uint8Array();
  }
  // A file that ends before its track's first sound still has tracks.
  if (held.length === 0) return;
  const found = readHead(held, wanted, name, true);
  if (found) tell(found);
  yield held;
}

/** What the beginning says, once all of it is there or `last` is set; the tracks that are not chosen are hidden in it then. */
function readHead(bytes: Uint8Array, wanted: number | string | null, name: string, last = false): Container | null {
  let scale = 1_000_000;
  let tracks: WebmTrack[] | null = null;
  let start: number | null = null;
  let chosen: WebmTrack | null = null;
  for (let at = 0; at < bytes.length; ) {
    const one = element(bytes, at);
    if (!one) break;
    if (one.id === ids.segment) {
      at = one.body;
      continue;
    }
    if (one.id === ids.cluster) {
      if (!chosen) break;
      start = firstBlock(bytes, one, chosen.number);
      if (start !== null) break;
    } else if (one.end > bytes.length) break;
    else if (one.id === ids.info) {
      for (const field of elements(bytes, one.body, one.end)) {
        if (field.id === ids.timestampScale) scale = unsigned(bytes, field) || scale;
      }
    } else if (one.id === ids.tracks) {
      tracks = [];
      for (const entry of elements(bytes, one.body, one.end)) {
        const track = entry.id === ids.entry ? readTrack(bytes, entry) : null;
        if (track) tracks.push({ ...track, index: tracks.length });
      }
      chosen = chooseTrack(tracks, wanted, name);
    }
    at = one.end;
  }
  if (!tracks || (start === null && chosen && !last)) return null;
  for (const { chosen, typeAt } of tracks) if (!chosen) bytes[typeAt] = hiddenType;
  return {
    tracks: tracks.map(({ number, typeAt, ...track }) => track),
    start: ((start ?? 0) * scale) / 1e9,
  };
}
