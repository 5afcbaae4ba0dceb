/**
 * NIST SPHERE, the format of many speech corpora (TIMIT, Switchboard, TEDLIUM), often with names such as .wav: a text
 * header of 1,024 bytes, then audio.
 */

import { hasLetters } from './letters.js';

const magic = 'NIST_1A\n';
/** WAV's codec numbers of the codings that both formats share. */
const codings: Record<string, number> = { pcm: 1, alaw: 6, ulaw: 7, 'mu-law': 7 };

export interface SphereHeader {
  /** Bytes before the audio. */
  length: number;
  channels: number;
  sampleRate: number;
  /** Bytes of a sample. */
  bytes: number;
  /** WAV's codec number; null for codings that only other programs decode (shorten, wavpack). */
  codec: number | null;
  little: boolean;
  /** Bytes of audio, null if the header does not state it. */
  size: number | null;
}

/** The header at the start of a file; null if there is none, or required fields are missing. */
export function sphereHeader(head: Uint8Array): SphereHeader | null {
  if (!hasLetters(head, 0, magic)) return null;
  const text = Buffer.from(head.subarray(0, 4096)).toString('latin1');
  const [, stated] = /^NIST_1A\n *(\d{1,5})\n/.exec(text) ?? [];
  const length = Number(stated);
  if (!(length >= 16) || length > head.length) return null;
  const field = (name: string) => new RegExp(`^${name} -\\w+ (\\S+)`, 'm').exec(text.slice(0, length))?.[1];
  const number = (name: string, usual: number) => Number(field(name) ?? usual);
  const [channels, sampleRate] = [number('channel_count', 1), number('sample_rate', Number.NaN)];
  const coding = field('sample_coding') ?? 'pcm';
  const bytes = number('sample_n_bytes', /law/.test(coding) ? 1 : 2);
  const known = [channels, sampleRate, bytes].every((one) => Number.isInteger(one) && one > 0);
  if (!known || channels > 64 || sampleRate > 768_000 || bytes > 4) return null;
  // 8-bit PCM is signed in some programs' files and unsigned in others'; A-law and mu-law have one byte.
  const fits = coding === 'pcm' ? bytes > 1 : bytes === 1;
  const codec = fits && Object.hasOwn(codings, coding) ? codings[coding] : null;
  const count = number('sample_count', Number.NaN);
  const size = Number.isSafeInteger(count) && count > 0 ? count * channels * bytes : null;
  const order = field('sample_byte_format') ?? '01';
  return { length, channels, sampleRate, bytes, codec, little: order[0] <= order[order.length - 1], size };
}

/** Converts to WAV; big-endian samples give RIFX. */
export async function* sphereAsWav(given: AsyncIterable<Uint8Array>, header: SphereHeader): AsyncGenerator<Uint8Array> {
  const { channels, sampleRate, bytes, codec, little, size } = header;
  const wav = new DataView(new ArrayBuffer(44));
  const tag = (at: number, text: string) => new Uint8Array(wav.buffer).set(Buffer.from(text), at);
  tag(0, little ? 'RIFF' : 'RIFX');
  tag(8, 'WAVEfmt ');
  wav.setUint32(16, 16, little);
  wav.setUint16(20, codec!, little);
  wav.setUint16(22, channels, little);
  wav.setUint32(24, sampleRate, little);
  wav.setUint32(28, sampleRate * channels * bytes, little);
  wav.setUint16(32, channels * bytes, little);
  wav.setUint16(34, 8 * bytes, little);
  tag(36, 'data');
  wav.setUint32(40, Math.min(size ?? 0, 0xffffffff), little);
  yield new Uint8Array(wav.buffer);
  let skip = header.length;
  for await (const chunk of given) {
    if (chunk.length > skip) yield chunk.subarray(skip);
    skip = Math.max(0, skip - chunk.length);
  }
}
