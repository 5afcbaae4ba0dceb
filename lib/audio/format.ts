/** What a file is, from its first bytes; names of files say too little. */

/** Formats decoded without system packages; 'other' audio goes to ffmpeg. */
export type AudioFormat = 'wav' | 'flac' | 'mp3' | 'oga' | 'opus' | 'm4a' | 'aac';

/** Bytes that detection wants to see: an ID3 tag with a picture can be long, but what follows it is MP3 all the same. */
export const headBytes = 4096;

const text = (head: Uint8Array, at: number, length: number): string =>
  String.fromCharCode(...head.subarray(at, Math.min(at + length, head.length)));

/** Bits that every MPEG audio layer III frame begins with, reserved values excluded. */
function isMp3Frame(head: Uint8Array, at: number): boolean {
  if (head.length < at + 4) return false;
  const [a, b, c] = head.subarray(at, at + 3);
  return (
    a === 0xff &&
    (b & 0xe0) === 0xe0 &&
    (b & 0x18) !== 0x08 &&
    (b & 0x06) === 0x02 &&
    c >> 4 !== 15 &&
    (c & 0x0c) !== 0x0c
  );
}

export function detectFormat(head: Uint8Array): AudioFormat | null {
  const magic = text(head, 0, 4);
  if ((magic === 'RIFF' || magic === 'RF64') && text(head, 8, 4) === 'WAVE') return 'wav';
  if (magic === 'fLaC') return 'flac';
  if (magic === 'OggS') {
    const page = text(head, 0, 300);
    if (page.includes('OpusHead')) return 'opus';
    return page.includes('\x01vorbis') ? 'oga' : null;
  }
  if (magic.startsWith('ID3')) {
    const tag = 10 + (((head[6] & 127) << 21) | ((head[7] & 127) << 14) | ((head[8] & 127) << 7) | (head[9] & 127));
    return text(head, tag, 4) === 'fLaC' ? null : 'mp3';
  }
  if (text(head, 4, 4) === 'ftyp') return 'm4a';
  if (head.length > 6 && head[0] === 0xff && (head[1] & 0xf6) === 0xf0) return 'aac';
  return isMp3Frame(head, 0) ? 'mp3' : null;
}

/** A name for what was seen, for the sentence that asks for ffmpeg; null when it does not look like media at all. */
export function otherMedia(head: Uint8Array): string | null {
  const magic = text(head, 0, 4);
  if (magic === '\x1aE\xdf\xa3') return 'Matroska or WebM';
  if (magic === 'FORM') return 'AIFF';
  if (magic === 'caff') return 'CAF';
  if (magic === 'OggS') return 'Ogg with another codec';
  if (magic === 'RIFF') return `RIFF ${text(head, 8, 4)}`;
  if (magic === '#!AM') return 'AMR';
  if (magic === '0&\xb2u') return 'WMA';
  if (magic === '.snd') return 'AU';
  if (magic.startsWith('ID3')) return 'audio with an ID3 tag';
  return null;
}
