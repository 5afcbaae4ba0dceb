/** The audio tracks of an MP4 file's index. */
import { throughHead } from './head.js';
import { boundTables, Damage } from './mp4-tables.js';
import { type AudioTrack, type Container, chooseTrack, shortCode } from './tracks.js';

interface Box {
  type: string;
  /** Offsets of the box and of its content. */
  at: number;
  body: number;
  end: number;
}

const letters = (bytes: Uint8Array, at: number, count: number): string =>
  String.fromCharCode(...bytes.subarray(at, at + count));

/** The complete boxes between two offsets. */
function boxes(view: DataView, begin: number, end: number): Box[] {
  const found: Box[] = [];
  for (let at = begin; at + 8 <= end; ) {
    let size = view.getUint32(at);
    let body = at + 8;
    if (size === 1 && at + 16 <= end) {
      size = view.getUint32(at + 8) * 2 ** 32 + view.getUint32(at + 12);
      body = at + 16;
    } else if (size === 0) size = end - at;
    if (size < body - at || at + size > end) break;
    const type = letters(new Uint8Array(view.buffer, view.byteOffset), at + 4, 4);
    found.push({ type, at, body, end: at + size });
    at += size;
  }
  return found;
}

/** The box that a path of types leads to inside another. */
const child = (view: DataView, box: Box | undefined, ...path: string[]): Box | undefined =>
  path.reduce<Box | undefined>((at, type) => {
    return at && boxes(view, at.body, at.end).find((one) => one.type === type);
  }, box);

interface Mp4Track extends AudioTrack {
  /** Offset of its box. */
  at: number;
  start: number;
  empty: boolean;
}

/** Seconds of silence before the audio: leading entries without media in the edit list. */
function emptyEdits(view: DataView, { body, end }: Box, timescale: number): number {
  const long = view.getUint8(body) === 1;
  const step = long ? 20 : 12;
  let units = 0;
  for (let at = body + 8; at + step <= end; at += step) {
    const place = view.getInt32(long ? at + 8 : at + 4);
    if (place !== -1) break;
    units += long ? view.getUint32(at) * 2 ** 32 + view.getUint32(at + 4) : view.getUint32(at);
  }
  return timescale > 0 ? units / timescale : 0;
}

/** QuickTime's language numbers, in order. */
const numberedLanguages = (
  'en fr de it nl sv es da pt no he ja ar fi el is mt tr hr zh-Hant ur hi th ko lt pl hu et lv se fo fa ru zh-Hans nl ga sq ro cs sk sl yi sr mk ' +
  'bg uk be uz kk az'
).split(' ');

/** Decodes a packed ISO 639-2 code, three letters of five bits; lower numbers are QuickTime's. */
function packedLanguage(code: number): string | null {
  if (code < 0x400) return numberedLanguages[code] ?? null;
  const letter = (shift: number) => String.fromCharCode(0x60 + ((code >> shift) & 31));
  const text = letter(10) + letter(5) + letter(0);
  return /^[a-z]{3}$/.test(text) ? shortCode(text) : null;
}

/** The number of channels in AAC's own configuration (the entry's own field is always 2), or null. */
function aacChannels(view: DataView, { body, end }: Box): number | null {
  // Descriptors: a tag, a length in groups of seven bits, and the fields of each kind before nested descriptors.
  const inside: Record<number, number> = { 3: 3, 4: 13 };
  for (let at = body + 4; at + 2 < end; ) {
    const tag = view.getUint8(at++);
    while (at < end && view.getUint8(at) & 0x80) ++at;
    const length = view.getUint8(at++);
    if (tag === 5) {
      if (at + 2 > end) return null;
      const bits = view.getUint16(at);
      const rated = ((bits >> 7) & 15) !== 15;
      const configuration = rated ? (bits >> 3) & 15 : 0;
      return configuration === 7 ? 8 : configuration || null;
    }
    at += inside[tag] ?? length;
  }
  return null;
}

/** Reads a track's box; null unless it is an audio track. */
function readTrack(view: DataView, bytes: Uint8Array, track: Box, timescale: number): Omit<Mp4Track, 'index'> | null {
  const media = child(view, track, 'mdia');
  const handler = child(view, media, 'hdlr');
  if (!handler || handler.end - handler.body < 12 || letters(bytes, handler.body + 8, 4) !== 'soun') return null;
  const table = child(view, media, 'minf', 'stbl');
  const description = child(view, table, 'stsd');
  // A sample entry: size, name, six bytes, an index, then a version and the audio fields.
  const entry = description && description.end - description.body >= 44 ? description.body + 8 : null;
  const header = child(view, track, 'tkhd');
  const mediaHeader = child(view, media, 'mdhd');
  const language = mediaHeader ? mediaHeader.body + (view.getUint8(mediaHeader.body) === 1 ? 32 : 20) : 0;
  const extended = child(view, media, 'elng');
  const named = extended ? letters(bytes, extended.body + 4, Math.min(40, extended.end - extended.body - 4)) : '';
  const name = child(view, track, 'udta', 'name');
  const sizes = child(view, table, 'stsz');
  const edits = child(view, track, 'edts', 'elst');
  const configuration = entry
    ? boxes(view, entry + 36, description!.end).find(({ type }) => type === 'esds')
    : undefined;
  const rate = entry ? view.getUint16(entry + 32) : 0;
  return {
    at: track.at,
    codec: entry ? letters(bytes, entry + 4, 4) : 'unknown',
    language:
      shortCode(named.replace(/\0.*$/s, '') || 'und') ??
      (mediaHeader && language + 2 <= mediaHeader.end ? packedLanguage(view.getUint16(language)) : null),
    title: name ? new TextDecoder().decode(bytes.subarray(name.body, name.end)).replace(/\0/g, '').slice(0, 200) : null,
    channels: (configuration && aacChannels(view, configuration)) ?? ((entry && view.getUint16(entry + 24)) || null),
    sampleRate: rate || null,
    default: header ? (view.getUint8(header.body + 3) & 1) === 1 : true,
    chosen: false,
    start: edits && edits.end - edits.body >= 8 ? emptyEdits(view, edits, timescale) : 0,
    empty: sizes ? sizes.end - sizes.body >= 12 && view.getUint32(sizes.body + 8) === 0 : false,
  };
}

/** The audio tracks of `index`, a whole moov box; all except the chosen one are hidden in it. */
function chooseIn(index: Uint8Array, wanted: number | string | null, name: string): Container {
  const view = new DataView(index.buffer, index.byteOffset, index.length);
  const [movie] = boxes(view, 0, index.length);
  const inside = boxes(view, movie.body, movie.end);
  const header = inside.find(({ type, body, end }) => type === 'mvhd' && end - body >= 32);
  const timescale = header ? view.getUint32(header.body + (view.getUint8(header.body) === 1 ? 20 : 12)) : 0;
  const fragmented = inside.some(({ type }) => type === 'mvex');
  const tracks: Mp4Track[] = [];
  for (const box of inside) {
    if (box.type !== 'trak') continue;
    const track = readTrack(view, index, box, timescale);
    if (track) tracks.push({ ...track, index: tracks.length, empty: track.empty && !fragmented });
  }
  const chosen = chooseTrack(tracks, wanted, name);
  for (const { at, chosen } of tracks) if (!chosen) index.set([0x66, 0x72, 0x65, 0x65], at + 4); // 'free'
  return { tracks: tracks.map(({ at, start, empty, ...track }) => track), start: chosen?.start ?? 0 };
}

/** Bytes; an index of 20 hours takes about 20 MB. */
const maxIndexBytes = 1 << 28;

/**
 * The index if the bytes contain all of it, the number of bytes needed to decide, or null if it is not before the
 * audio.
 */
function findIndex(bytes: Uint8Array): { at: number; end: number } | number | null {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  for (let at = 0; ; ) {
    if (at > maxIndexBytes) return null;
    if (at + 8 > bytes.length) return at + 8;
    const type = letters(bytes, at + 4, 4);
    const size = view.getUint32(at);
    // A size of 0 or 1 means the rest of the file or a long box: not an index that is read here.
    if (size < 8 || type === 'mdat') return null;
    if (type === 'moov') {
      if (at + size > maxIndexBytes) return null;
      return at + size <= bytes.length ? { at, end: at + size } : at + size;
    }
    at += size;
  }
}

/** The offset and the size of a frame. */
export type Place = [offset: number, size: number];

/** What decoding needs to know of an audio track. */
export interface Sound {
  codec: string;
  sampleRate: number | null;
  /** The frames that `takeSound` has removed from the index. */
  places: Place[];
}

/** Frames that an index may have before the first fragment: six hours at 44.1 kHz. */
const maxPlaces = 1 << 20;

/** The places of the frames in a track's tables. */
function placesIn(view: DataView, tables: Box[]): Place[] {
  const table = (type: string, bytes: number) => {
    const box = tables.find((one) => one.type === type && one.end - one.body >= 8);
    const count = box ? Math.min(view.getUint32(box.body + 4), Math.floor((box.end - box.body - 8) / bytes)) : 0;
    return { count, at: (i: number) => box!.body + 8 + i * bytes };
  };
  const sizes = tables.find(({ type, body, end }) => type === 'stsz' && end - body >= 12);
  const [short, long, perChunk] = [table('stco', 4), table('co64', 8), table('stsc', 12)];
  const chunks = short.count || long.count;
  if (!sizes || chunks === 0) return [];
  const offset = (chunk: number) =>
    short.count > 0
      ? view.getUint32(short.at(chunk))
      : view.getUint32(long.at(chunk)) * 2 ** 32 + view.getUint32(long.at(chunk) + 4);
  const equal = view.getUint32(sizes.body + 4);
  const count = view.getUint32(sizes.body + 8);
  const places: Place[] = [];
  let [chunk, run, left, at] = [-1, -1, 0, 0];
  for (let frame = 0; frame < count; ) {
    if (left === 0 && chunk + 1 < chunks) {
      at = offset(++chunk);
      while (run + 1 < perChunk.count && view.getUint32(perChunk.at(run + 1)) <= chunk + 1) ++run;
      left = run < 0 ? 1 : Math.max(1, view.getUint32(perChunk.at(run) + 4));
    }
    // Uncompressed samples are frames of a few bytes.
    const together = equal > 0 && equal <= 32 ? Math.max(1, Math.min(left, count - frame, 1024)) : 1;
    const size = equal > 0 ? equal * together : view.getUint32(sizes.body + 12 + 4 * frame);
    places.push([at, size]);
    if (places.length > maxPlaces) throw new Damage('its index claims more frames than can be');
    at += size;
    frame += together;
    left = Math.max(0, left - together);
  }
  return places;
}

/**
 * Finds the audio track in an index that the bytes contain. If fragments follow, the frames in the index are removed
 * from it, in place: a decoder reads either those or the fragments. Throws Damage.
 */
export function takeSound(bytes: Uint8Array): Sound | null {
  const index = findIndex(bytes);
  if (!index || typeof index === 'number') return null;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const inside = boxes(view, index.at + 8, index.end);
  const fragments = inside.find(({ type }) => type === 'mvex');
  const fragmented = child(view, fragments, 'trex') !== undefined;
  for (const box of inside) {
    const track = box.type === 'trak' ? readTrack(view, bytes, box, 0) : null;
    if (!track) continue;
    const { codec, sampleRate } = track;
    if (!fragmented || track.empty) return { codec, sampleRate, places: [] };
    const table = child(view, box, 'mdia', 'minf', 'stbl');
    const tables = table ? boxes(view, table.body, table.end) : [];
    const places = placesIn(view, tables).filter(([offset]) => offset >= index.end);
    for (const { type, body, end } of tables) {
      if (type === 'stsz' && end - body >= 12) view.setUint32(body + 8, 0);
      if (type === 'stts' && end - body >= 8) view.setUint32(body + 4, 0);
    }
    // The edit's duration is that of the frames in the index; 0 means all.
    const edits = child(view, box, 'edts', 'elst');
    if (edits && edits.end - edits.body >= 8) {
      const step = view.getUint8(edits.body) === 1 ? 20 : 12;
      for (let at = edits.body + 8; at + step <= edits.end; at += step) {
        if (view.getInt32(at + (step === 20 ? 8 : 4)) < 0) continue;
        view.setUint32(at, 0);
        if (step === 20) view.setUint32(at + 4, 0);
      }
    }
    return { codec, sampleRate, places };
  }
  return null;
}

/**
 * The bytes of an MP4 file whose index comes before its audio, reduced to one audio track. `onContainer` is called
 * before the first audio with the contents of the index. Throws Damage.
 */
export function chooseMp4Track(
  bytes: AsyncIterable<Uint8Array>,
  wanted: number | string | null,
  name: string,
  onContainer: (container: Container) => void,
): AsyncGenerator<Uint8Array> {
  return throughHead(boundTables(bytes), (held) => {
    const index = findIndex(held);
    if (typeof index === 'number') return index;
    if (!index) return held;
    const changed = Uint8Array.from(held); // the bytes may be the caller's
    onContainer(chooseIn(changed.subarray(index.at, index.end), wanted, name));
    return changed;
  });
}
