/** Audio in realtime messages: base64 of PCM or of G.711 (ITU-T), converted to 16-bit samples. */

export type AudioFormat = { type: 'audio/pcm'; rate: 24_000 } | { type: 'audio/pcmu' } | { type: 'audio/pcma' };

/** Hertz. */
export const sampleRateOf = (format: AudioFormat): number => (format.type === 'audio/pcm' ? format.rate : 8000);
export const bytesPerSample = (format: AudioFormat): number => (format.type === 'audio/pcm' ? 2 : 1);

/** Decodes a mu-law byte: a sign bit, three exponent bits and four mantissa bits, all inverted. */
function muLaw(byte: number): number {
  const bits = ~byte & 0xff;
  const magnitude = ((((bits & 15) << 3) + 132) << ((bits >> 4) & 7)) - 132;
  return bits & 128 ? -magnitude : magnitude;
}

/** Decodes an A-law byte: the same fields, with every other bit inverted. */
function aLaw(byte: number): number {
  const bits = byte ^ 0x55;
  const exponent = (bits >> 4) & 7;
  const mantissa = ((bits & 15) << 4) + 8;
  const magnitude = exponent === 0 ? mantissa : (mantissa + 256) << (exponent - 1);
  return bits & 128 ? magnitude : -magnitude;
}

const tables = {
  'audio/pcmu': Int16Array.from({ length: 256 }, (_, byte) => muLaw(byte)),
  'audio/pcma': Int16Array.from({ length: 256 }, (_, byte) => aLaw(byte)),
};

const base64 = /^[A-Za-z0-9+/_-]*={0,2}$/;

/** Decodes base64; null if the value is not a valid string. */
export function decodeBase64(text: unknown): Buffer | null {
  return typeof text === 'string' && base64.test(text) ? Buffer.from(text, 'base64') : null;
}

/** Decodes whole samples: two bytes of little-endian PCM each, or one byte of G.711. */
export function decodeSamples(bytes: Buffer, format: AudioFormat): Int16Array {
  if (format.type !== 'audio/pcm') {
    const table = tables[format.type];
    return Int16Array.from(bytes, (byte) => table[byte]);
  }
  return Int16Array.from({ length: bytes.length >> 1 }, (_, i) => bytes.readInt16LE(2 * i));
}
