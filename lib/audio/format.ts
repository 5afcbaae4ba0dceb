/** Detects a file's format from its first bytes, since names are unreliable. */

import { hasLetters } from './letters.js';
import { adtsHeader, areFrames, frameHeaderBytes, type HeaderParser, mp3Header } from './mpeg.js';
import { sphereHeader } from './sphere.js';
import { isWavCodec, wavHeader } from './wav.js';

/** Compressed formats that this package decodes; other audio goes to ffmpeg. */
export type PackedFormat = 'flac' | 'mp3' | 'oga' | 'opus' | 'm4a' | 'aac' | 'webm';

/** Bytes needed for detection, after tags: they include two frames of MP3 or AAC. */
export const headBytes = 4096;

/** Consecutive frames required: in quiet PCM audio, some bytes look like headers at matching distances. */
const enoughFrames = 6;

/** True if frames follow one another from `at` on: `enoughFrames`, or as many as the bytes hold. */
function areManyFrames(head: Uint8Array, at: number, parse: HeaderParser): boolean {
  if (!areFrames(head, at, parse)) return false;
  const first = parse(head, at)!;
  // Frames of free format do not state their length, but all have the same one.
  const free = parse === mp3Header && head[at + 2] >> 4 === 0;
  let next = at;
  for (let count = 0; count < enoughFrames && next + frameHeaderBytes <= head.length; ++count) {
    const header = parse(head, next);
    if (header === null) return free && count > 1; // the next header, which determines the length, is beyond the bytes
    if (header.kind !== first.kind || (free && Math.abs(header.length - first.length) > 1)) return false;
    next += header.length;
  }
  return true;
}

/** True if frames of a kind begin in the first bytes; in part of a stream they may begin anywhere. */
function hasFrames(head: Uint8Array, parse: HeaderParser): boolean {
  if (areFrames(head, 0, parse)) return true;
  for (let at = 1; at + frameHeaderBytes <= head.length; ++at) if (areManyFrames(head, at, parse)) return true;
  return false;
}

/**
 * The format that this package decodes itself, from the first bytes after the tags, or null. Also null for WAV and
 * SPHERE files with a codec other than PCM.
 */
export function detectFormat(head: Uint8Array): 'wav' | 'sphere' | PackedFormat | null {
  if (isWave(head)) {
    const { codec } = wavHeader(head, null);
    return codec === null || isWavCodec(codec) || codec === 0 ? 'wav' : null;
  }
  if (hasLetters(head, 0, 'NIST')) return typeof sphereHeader(head)?.codec === 'number' ? 'sphere' : null;
  if (hasLetters(head, 0, 'fLaC')) return 'flac';
  if (hasLetters(head, 0, 'OggS')) {
    const page = Buffer.from(head.subarray(0, 300)).toString('latin1');
    if (page.includes('OpusHead')) return 'opus';
    if (page.includes('\x7fFLAC')) return 'flac';
    return page.includes('\x01vorbis') ? 'oga' : null;
  }
  if (hasLetters(head, 4, 'ftyp')) return 'm4a';
  if (hasLetters(head, 0, '\x1aE\xdf\xa3')) return 'webm';
  if (otherMedia(head) !== null || isText(head)) return null;
  return hasFrames(head, adtsHeader) ? 'aac' : hasFrames(head, mp3Header) ? 'mp3' : null;
}

const isWave = (head: Uint8Array): boolean =>
  hasLetters(head, 8, 'WAVE') && ['RIFF', 'RIFX', 'RF64', 'BW64'].some((magic) => hasLetters(head, 0, magic));

/** First bytes of other formats. */
const otherMagics: readonly (readonly [at: number, magic: string, name: string])[] = [
  [0, 'FORM', 'AIFF'],
  [0, 'NIST_1A', 'NIST SPHERE'],
  [0, 'caff', 'CAF'],
  [0, 'OggS', 'Ogg with another codec'],
  [0, '#!AMR', 'AMR'],
  [0, '0&\xb2u', 'WMA'],
  [0, '.snd', 'AU'],
  [0, 'wvpk', 'WavPack'],
  [0, 'MAC ', "Monkey's Audio"],
  [0, 'TTA', 'True Audio'],
  [0, 'MPCK', 'Musepack'],
  [0, 'DSD ', 'DSD'],
  [0, 'riff', 'Wave64'],
  [0, 'FLV', 'Flash video'],
  [0, 'Creative Voice File', 'Creative Voice'],
  [0, 'd\xa3', 'IRCAM'],
  [0, 'STRM', 'AST'],
  [0, '\x0bw', 'AC-3'],
  [0, '\x7f\xfe\x80\x01', 'DTS'],
  [0, '\0\0\x01\xba', 'MPEG video'],
  [0, '\x06\x0e\x2b\x34', 'MXF'],
  [0, '.RMF', 'RealMedia'],
  [4, 'moov', 'QuickTime'],
  [4, 'wide', 'QuickTime'],
  [4, 'mdat', 'QuickTime'],
];

/** Detects an MPEG transport stream: each packet begins with the same byte; some recorders add four bytes before it. */
function isTransportStream(head: Uint8Array): boolean {
  return [188, 192].some((size) => {
    const begin = size - 188;
    return head.length > begin + 3 * size && [0, 1, 2, 3].every((packet) => head[begin + packet * size] === 0x47);
  });
}

/** A name for the detected format, for the message that requests ffmpeg; null if it does not look like media. */
export function otherMedia(head: Uint8Array): string | null {
  if (isWave(head)) return `WAV with codec ${wavHeader(head, null).codec}`;
  if (hasLetters(head, 0, 'RIFF')) return `RIFF ${String.fromCharCode(...head.subarray(8, 12)).trim()}`;
  if (isTransportStream(head)) return 'an MPEG transport stream';
  return otherMagics.find(([at, magic]) => hasLetters(head, at, magic))?.[2] ?? null;
}

/** Duration in seconds, if the first bytes contain it. `fileSize` in bytes, null if unknown. */
export function headDuration(head: Uint8Array, fileSize: number | null): number | null {
  if (isWave(head)) return wavHeader(head, fileSize).duration;
  const sphere = sphereHeader(head);
  if (sphere) return sphere.size === null ? null : sphere.size / (sphere.sampleRate * sphere.channels * sphere.bytes);
  if (!hasLetters(head, 0, 'fLaC') || head.length < 26 || (head[4] & 127) !== 0) return null;
  const rate = (head[18] << 12) | (head[19] << 4) | (head[20] >> 4);
  const samples = (head[21] & 15) * 2 ** 32 + head[22] * 2 ** 24 + ((head[23] << 16) | (head[24] << 8) | head[25]);
  return rate > 0 && samples > 0 ? samples / rate : null;
}

/** True if the bytes are text. ffmpeg takes some texts for playlists and opens the files that they name. */
export function isText(head: Uint8Array): boolean {
  return head.every((byte) => byte >= 32 || (byte >= 9 && byte <= 13) || byte === 27);
}
