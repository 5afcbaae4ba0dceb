/** Mixing of channels, audio that starts late, and samples out of range. */
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { openAudio } from '../../lib/audio/index.js';
import { amplitude, firstDifference, folder, joined, ratio, readAll, sine } from './support.js';

/** A WAV file of floats with several channels. */
function floatWav(channels: readonly Float32Array[], sampleRate = 16_000): Buffer {
  const count = channels.length;
  const data = Buffer.alloc(4 * count * channels[0].length);
  for (const [channel, samples] of channels.entries()) {
    for (const [i, sample] of samples.entries()) data.writeFloatLE(sample, 4 * (i * count + channel));
  }
  const header = Buffer.alloc(44);
  header.write('RIFF', 0);
  header.writeUInt32LE(36 + data.length, 4);
  header.write('WAVEfmt ', 8);
  header.writeUInt32LE(16, 16);
  header.writeUInt16LE(3, 20);
  header.writeUInt16LE(count, 22);
  header.writeUInt32LE(sampleRate, 24);
  header.writeUInt32LE(sampleRate * 4 * count, 28);
  header.writeUInt16LE(4 * count, 32);
  header.writeUInt16LE(32, 34);
  header.write('data', 36);
  header.writeUInt32LE(data.length, 40);
  return Buffer.concat([header, data]);
}

async function mixed(channels: Float32Array[], sampleRate = 16_000) {
  const source = await openAudio({ samples: channels, sampleRate });
  const chunks: Float32Array[] = [];
  for await (const chunk of source.chunks()) chunks.push(chunk);
  return { samples: joined(chunks), warnings: source.warnings, incomplete: source.incomplete };
}

const scaled = (samples: Float32Array, by: number) => samples.map((sample) => sample * by);
const tone = sine(440, 16_000, 48_000);

describe('channels that cancel each other', () => {
  it('are replaced by the louder one, with a warning', async () => {
    for (const rate of [16_000, 44_100]) {
      const voice = sine(440, rate, 3 * rate);
      const { samples, warnings, incomplete } = await mixed([scaled(voice, 0.45), scaled(voice, -0.5)], rate);
      expect(samples.length).toBe(48_000);
      expect(amplitude(samples.subarray(400, 47_600), 440)).toBeCloseTo(0.5, 2);
      expect(warnings).toEqual([
        expect.stringMatching(/channels .* cancel each other, first at 0:00\.0; the louder one/),
      ]);
      expect(incomplete).toBe(false);
    }
  });

  it('are distinguished from those that do not', async () => {
    const other = sine(700, 16_000, 48_000);
    for (const [channels, level] of [
      [[tone, tone], 1],
      [[tone, new Float32Array(48_000)], 0.5],
      [[tone, other], 0.5],
      [[scaled(tone, 1), scaled(tone, -0.5)], 0.25],
      [[tone, ...Array.from({ length: 5 }, () => new Float32Array(48_000))], 1 / 6],
    ] as [Float32Array[], number][]) {
      const { samples, warnings } = await mixed(channels);
      expect(amplitude(samples, 440)).toBeCloseTo(level, 3);
      expect(warnings).toEqual([]);
    }
    expect((await mixed([new Float32Array(9000), new Float32Array(9000)])).warnings).toEqual([]);
  });

  it('are replaced within a part of a recording, without a click', async () => {
    // Two seconds in phase, two in opposite phase, two in phase.
    const voice = scaled(sine(440, 16_000, 96_000), 0.5);
    const other = voice.map((sample, i) => (i >= 32_000 && i < 64_000 ? -sample : sample));
    const { samples, warnings } = await mixed([voice, other]);
    for (const begin of [1000, 33_000, 65_000]) {
      expect(amplitude(samples.subarray(begin, begin + 30_000), 440)).toBeCloseTo(0.5, 2);
    }
    expect(warnings).toEqual([expect.stringContaining('first at 0:02.0')]);
    const steps = samples.subarray(1).map((sample, i) => Math.abs(sample - samples[i]));
    expect(Math.max(...steps)).toBeLessThan(2.2 * 0.5 * 2 * Math.PI * (440 / 16_000));
  });

  it('give the same result for any chunk size', async () => {
    const bytes = floatWav([tone, tone.map((sample, i) => (i < 20_000 ? -sample : sample * 0.9))]);
    const expected = (await readAll(bytes)).samples;
    expect(expected.length).toBe(48_000);
    for (const size of [1000, 4096, 100_001]) {
      const pieces = Array.from({ length: Math.ceil(bytes.length / size) }, (_, i) =>
        bytes.subarray(size * i, size * (i + 1)),
      );
      expect(firstDifference((await readAll(Readable.from(pieces))).samples, expected)).toBe(-1);
    }
  });

  it('never give NaN', async () => {
    const broken = tone.map((sample, i) => (i % 1000 === 0 ? Number.NaN : sample));
    const { samples } = await readAll(floatWav([scaled(broken, 0.9), scaled(tone, -1)]));
    expect(samples.every(Number.isFinite)).toBe(true);
    expect(ratio(samples.subarray(500), scaled(tone, -1).subarray(500))).toBeGreaterThan(10);
  });
});

describe('audio that starts late in its container', () => {
  it.each(['late.m4a', 'late.webm'])('%s', async (file) => {
    for (const input of [folder + file, readFileSync(folder + file), Readable.from([readFileSync(folder + file)])]) {
      const source = await openAudio(input);
      let count = 0;
      for await (const chunk of source.chunks()) count += chunk.length;
      expect(Math.abs(source.startTime! - 2)).toBeLessThan(0.07);
      expect(Math.abs(count / 16_000 - 1.5)).toBeLessThan(0.1);
    }
    const source = await openAudio(folder + file, { addStartTime: false });
    for await (const _ of source.chunks());
    expect(source.startTime).toBe(0);
  });

  it.each(['tone.m4a', 'first.m4a', 'tone.webm', 'two.mp4', 'two.webm', 'tone.wav'])(
    'is not that of %s',
    async (file) => {
      const source = await openAudio(folder + file);
      for await (const _ of source.chunks());
      expect(source.startTime).toBeLessThan(0.03);
    },
  );
});

describe('samples far out of range', () => {
  const whole = scaled(tone, 20_000).map(Math.round);

  it.each<[string, Float32Array, RegExp]>([
    [
      '16 bits',
      whole,
      /samples\[1\] to be a number from -1 to 1 but received \d+; divide values of 16 bits by 32768\.$/,
    ],
    ['24 bits', scaled(tone, 5e6), /divide values of 24 bits by 8388608\.$/],
    ['32 bits', scaled(tone, 1e9), /divide values of 32 bits by 2147483648\.$/],
    ['nothing', scaled(tone, 1e20), /divide them by the largest\.$/],
  ])('that are integers of %s are refused', async (_, samples, message) => {
    const error = { code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) };
    await expect(readAll(samples)).rejects.toMatchObject(error);
    await expect(readAll({ samples: [tone, samples], sampleRate: 16_000 })).rejects.toMatchObject(error);
  });

  it('in a file are refused', async () => {
    for (const channels of [[whole], [whole, whole]]) {
      await expect(readAll(floatWav(channels))).rejects.toMatchObject({
        code: 'AUDIO_INVALID',
        message: expect.stringMatching(
          /samples up to 20000 where -1 to 1 is expected; divide values of 16 bits by 32768/,
        ),
      });
    }
    await expect(readAll(floatWav([whole.subarray(0, 300)]))).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
  });

  it('are distinguished from clipping, and from single defects of a file', async () => {
    expect((await readAll(scaled(tone, 3))).samples).toEqual(scaled(tone, 3));
    const faulty = tone.map((sample, i) => (i % 5000 === 7 ? 1e30 : sample));
    const { samples } = await readAll(floatWav([faulty]));
    expect(Math.max(...samples.map(Math.abs))).toBeLessThanOrEqual(1);
  });
});
