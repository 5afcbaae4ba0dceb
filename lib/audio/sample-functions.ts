/**
 * The work on every sample between a decoder and the resampler, in TypeScript and in the addon. Both forms give the
 * same bits; the addon's takes a small part of the time.
 */
import { endianness } from 'node:os';
import { loadedNative } from '../device/native.js';

/** The form of a sample. `bytes` are 8 bits whose samples are in a table. */
export type CodingName = 'bytes' | 'int16' | 'int24' | 'int32' | 'float32' | 'float64';

/** Bytes of a sample. */
export const codingBytes: Readonly<Record<CodingName, number>> = {
  bytes: 1,
  int16: 2,
  int24: 3,
  int32: 4,
  float32: 4,
  float64: 8,
};

/** How the samples of a file are stored. */
export interface Coding {
  name: CodingName;
  bigEndian: boolean;
  /** The sample of each of 256 bytes, for the coding `bytes`. */
  table?: Float32Array;
}

export interface SampleFunctions {
  /**
   * Converts whole frames of interleaved channels to samples, written from position `begin` on. Integers of n bits are
   * divided by 2^(n - 1).
   */
  convertPcm(bytes: Uint8Array, coding: Coding, channels: readonly Float32Array[], begin: number): void;
  /**
   * Mixes channels to one: their mean, or the sum of their shares. Writes the sums of squares of each channel and then
   * of the mix into `powers`. The lengths are those of `mix`.
   */
  mixChannels(
    channels: readonly Float32Array[],
    shares: Float64Array | null,
    mix: Float32Array,
    powers: Float64Array,
  ): void;
  /** False if samples `begin` to `end` hold a magnitude above `level`, or NaN. */
  withinLevel(samples: Float32Array, begin: number, end: number, level: number): boolean;
}

const bigEndianHost = endianness() === 'BE';

/** The bytes at an aligned address, in this machine's order. */
function ordered(bytes: Uint8Array, size: number, bigEndian: boolean): Uint8Array {
  const swap = bigEndian !== bigEndianHost;
  if (!swap && bytes.byteOffset % size === 0) return bytes;
  const copy = new Uint8Array(bytes);
  const buffer = Buffer.from(copy.buffer);
  if (swap) size === 2 ? buffer.swap16() : size === 4 ? buffer.swap32() : buffer.swap64();
  return copy;
}

// Loops for each type: a common one for several types takes much longer.

function fromInt16(values: Int16Array, at: number, step: number, to: Float32Array, begin: number, end: number) {
  for (let i = begin; i < end; ++i, at += step) to[i] = values[at] / 32768;
}

function fromInt32(values: Int32Array, at: number, step: number, to: Float32Array, begin: number, end: number) {
  for (let i = begin; i < end; ++i, at += step) to[i] = values[at] / 2147483648;
}

function fromFloat32(values: Float32Array, at: number, step: number, to: Float32Array, begin: number, end: number) {
  for (let i = begin; i < end; ++i, at += step) to[i] = values[at];
}

function fromFloat64(values: Float64Array, at: number, step: number, to: Float32Array, begin: number, end: number) {
  for (let i = begin; i < end; ++i, at += step) to[i] = values[at];
}

/** Loops for the codings whose samples are not elements of a typed array. */
function fromTable(
  bytes: Uint8Array,
  table: Float32Array,
  at: number,
  step: number,
  to: Float32Array,
  begin: number,
  end: number,
) {
  for (let i = begin; i < end; ++i, at += step) to[i] = table[bytes[at]];
}

function fromInt24(
  bytes: Uint8Array,
  low: number,
  at: number,
  step: number,
  to: Float32Array,
  begin: number,
  end: number,
) {
  const high = 2 - low;
  for (let i = begin; i < end; ++i, at += step) {
    to[i] = ((bytes[at + low] << 8) | (bytes[at + 1] << 16) | (bytes[at + high] << 24)) / 2147483648;
  }
}

function convertPcm(bytes: Uint8Array, coding: Coding, channels: readonly Float32Array[], begin: number): void {
  const { name, bigEndian, table } = coding;
  const size = codingBytes[name];
  const count = channels.length;
  const length = bytes.length / size;
  const end = begin + length / count;
  if (name === 'bytes') {
    for (const [channel, to] of channels.entries()) fromTable(bytes, table!, channel, count, to, begin, end);
    return;
  }
  if (name === 'int24') {
    for (const [channel, to] of channels.entries())
      fromInt24(bytes, bigEndian ? 2 : 0, 3 * channel, 3 * count, to, begin, end);
    return;
  }
  const { buffer, byteOffset } = ordered(bytes, size, bigEndian);
  if (name === 'int16') {
    const values = new Int16Array(buffer, byteOffset, length);
    for (const [channel, to] of channels.entries()) fromInt16(values, channel, count, to, begin, end);
  } else if (name === 'int32') {
    const values = new Int32Array(buffer, byteOffset, length);
    for (const [channel, to] of channels.entries()) fromInt32(values, channel, count, to, begin, end);
  } else if (name === 'float32') {
    const values = new Float32Array(buffer, byteOffset, length);
    for (const [channel, to] of channels.entries()) fromFloat32(values, channel, count, to, begin, end);
  } else {
    const values = new Float64Array(buffer, byteOffset, length);
    for (const [channel, to] of channels.entries()) fromFloat64(values, channel, count, to, begin, end);
  }
}

/** The sum of squares. Eight partial sums do not wait for each other; the addon has as many. */
function sumOfSquares(samples: Float32Array, count: number): number {
  let [a, b, c, d, e, f, g, h] = [0, 0, 0, 0, 0, 0, 0, 0];
  let i = 0;
  for (; i + 8 <= count; i += 8) {
    a += samples[i] * samples[i];
    b += samples[i + 1] * samples[i + 1];
    c += samples[i + 2] * samples[i + 2];
    d += samples[i + 3] * samples[i + 3];
    e += samples[i + 4] * samples[i + 4];
    f += samples[i + 5] * samples[i + 5];
    g += samples[i + 6] * samples[i + 6];
    h += samples[i + 7] * samples[i + 7];
  }
  const lanes = [a, b, c, d, e, f, g, h];
  for (let lane = 0; i < count; ++i, ++lane) lanes[lane] += samples[i] * samples[i];
  [a, b, c, d, e, f, g, h] = lanes;
  return a + e + (c + g) + (b + f + (d + h));
}

function meanOfTwo(one: Float32Array, other: Float32Array, mix: Float32Array): void {
  for (let i = 0; i < mix.length; ++i) mix[i] = Math.fround(one[i] + other[i]) * 0.5;
}

function add(samples: Float32Array, mix: Float32Array): void {
  for (let i = 0; i < mix.length; ++i) mix[i] += samples[i];
}

function addShare(samples: Float32Array, share: number, mix: Float32Array): void {
  for (let i = 0; i < mix.length; ++i) mix[i] += share * samples[i];
}

function multiply(mix: Float32Array, factor: number): void {
  for (let i = 0; i < mix.length; ++i) mix[i] *= factor;
}

function mixChannels(
  channels: readonly Float32Array[],
  shares: Float64Array | null,
  mix: Float32Array,
  powers: Float64Array,
): void {
  if (shares) {
    mix.fill(0);
    for (const [channel, samples] of channels.entries()) {
      if (shares[channel] > 0) addShare(samples, shares[channel], mix);
    }
  } else if (channels.length === 2) meanOfTwo(channels[0], channels[1], mix);
  else {
    mix.set(channels[0].subarray(0, mix.length));
    for (const samples of channels.slice(1)) add(samples, mix);
    multiply(mix, 1 / channels.length);
  }
  for (const [channel, samples] of channels.entries()) powers[channel] = sumOfSquares(samples, mix.length);
  powers[channels.length] = sumOfSquares(mix, mix.length);
}

function withinLevel(samples: Float32Array, begin: number, end: number, level: number): boolean {
  // Four at once: a branch for each takes twice as long. The comparisons are also false for NaN.
  let i = begin;
  for (; i + 4 <= end; i += 4) {
    const low = Math.abs(samples[i]) <= level && Math.abs(samples[i + 1]) <= level;
    if (!(low && Math.abs(samples[i + 2]) <= level && Math.abs(samples[i + 3]) <= level)) return false;
  }
  for (; i < end; ++i) if (!(Math.abs(samples[i]) <= level)) return false;
  return true;
}

/** In TypeScript, for threads that have not loaded the addon. */
export const plainFunctions: SampleFunctions = { convertPcm, mixChannels, withinLevel };

/** The addon's, with the kernels of this name; null if this thread has not loaded it, or it is older than they are. */
export function nativeFunctions(kernels: string | undefined): SampleFunctions | null {
  const addon = loadedNative();
  if (!addon?.convertPcm || !addon.mixChannels || !addon.withinLevel) return null;
  const { convertPcm, mixChannels, withinLevel } = addon;
  return {
    convertPcm: (bytes, { name, bigEndian, table }, channels, begin) =>
      convertPcm(bytes, name, bigEndian, table, channels, begin, kernels),
    mixChannels: (channels, shares, mix, powers) => mixChannels(channels, shares, mix, powers, kernels),
    withinLevel: (samples, begin, end, level) => withinLevel(samples, begin, end, level, kernels),
  };
}

let known: SampleFunctions | null = null;

/**
 * The fastest functions. The addon is not loaded for them: that takes longer than a short recording, and resampling
 * loads it anyway.
 */
export function sampleFunctions(): SampleFunctions {
  known ??= nativeFunctions(process.env.ONEHEAD_CPU_KERNELS || undefined);
  return known ?? plainFunctions;
}
