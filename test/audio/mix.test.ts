/** Mixing of channels, audio that starts late, and samples out of range. */
import { spawnSync } from 'node:child_process';
import { readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { describe, expect, it } from 'vitest';
import { openAudio } from '../../lib/audio/index.js';
import {
  amplitude,
  decodedByFfmpeg,
  firstDifference,
  folder,
  hasFfmpeg,
  joined,
  ratio,
  readAll,
  sine,
} from './support.js';

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

/** The file with a channel mask (WAVE_FORMAT_EXTENSIBLE). */
function masked(wav: Buffer, mask: number): Buffer {
  const format = Buffer.alloc(40);
  wav.copy(format, 0, 20, 36);
  format.writeUInt16LE(0xfffe, 0);
  format.writeUInt16LE(22, 16);
  format.writeUInt16LE(32, 18);
  format.writeUInt32LE(mask, 20);
  format.writeUInt16LE(3, 24);
  format.write('000000001000800000aa00389b71', 26, 'hex');
  const size = Buffer.alloc(4);
  size.writeUInt32LE(40);
  const file = Buffer.concat([wav.subarray(0, 16), size, format, wav.subarray(36)]);
  file.writeUInt32LE(file.length - 8, 4);
  return file;
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

describe('channels whose places the file states', () => {
  /** A tone of another pitch on each channel. */
  const tones = (count: number) =>
    Array.from({ length: count }, (_, channel) => scaled(sine(300 + 170 * channel, 16_000, 48_000), 0.3));
  const layouts = [
    ['2.1', 0xb, 3],
    ['3.0', 0x7, 3],
    ['4.0', 0x107, 4],
    ['quad', 0x33, 4],
    ['5.0', 0x37, 5],
    ['5.1', 0x3f, 6],
    ['5.1 with sides', 0x60f, 6],
    ['6.1', 0x70f, 7],
    ['7.1', 0x63f, 8],
    ['7.1 wide', 0xff, 8],
  ] as [string, number, number][];

  it.skipIf(!hasFfmpeg).each(layouts)('are mixed as by ffmpeg: %s', async (_, mask, count) => {
    const file = masked(floatWav(tones(count)), mask);
    const { samples, warnings } = await readAll(file);
    expect(warnings).toEqual([]);
    expect(ratio(samples, decodedByFfmpeg(file))).toBeGreaterThan(60);
  });

  it.skipIf(!hasFfmpeg).each([
    ['flac', 'flac', ['2.1', 'quad', '5.1', '6.1', '7.1'], 60],
    ['ogg', 'libvorbis', ['quad', '5.1', '6.1', '7.1'], 40],
    ['ogg', 'flac', ['quad', '5.1', '7.1'], 60],
    ['webm', 'libopus', ['quad', '5.1', '6.1', '7.1'], 40],
    ['ogg', 'libopus', ['quad', '5.1', '6.1', '7.1'], 40],
  ] as [string, string, string[], number][])(
    'of %s by %s are mixed as by ffmpeg: %j',
    async (kind, codec, names, least) => {
      for (const [name, mask, count] of layouts.filter(([one]) => names.includes(one))) {
        const rate = codec === 'libopus' ? ['-ar', '48000', '-mapping_family', '1', '-b:a', '500k'] : ['-q:a', '8'];
        const args = ['-v', 'error', '-f', 'wav', '-i', 'pipe:0', ...rate, '-c:a', codec, '-f', kind, '-'];
        const { stdout, stderr } = spawnSync('ffmpeg', args, {
          input: masked(floatWav(tones(count)), mask),
          maxBuffer: 1 << 26,
        });
        expect(stdout.length, `${name}: ${stderr}`).toBeGreaterThan(1000);
        const { samples } = await readAll(stdout);
        const wanted = decodedByFfmpeg(stdout);
        expect(Math.abs(samples.length - wanted.length), name).toBeLessThan(1200);
        expect(ratio(samples.subarray(0, 40_000), wanted.subarray(0, 40_000)), name).toBeGreaterThan(least);
      }
    },
  );

  it('keep speech in the centre, and leave out low frequencies', async () => {
    const silence = new Float32Array(48_000);
    const only = async (channel: number) => {
      const channels = Array.from({ length: 6 }, (_, i) => (i === channel ? tone : silence));
      return readAll(masked(floatWav(channels), 0x3f));
    };
    const centre = await only(2);
    expect(amplitude(centre.samples, 440)).toBeCloseTo(1 / (2 + Math.SQRT2), 3);
    const low = await only(3);
    expect(amplitude(low.samples, 440)).toBeCloseTo(0, 3);
    expect([...centre.warnings, ...low.warnings]).toEqual([]);
  });

  it('that cancel each other are replaced too; many of which one is heard do not cancel', async () => {
    const silence = new Float32Array(48_000);
    const opposite = [tone, scaled(tone, -1), silence, silence, silence, silence];
    const { samples, warnings } = await readAll(masked(floatWav(opposite), 0x3f));
    expect(Math.abs(amplitude(samples, 440))).toBeCloseTo(1, 2);
    expect(warnings).toEqual([expect.stringContaining('cancel each other')]);
    const one = await mixed([tone, ...Array.from({ length: 15 }, () => silence)]);
    expect(one.warnings).toEqual([]);
    expect(amplitude(one.samples, 440)).toBeCloseTo(1 / 16, 3);
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
