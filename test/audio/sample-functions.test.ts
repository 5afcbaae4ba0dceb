/** Conversion of PCM, mixing and the check of levels: in TypeScript and in the addon, against definitions. */
import { describe, expect, it } from 'vitest';
import {
  type Coding,
  type CodingName,
  codingBytes,
  nativeFunctions,
  plainFunctions,
  type SampleFunctions,
  sampleFunctions,
} from '../../lib/audio/sample-functions.js';
import { type DecodedChunk, decodeWav } from '../../lib/audio/wav.js';
import { loadedNative, native } from '../../lib/device/native.js';
import { joined } from './support.js';

let state = 7;
function random(below: number): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return Math.floor((state / 2 ** 32) * below);
}
const noise = (count: number) => Float32Array.from({ length: count }, () => random(2 ** 24) / 2 ** 23 - 1);

/** Every bit, also the sign of zero; NaN equals NaN. */
function firstOther(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  if (actual.length !== expected.length) return Math.min(actual.length, expected.length);
  for (let i = 0; i < expected.length; ++i) if (!Object.is(actual[i], expected[i])) return i;
  return -1;
}

const table = Float32Array.from({ length: 256 }, (_, byte) => (byte - 100) / 77);
const names = Object.keys(codingBytes) as CodingName[];
const codings: Coding[] = names.flatMap((name) =>
  [false, true].map((bigEndian) => ({ name, bigEndian, ...(name === 'bytes' && { table }) })),
);

/** A sample by definition. */
function sampleAt(bytes: Uint8Array, at: number, { name, bigEndian, table }: Coding): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  const little = !bigEndian;
  switch (name) {
    case 'bytes':
      return table![bytes[at]];
    case 'int16':
      return view.getInt16(at, little) / 2 ** 15;
    case 'int24': {
      const [low, high] = little ? [at, at + 2] : [at + 2, at];
      return (view.getInt8(high) * 2 ** 16 + bytes[at + 1] * 2 ** 8 + bytes[low]) / 2 ** 23;
    }
    case 'int32':
      return view.getInt32(at, little) / 2 ** 31;
    case 'float32':
      return view.getFloat32(at, little);
    case 'float64':
      return view.getFloat64(at, little);
  }
}

/** Random bytes, and numbers at the limits. Floats are any: subnormal, infinite and NaN too. */
function bytesFor({ name, bigEndian }: Coding, count: number, address: number): Uint8Array {
  const size = codingBytes[name];
  const bytes = new Uint8Array(address + count * size).subarray(address);
  for (let i = 0; i < bytes.length; ++i) bytes[i] = random(256);
  const view = new DataView(bytes.buffer, bytes.byteOffset);
  for (let i = 0; i < count; i += 3) {
    const at = i * size;
    if (name === 'float32') view.setFloat32(at, random(2001) / 1000 - 1, !bigEndian);
    else if (name === 'float64') view.setFloat64(at, random(2001) / 1000 - 1, !bigEndian);
    else if (i % 2 === 0) {
      // The largest and the smallest integer.
      const largest = i % 4 === 0;
      bytes.fill(largest ? 255 : 0, at, at + size);
      bytes[bigEndian ? at : at + size - 1] = largest ? 127 : 128;
    }
  }
  return bytes;
}

/** The mix by definition, rounded to float32 after each step. */
function mixOf(channels: readonly Float32Array[], shares: readonly number[] | null): Float32Array {
  return channels[0].map((first, i) => {
    let mix = shares ? 0 : first;
    for (const [channel, samples] of channels.entries()) {
      if (shares && shares[channel] > 0) mix = Math.fround(mix + shares[channel] * samples[i]);
      if (!shares && channel > 0) mix = Math.fround(mix + samples[i]);
    }
    return shares ? mix : mix * (1 / channels.length);
  });
}

function mixed({ mixChannels }: SampleFunctions, channels: Float32Array[], shares: readonly number[] | null) {
  const mix = new Float32Array(channels[0].length).fill(9);
  const powers = new Float64Array(channels.length + 1).fill(9);
  mixChannels(channels, shares && Float64Array.from(shares), mix, powers);
  return { mix, powers };
}

// First, since the other tests load the addon.
it('the addon is not loaded for samples alone, and used once it is loaded', () => {
  expect(sampleFunctions()).toBe(plainFunctions);
  expect(loadedNative()).toBeNull();
  native();
  expect(sampleFunctions()).not.toBe(plainFunctions);
});

/** TypeScript's form, and the addon's with every instruction set of this CPU. */
const forms = () => {
  const available = native()
    .information()
    .cpu.available.map((kernels) => [kernels, nativeFunctions(kernels)!] as const);
  return [['TypeScript', plainFunctions] as const, ...available];
};

describe.each(codings)('$name, bigEndian $bigEndian', (coding) => {
  it('gives the samples of the definition for any number of channels, frames and address', () => {
    const size = codingBytes[coding.name];
    for (const [count, frames] of [1, 2, 3, 6, 64].flatMap((count) =>
      [0, 1, 2, 7, 33, 1000 + random(100)].map((frames) => [count, frames]),
    )) {
      const bytes = bytesFor(coding, count * frames, random(9));
      const begin = random(4);
      const expected = Array.from({ length: count }, (_, channel) =>
        Float32Array.from({ length: begin + frames + 3 }, (_, i) =>
          // What lies before and behind stays.
          i < begin || i >= begin + frames ? 5 : sampleAt(bytes, ((i - begin) * count + channel) * size, coding),
        ),
      );
      for (const [name, { convertPcm }] of forms()) {
        const channels = expected.map(({ length }) => new Float32Array(length + 1).fill(5).subarray(1));
        convertPcm(bytes, coding, channels, begin);
        channels.forEach((samples, channel) => {
          expect(firstOther(samples, expected[channel]), `${name}, ${frames} frames, ${channel} of ${count}`).toBe(-1);
        });
      }
    }
  });
});

describe('mixing', () => {
  it.each([1, 2, 3, 5, 6, 8, 16])('of %i channels gives the same bits in both forms', (count) => {
    for (const length of [0, 1, 7, 8, 9, 511, 512, 513, 4000 + random(100)]) {
      const channels = Array.from({ length: count }, () => noise(length));
      // Sums that a fused multiply-add would round otherwise, subnormal numbers, and zeros of both signs.
      if (length > 100) channels[0].set([1e-45, -1e-45, 3e-39, -0, 0], 20);
      if (length > 100 && count > 1) channels[1].set([1e-45, 1e-45, 2e-39, -0, -0], 20);
      for (const shares of [null, channels.map((_, channel) => (channel === 2 ? 0 : Math.SQRT1_2 / (channel + 1)))]) {
        const expected = mixOf(channels, shares);
        const plain = mixed(plainFunctions, channels, shares);
        const powers = [...channels, expected].map((samples) => samples.reduce((sum, sample) => sum + sample ** 2, 0));
        powers.forEach((power, i) => {
          expect(Math.abs(plain.powers[i] - power)).toBeLessThanOrEqual(1e-12 * power);
        });
        for (const [name, functions] of forms()) {
          const { mix, powers } = mixed(functions, channels, shares);
          expect(firstOther(mix, expected), `${name}, ${length} samples`).toBe(-1);
          expect(firstOther(powers, plain.powers), `${name}, ${length} samples`).toBe(-1);
        }
      }
    }
  });

  it('channels of opposite sign have the same power', () => {
    const voice = noise(1003);
    for (const [name, functions] of forms()) {
      const { powers } = mixed(functions, [voice, voice.map((sample) => -sample)], null);
      expect(powers[0], name).toBe(powers[1]);
      expect(powers[2], name).toBe(0);
    }
  });
});

it('finds samples that are too loud or not a number at any place', () => {
  const usual = noise(100);
  for (const [name, { withinLevel }] of forms()) {
    for (const value of [8, -8, 0, 8.000001, -8.000001, Number.NaN, Number.POSITIVE_INFINITY]) {
      for (let place = 0; place < 100; place += 1 + random(3)) {
        const samples = usual.slice();
        samples[place] = value;
        const [begin, end] = [random(60), 60 + random(40)];
        const inside = Math.abs(value) <= 8 || place < begin || place >= end;
        expect(withinLevel(samples, begin, end, 8), `${name}: ${value} at ${place} of ${begin} to ${end}`).toBe(inside);
      }
    }
    expect(withinLevel(usual, 50, 50, 8)).toBe(true);
    expect(withinLevel(new Float32Array(), 0, 0, 8)).toBe(true);
  }
});

describe('a WAV file of every coding', () => {
  const kinds = [
    [1, 8],
    [1, 16],
    [1, 20],
    [1, 24],
    [1, 32],
    [3, 32],
    [3, 64],
    [6, 8],
    [7, 8],
  ].flatMap(([codec, bits]) =>
    [1, 2, 3].flatMap((channels) => [true, false].map((little) => ({ codec, bits, channels, little }))),
  );

  /** More than a second, with some bytes missing at the end of the last frame. */
  function wav({ codec, bits, channels, little }: (typeof kinds)[number]): Buffer {
    const frameBytes = Math.ceil(bits / 8) * channels;
    const header = Buffer.alloc(44);
    header.write(little ? 'RIFF    WAVEfmt ' : 'RIFX    WAVEfmt ', 'latin1');
    const view = new DataView(header.buffer, header.byteOffset);
    view.setUint32(16, 16, little);
    view.setUint16(20, codec, little);
    view.setUint16(22, channels, little);
    view.setUint32(24, 1000, little);
    view.setUint32(28, 1000 * frameBytes, little);
    view.setUint16(32, frameBytes, little);
    view.setUint16(34, bits, little);
    header.write('data', 36, 'latin1');
    view.setUint32(40, 1503 * frameBytes, little);
    const data = bytesFor(
      { name: codec === 3 ? (bits === 64 ? 'float64' : 'float32') : 'bytes', bigEndian: !little },
      1503 * frameBytes,
      0,
    );
    return Buffer.concat([header, data.subarray(0, 1503 * frameBytes - Math.ceil(frameBytes / 2))]);
  }

  async function channelsOf(bytes: Buffer, size: () => number): Promise<Float32Array[]> {
    async function* pieces() {
      for (let at = 0; at < bytes.length; ) {
        const end = at + size();
        yield bytes.subarray(at, end);
        at = end;
      }
    }
    const parts: Float32Array[][] = [];
    for await (const { channels } of decodeWav(pieces(), 'it')) parts.push(channels.map((samples) => samples.slice()));
    return parts[0].map((_, channel) => joined(parts.map((part) => part[channel])));
  }

  it.each(kinds)('codec $codec, $bits bits, $channels channels, little-endian $little', async (kind) => {
    const bytes = wav(kind);
    const whole = await channelsOf(bytes, () => bytes.length);
    // A frame that is not complete is left out.
    expect(whole.map(({ length }) => length)).toEqual(Array(kind.channels).fill(1502));
    const size = Math.ceil(kind.bits / 8);
    const law = kind.codec > 3 || size === 1;
    for (const [i, sample] of law ? [] : whole[kind.channels - 1].entries()) {
      const name = kind.codec === 3 ? (`float${kind.bits}` as CodingName) : (`int${8 * size}` as CodingName);
      const at = 44 + (i * kind.channels + kind.channels - 1) * size;
      const expected = sampleAt(bytes, at, { name, bigEndian: !kind.little });
      if (!Object.is(sample, Math.fround(expected))) expect(sample, `sample ${i}`).toBe(Math.fround(expected));
    }
    for (const pieces of [() => 1, () => 1 + random(9), () => 1 + random(3000)]) {
      const divided = await channelsOf(bytes, pieces);
      for (const [channel, samples] of divided.entries()) expect(firstOther(samples, whole[channel])).toBe(-1);
    }
  });

  it('gives samples as soon as their bytes arrive', async () => {
    const bytes = wav({ codec: 1, bits: 16, channels: 2, little: true });
    async function* pieces() {
      yield bytes.subarray(0, 44 + 3);
      yield bytes.subarray(44 + 3, 44 + 9);
      throw new Error('read too far');
    }
    const chunks: AsyncGenerator<DecodedChunk> = decodeWav(pieces(), 'it');
    expect((await chunks.next()).value?.channels.map(({ length }: Float32Array) => length)).toEqual([2, 2]);
    await expect(chunks.next()).rejects.toThrow('read too far');
  });
});

it('the addon refuses invalid arguments', () => {
  const convert = native().convertPcm as unknown as (...given: unknown[]) => void;
  const mix = native().mixChannels as unknown as (...given: unknown[]) => void;
  const within = native().withinLevel as unknown as (...given: unknown[]) => void;
  const [bytes, one] = [new Uint8Array(12), new Float32Array(6)];
  for (const given of [null, [1], new Int8Array(12), new ArrayBuffer(12), 'bytes']) {
    expect(() => convert(given, 'int16', false, undefined, [one], 0)).toThrow('Expected bytes to be a Uint8Array');
  }
  expect(() => convert(bytes, 'int17', false, undefined, [one], 0)).toThrow("float64 but received 'int17'");
  expect(() => convert(bytes, 'int16', 0, undefined, [one], 0)).toThrow('Expected bigEndian to be a boolean');
  expect(() => convert(bytes, 'bytes', false, undefined, [one], 0)).toThrow('Expected table to be a Float32Array');
  expect(() => convert(bytes, 'bytes', false, new Float32Array(255), [one], 0)).toThrow('Expected table to have');
  for (const channels of [[], one, null, 5, { length: 1 }]) {
    expect(() => convert(bytes, 'int16', false, undefined, channels, 0)).toThrow('Expected channels to be an array');
  }
  expect(() => convert(bytes, 'int16', false, undefined, [[1]], 0)).toThrow(
    'Expected each channel to be a Float32Array',
  );
  const many = Array.from({ length: 65 }, () => one);
  expect(() => convert(new Uint8Array(130), 'int16', false, undefined, many, 0)).toThrow('at most 64 arrays');
  expect(() => convert(bytes, 'int16', false, undefined, [one], 1)).toThrow('elements 1 to 7 but received 6');
  expect(() => convert(bytes, 'int16', false, undefined, [one], 2 ** 53 - 1)).toThrow('each channel');
  expect(() => convert(bytes, 'int16', false, undefined, [one], -1)).toThrow('Expected begin');
  expect(() => convert(bytes.subarray(1), 'int16', false, undefined, [one], 0)).toThrow('whole frames of 2');
  expect(() => convert(bytes, 'int16', false, undefined, [one], 0, 'klingon')).toThrow('kernels that this CPU has');
  const powers = new Float64Array(3);
  expect(() => mix([one, one], null, [0], powers)).toThrow('Expected mix to be a Float32Array');
  expect(() => mix([one, one.subarray(1)], null, new Float32Array(6), powers)).toThrow(
    'elements 0 to 6 but received 5',
  );
  expect(() => mix([one, one], null, new Float32Array(6), powers.subarray(1))).toThrow('Float64Array of 3 numbers');
  expect(() => mix([one, one], new Float64Array(3), new Float32Array(6), powers)).toThrow('Float64Array of 2 numbers');
  expect(() => mix([one, one], undefined, new Float32Array(6), powers)).toThrow('Expected shares');
  expect(() => within(one, 0, 7, 8)).toThrow('elements 0 to 7 but received 6');
  expect(() => within(one, 2 ** 53 - 1, 2 ** 53 - 1, 8)).toThrow('samples');
  expect(() => within(one, 0, 6, '8')).toThrow('level');
  const detached = new Float32Array(6);
  structuredClone(detached.buffer, { transfer: [detached.buffer] });
  expect(() => convert(bytes, 'int16', false, undefined, [detached], 0)).toThrow('but received 0');
});
