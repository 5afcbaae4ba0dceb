/** A streaming WAV parser: chunk by chunk, with lengths that may be unknown, too long or missing, as pipes and recorders leave them. */
import { OneheadError } from '../errors.js';

/** Interleaved samples of all channels become one Float32Array a channel. */
export interface DecodedChunk {
  channels: Float32Array[];
  sampleRate: number;
}

interface WavFormat {
  channels: number;
  sampleRate: number;
  bits: number;
  float: boolean;
  blockBytes: number;
}

const pcm = 1;
const ieeeFloat = 3;
const extensible = 0xfffe;

function parseFormat(view: DataView, name: string): WavFormat {
  const invalid = (problem: string) =>
    new OneheadError(
      'AUDIO_INVALID',
      `${name} is a WAV file that cannot be read: ${problem}; convert it to 16-bit PCM.`,
    );
  if (view.byteLength < 16) throw invalid('its format chunk is too short');
  let tag = view.getUint16(0, true);
  const channels = view.getUint16(2, true);
  const sampleRate = view.getUint32(4, true);
  const bits = view.getUint16(14, true);
  if (tag === extensible && view.byteLength >= 26) tag = view.getUint16(24, true);
  const float = tag === ieeeFloat;
  if (tag !== pcm && !float) throw invalid(`its codec (number ${tag}) is not PCM`);
  if (!(float ? [32, 64] : [8, 16, 24, 32]).includes(bits)) throw invalid(`its samples have ${bits} bits`);
  if (channels < 1 || channels > 64) throw invalid(`it says that it has ${channels} channels`);
  if (sampleRate < 1000 || sampleRate > 768_000) throw invalid(`it says that its sample rate is ${sampleRate} Hz`);
  return { channels, sampleRate, bits, float, blockBytes: (channels * bits) / 8 };
}

function reader(view: DataView, { bits, float }: WavFormat): (at: number) => number {
  if (float) return bits === 64 ? (at) => view.getFloat64(at, true) : (at) => view.getFloat32(at, true);
  switch (bits) {
    case 8:
      return (at) => (view.getUint8(at) - 128) / 128;
    case 16:
      return (at) => view.getInt16(at, true) / 32768;
    case 24:
      return (at) =>
        ((view.getUint8(at) | (view.getUint8(at + 1) << 8) | (view.getInt8(at + 2) << 16)) as number) / 8388608;
    default:
      return (at) => view.getInt32(at, true) / 2147483648;
  }
}

function decodeBlocks(bytes: Uint8Array, format: WavFormat): DecodedChunk {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const count = Math.floor(bytes.length / format.blockBytes);
  const read = reader(view, format);
  const channels = Array.from({ length: format.channels }, (_, channel) => {
    const samples = new Float32Array(count);
    const offset = (channel * format.bits) / 8;
    for (let i = 0; i < count; ++i) samples[i] = read(i * format.blockBytes + offset);
    return samples;
  });
  return { channels, sampleRate: format.sampleRate };
}

/** Seconds that the header promises, when the whole header is in `head`; null when it does not say. */
export function wavDuration(head: Uint8Array): number | null {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  let bytesPerSecond = 0;
  for (let at = 12; at + 8 <= head.length; ) {
    const id = String.fromCharCode(...head.subarray(at, at + 4));
    const size = view.getUint32(at + 4, true);
    if (id === 'fmt ' && at + 24 <= head.length) bytesPerSecond = view.getUint32(at + 16, true);
    if (id === 'data') return bytesPerSecond > 0 && size > 0 && size < 0xfffffff0 ? size / bytesPerSecond : null;
    at += 8 + size + (size & 1);
  }
  return null;
}

/** Decodes a WAV stream. What follows the sound (tags) is not read as sound; a file cut short gives what is there. */
export async function* decodeWav(bytes: AsyncIterable<Uint8Array>, name: string): AsyncGenerator<DecodedChunk> {
  let held: Uint8Array = new Uint8Array();
  let format: WavFormat | null = null;
  /** 'header', then chunk headers; skip > 0 passes over a chunk; data > 0 are bytes of sound still to come. */
  let started = false;
  let skip = 0;
  let data = -1;
  for await (const chunk of bytes) {
    held = held.length > 0 ? Buffer.concat([held, chunk]) : chunk;
    for (;;) {
      if (!started) {
        if (held.length < 12) break;
        held = held.subarray(12);
        started = true;
      } else if (skip > 0) {
        const passed = Math.min(skip, held.length);
        held = held.subarray(passed);
        skip -= passed;
        if (skip > 0) break;
      } else if (data >= 0 && format) {
        const usable = Math.min(held.length - (held.length % format.blockBytes), data - (data % format.blockBytes));
        if (usable > 0) yield decodeBlocks(held.subarray(0, usable), format);
        held = held.subarray(usable);
        data -= usable;
        if (data >= format.blockBytes) break;
        return;
      } else {
        if (held.length < 8) break;
        const view = new DataView(held.buffer, held.byteOffset, held.length);
        const id = String.fromCharCode(...held.subarray(0, 4));
        const size = view.getUint32(4, true);
        if (id === 'data') {
          if (!format)
            throw new OneheadError(
              'AUDIO_INVALID',
              `${name} is a WAV file without a format; record or export it again.`,
            );
          held = held.subarray(8);
          // 0 and values near 2^32 are what writes to a pipe leave: the sound goes on to the end.
          data = size === 0 || size >= 0xfffffff0 ? Number.POSITIVE_INFINITY : size;
          if (data === Number.POSITIVE_INFINITY) data = Number.MAX_SAFE_INTEGER;
        } else if (id === 'fmt ') {
          if (size > 4096)
            throw new OneheadError('AUDIO_INVALID', `${name} is a WAV file with a damaged header; export it again.`);
          if (held.length < 8 + size) break;
          format = parseFormat(new DataView(held.buffer, held.byteOffset + 8, size), name);
          held = held.subarray(8 + size + (size & 1));
        } else {
          held = held.subarray(8);
          skip = size + (size & 1);
        }
      }
    }
  }
}
