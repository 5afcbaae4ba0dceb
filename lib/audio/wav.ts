/** A streaming WAV parser. Lengths may be unknown, too large or missing, as pipes and recorders write them. */
import { OneheadError } from '../errors.js';
import { PcmReader } from './pcm.js';
import type { Coding } from './sample-functions.js';
import { maskSpeakers, type Speakers } from './speakers.js';
import { clock, type Warn } from './warnings.js';

/** Samples of all channels, one Float32Array for each. They may change at the next step. */
export interface DecodedChunk {
  /** True if the samples are known to be finite and in range. */
  checked?: boolean;
  channels: Float32Array[];
  sampleRate: number;
  /** Where the channels belong, if the file tells. */
  speakers?: Speakers;
}

interface WavFormat {
  channels: number;
  sampleRate: number;
  bits: number;
  codec: number;
  blockBytes: number;
  /** False for RIFX, which is big-endian. */
  little: boolean;
  speakers?: Speakers;
}

const pcm = 1;
const ieeeFloat = 3;
const aLaw = 6;
const muLaw = 7;
const extensible = 0xfffe;
/** The last letter of RIFX. */
const bigEndian = 0x58;
/** Valid bits per sample of each codec; PCM samples of other widths are stored in the upper bits of whole bytes. */
const widths: Record<number, number[]> = {
  [pcm]: Array.from({ length: 32 }, (_, i) => i + 1),
  [ieeeFloat]: [32, 64],
  [aLaw]: [8],
  [muLaw]: [8],
};

function parseFormat(view: DataView, name: string, little: boolean): WavFormat {
  const invalid = (problem: string) =>
    new OneheadError(
      'AUDIO_INVALID',
      `${name} is a WAV file that cannot be read: ${problem}; convert it to 16-bit PCM.`,
    );
  if (view.byteLength < 16) throw invalid('its format chunk is too short');
  let tag = view.getUint16(0, little);
  const channels = view.getUint16(2, little);
  const sampleRate = view.getUint32(4, little);
  const bits = view.getUint16(14, little);
  let mask = 0;
  if (tag === extensible && view.byteLength >= 26) {
    tag = view.getUint16(24, little);
    mask = view.getUint32(20, little);
  }
  if (!widths[tag]) throw invalid(`its codec (number ${tag}) is not PCM`);
  if (!widths[tag].includes(bits)) throw invalid(`its samples have ${bits} bits`);
  if (channels < 1 || channels > 64) throw invalid(`its header states ${channels} channels`);
  if (sampleRate < 1000 || sampleRate > 768_000) throw invalid(`its header states a sample rate of ${sampleRate} Hz`);
  // 20 bits take three bytes, or four if the block has room for them.
  const stated = view.getUint16(12, little) / channels;
  const least = Math.ceil(bits / 8);
  const bytes = tag === pcm && Number.isInteger(stated) && stated > least && stated <= 4 ? stated : least;
  const speakers = maskSpeakers(mask, channels);
  return { channels, sampleRate, bits: 8 * bytes, codec: tag, blockBytes: channels * bytes, little, speakers };
}

/** The samples of bytes: telephone samples (G.711), which are on a logarithmic scale, and unsigned integers. */
const tables: Record<number, Float32Array> = {
  [muLaw]: Float32Array.from({ length: 256 }, (_, byte) => {
    const bits = ~byte & 255;
    const size = ((((bits & 15) << 3) + 132) << ((bits >> 4) & 7)) - 132;
    return (bits & 128 ? -size : size) / 32768;
  }),
  [aLaw]: Float32Array.from({ length: 256 }, (_, byte) => {
    const bits = byte ^ 0x55;
    const exponent = (bits >> 4) & 7;
    const low = ((bits & 15) << 4) + 8;
    const size = exponent === 0 ? low : (low + 256) << (exponent - 1);
    return (bits & 128 ? size : -size) / 32768;
  }),
  [pcm]: Float32Array.from({ length: 256 }, (_, byte) => (byte - 128) / 128),
};

function codingOf({ codec, bits, little }: WavFormat): Coding {
  const bigEndian = !little;
  if (codec === ieeeFloat) return { name: bits === 64 ? 'float64' : 'float32', bigEndian };
  if (bits === 8) return { name: 'bytes', bigEndian, table: tables[codec] };
  return { name: bits === 16 ? 'int16' : bits === 24 ? 'int24' : 'int32', bigEndian };
}

/** The fields of the header that are in `head`. */
export interface WavHeader {
  /** The codec's number, null if the format chunk comes later. */
  codec: number | null;
  /** Seconds, null if the header does not state it and the total length is unknown. */
  duration: number | null;
}

/** Reads a header without validating it. `fileSize` in bytes, if known, corrects its claims. */
export function wavHeader(head: Uint8Array, fileSize: number | null): WavHeader {
  const view = new DataView(head.buffer, head.byteOffset, head.length);
  const little = head[3] !== bigEndian;
  let [codec, bytesPerSecond, longSize]: [number | null, number, number] = [null, 0, 0];
  for (let at = 12; at + 8 <= head.length; ) {
    const id = String.fromCharCode(...head.subarray(at, at + 4));
    const size = view.getUint32(at + 4, little);
    if (id === 'ds64' && at + 24 <= head.length) longSize = Number(view.getBigUint64(at + 16, little));
    if (id === 'fmt ' && at + 24 <= head.length) {
      codec = view.getUint16(at + 8, little);
      if (codec === extensible && at + 34 <= head.length) codec = view.getUint16(at + 32, little);
      bytesPerSecond = view.getUint16(at + 20, little) * view.getUint32(at + 12, little);
    }
    if (id === 'data') {
      const claimed = dataBytes(size, longSize);
      const there = fileSize === null ? Number.POSITIVE_INFINITY : fileSize - at - 8;
      const bytes = codec !== null && isWavCodec(codec) ? Math.min(claimed, there) : Number.NaN;
      return { codec, duration: bytesPerSecond > 0 && Number.isFinite(bytes) ? bytes / bytesPerSecond : null };
    }
    at += 8 + size + (size & 1);
  }
  return { codec, duration: null };
}

/** True if this module decodes the codec. */
export const isWavCodec = (codec: number): boolean => codec in widths;

/** Writers to a pipe leave 0 or values near 2^32: the audio continues to the end. */
function dataBytes(size: number, longSize: number): number {
  if (size === 0xffffffff && longSize > 0 && Number.isSafeInteger(longSize)) return longSize;
  return size === 0 || size >= 0xfffffff0 ? Number.POSITIVE_INFINITY : size;
}

/** Lengths from here on may be placeholders of a writer to a pipe, such as 2^31 from sox and arecord. */
const minPlaceholder = 0x7fff0000;
/** Seconds that may be missing at the end without a warning: headers are not exact. */
const tolerance = 0.5;

/**
 * Decodes a WAV stream. Data after the audio (tags) is ignored. A truncated file gives what it has, with a warning if
 * its header shows how much is missing.
 */
export async function* decodeWav(
  bytes: AsyncIterable<Uint8Array>,
  name: string,
  warn: Warn = () => {},
): AsyncGenerator<DecodedChunk> {
  let held: Uint8Array = new Uint8Array();
  let format: WavFormat | null = null;
  let reader: PcmReader | null = null;
  let started = false;
  let little = true;
  /** Bytes of a chunk still to be skipped, and bytes of audio still to come once it began. */
  let skip = 0;
  let data: number | null = null;
  let longSize = 0;
  let stated = 0;
  for await (const chunk of bytes) {
    held = held.length > 0 ? Buffer.concat([held, chunk]) : chunk;
    for (;;) {
      if (!started) {
        if (held.length < 12) break;
        little = held[3] !== bigEndian;
        held = held.subarray(12);
        started = true;
      } else if (skip > 0) {
        const passed = Math.min(skip, held.length);
        held = held.subarray(passed);
        skip -= passed;
        if (skip > 0) break;
      } else if (data !== null && format) {
        reader ??= new PcmReader(codingOf(format), format.channels, format.sampleRate);
        const { sampleRate, speakers, codec } = format;
        const audio = held.subarray(0, Math.min(held.length, data));
        held = new Uint8Array();
        data -= audio.length;
        // Integers cannot be out of range.
        const checked = codec !== ieeeFloat;
        for (const channels of reader.push(audio))
          yield { channels, sampleRate, checked, ...(speakers && { speakers }) };
        if (data + reader.held >= format.blockBytes) break;
        return;
      } else {
        if (held.length < 8) break;
        const view = new DataView(held.buffer, held.byteOffset, held.length);
        const id = String.fromCharCode(...held.subarray(0, 4));
        const size = view.getUint32(4, little);
        if (id === 'data') {
          if (!format) {
            const sentence = `${name} is a WAV file without a format; record or export it again.`;
            throw new OneheadError('AUDIO_INVALID', sentence);
          }
          held = held.subarray(8);
          data = dataBytes(size, longSize);
          stated = data;
        } else if (id === 'fmt ' || id === 'ds64') {
          if (size > 4096) {
            const sentence = `${name} is a WAV file with a damaged header; export it again.`;
            throw new OneheadError('AUDIO_INVALID', sentence);
          }
          if (held.length < 8 + size) break;
          if (id === 'fmt ') format = parseFormat(new DataView(held.buffer, held.byteOffset + 8, size), name, little);
          else if (size >= 16) longSize = Number(view.getBigUint64(16, little));
          held = held.subarray(8 + size);
          skip = size & 1;
        } else {
          held = held.subarray(8);
          skip = size + (size & 1);
        }
      }
    }
  }
  if (!format || data === null || (stated >= minPlaceholder && stated !== longSize)) return;
  data += reader?.held ?? 0;
  const seconds = (count: number) => count / format.blockBytes / format.sampleRate;
  if (seconds(data) <= tolerance) return;
  const [end, expected] = [clock(seconds(stated - data)), clock(seconds(stated))];
  warn(`${name} could not be read from ${end} on: its stated duration is ${expected}; its end is missing.`, 'lost');
}
