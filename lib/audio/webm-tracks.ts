/** The audio tracks at the beginning of a Matroska or WebM file. */
import { blockHead, type Element, elementAt, elementsIn, floatOf, ids, textOf, unsignedOf } from './ebml.js';
import { throughHead } from './head.js';
import { type AudioTrack, type Container, chooseTrack, shortCode } from './tracks.js';

const soundType = 2;
/** A track type that no player treats as audio: its control buttons. */
const hiddenType = 0x20;

interface WebmTrack extends AudioTrack {
  number: number;
  /** Offset of the last byte of its type. */
  typeAt: number;
}

function readTrack(bytes: Uint8Array, entry: Element): Omit<WebmTrack, 'index'> | null {
  const track = { codec: '', title: null as string | null, channels: 1, sampleRate: 8000, number: 0, typeAt: -1 };
  let [type, isDefault, enabled] = [0, true, true];
  // The standard's default for a track without a language.
  let language: string | null = 'en';
  let tag: string | null = null;
  for (const one of elementsIn(bytes, entry.body, entry.end)) {
    if (one.id === ids.type) {
      type = unsignedOf(bytes, one);
      track.typeAt = one.end - 1;
    } else if (one.id === ids.number) track.number = unsignedOf(bytes, one);
    else if (one.id === ids.default) isDefault = unsignedOf(bytes, one) === 1;
    else if (one.id === ids.enabled) enabled = unsignedOf(bytes, one) === 1;
    else if (one.id === ids.codec) track.codec = textOf(bytes, one);
    else if (one.id === ids.title) track.title = textOf(bytes, one);
    else if (one.id === ids.language) language = shortCode(textOf(bytes, one));
    else if (one.id === ids.languageTag) tag = shortCode(textOf(bytes, one));
    else if (one.id === ids.audio) {
      for (const field of elementsIn(bytes, one.body, one.end)) {
        if (field.id === ids.channels) track.channels = unsignedOf(bytes, field);
        else if (field.id === ids.rate) track.sampleRate = floatOf(bytes, field);
      }
    }
  }
  if (type !== soundType || track.typeAt < 0) return null;
  return { ...track, language: tag ?? language, default: isDefault && enabled, chosen: false };
}

/** The time of a track's first block in a cluster, in units; null if the bytes do not contain it yet. */
function firstBlock(bytes: Uint8Array, cluster: Element, track: number): number | null {
  let timestamp = 0;
  const end = Math.min(cluster.end, bytes.length);
  for (let at = cluster.body; at < end; ) {
    const one = elementAt(bytes, at);
    if (!one) return null;
    if (one.id === ids.cluster) {
      // The previous cluster had no length.
      at = one.body;
      continue;
    }
    if (one.id === ids.timestamp && one.end <= end) timestamp = unsignedOf(bytes, one);
    const inner = one.id === ids.group ? [...elementsIn(bytes, one.body, Math.min(one.end, end))] : [one];
    for (const block of inner) {
      if (block.id !== ids.simpleBlock && block.id !== ids.block) continue;
      const head = blockHead(bytes, block.body);
      if (!head) return null;
      if (head.track === track) return timestamp + head.time;
    }
    at = one.end;
  }
  return null;
}

/** Bytes in which the chosen track's first block must be found: video may come before it. */
const maxHeadBytes = 1 << 22;

/**
 * The bytes of a Matroska file with one audio track, the chosen one. `onContainer` is called before the first audio
 * with the contents of the file's beginning.
 */
export function chooseWebmTrack(
  bytes: AsyncIterable<Uint8Array>,
  wanted: number | string | null,
  name: string,
  onContainer: (container: Container) => void,
): AsyncGenerator<Uint8Array> {
  return throughHead(bytes, (held, last) => {
    // A file that ends before its track's first block, or has much data before it, still has tracks.
    const ends = last || held.length >= maxHeadBytes;
    const changed = Uint8Array.from(held); // the bytes may be the caller's
    const found = readHead(changed, wanted, name, ends);
    if (found) onContainer(found);
    return found || ends ? changed : held.length + 1;
  });
}

/** Reads the beginning once it is complete or `last` is set, and then hides the tracks that are not chosen. */
function readHead(bytes: Uint8Array, wanted: number | string | null, name: string, last = false): Container | null {
  let scale = 1_000_000;
  let tracks: WebmTrack[] | null = null;
  let start: number | null = null;
  let chosen: WebmTrack | null = null;
  for (let at = 0; at < bytes.length; ) {
    const one = elementAt(bytes, at);
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
      for (const field of elementsIn(bytes, one.body, one.end)) {
        if (field.id === ids.scale) scale = unsignedOf(bytes, field) || scale;
      }
    } else if (one.id === ids.tracks) {
      tracks = [];
      for (const entry of elementsIn(bytes, one.body, one.end)) {
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
