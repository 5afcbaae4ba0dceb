import { spawnSync } from 'node:child_process';
import { createReadStream, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { detectFormat, otherMedia } from '../../lib/audio/format.js';
import { amplitude, firstDifference, folder, hasFfmpeg, ratio, readAll, sine } from './support.js';

// A separate folder for temporary files, to check that none is left.
const scratch = mkdtempSync(join(tmpdir(), 'onehead-formats-'));
const before = process.env.TMPDIR;
process.env.TMPDIR = scratch;
afterAll(() => {
  if (before === undefined) delete process.env.TMPDIR;
  else process.env.TMPDIR = before;
  rmSync(scratch, { recursive: true });
});

function expectTone(samples: Float32Array, seconds = 1.5): void {
  expect(Math.abs(samples.length / 16000 - seconds)).toBeLessThan(0.05);
  expect(amplitude(samples.subarray(3200, 12800), 440)).toBeCloseTo(0.5, 1);
  expect(Math.max(...samples.subarray(19200, 23200).map(Math.abs))).toBeLessThan(0.01);
}

describe('decodes without ffmpeg', () => {
  it.each([
    'mulaw-8k.wav',
    'alaw-8k.wav',
    'mono-8k.mp3',
    'mono-22k.ogg',
    'six-8k.flac',
    'mono-48k.aac',
    'first.m4a',
    'last.m4a',
    'alac-16k.m4a',
    'mono-16k.opus',
    'ogg-flac.oga',
  ])('%s', async (file) => {
    const path = process.env.PATH;
    process.env.PATH = '';
    try {
      const { samples, longest } = await readAll(folder + file);
      expectTone(samples);
      expect(longest).toBeLessThanOrEqual(16000);
    } finally {
      process.env.PATH = path;
    }
  });
});

it('decodes HE-AAC v2, which stores one channel at half the rate', async () => {
  // Two channels of the tone; only the MP4 file states the encoder's padding at both ends.
  for (const [file, maxError] of [
    ['he-v2.m4a', 0.05],
    ['he-v2.aac', 0.2],
  ] as const) {
    const { samples } = await readAll(folder + file, { ffmpeg: false });
    expect(Math.abs(samples.length / 16000 - 1.5)).toBeLessThan(maxError);
    expect(amplitude(samples.subarray(4000, 14_000), 440)).toBeCloseTo(0.354, 1);
  }
});

describe.skipIf(!hasFfmpeg)('decodes with ffmpeg (skipped where it is not installed)', () => {
  it.each(['mono-8k.aiff', 'mono.wv', 'adpcm-8k.wav'])('%s, from a path, bytes and a stream', async (file) => {
    for (const input of [folder + file, readFileSync(folder + file), createReadStream(folder + file)]) {
      expectTone((await readAll(input)).samples);
    }
  });

  it('audio of many blocks completely', async () => {
    for (const codec of ['flac', 'alac']) {
      const format = codec === 'flac' ? ['-f', 'flac'] : ['-f', 'ipod', '-movflags', 'frag_keyframe+empty_moov'];
      const lavfi = ['-f', 'lavfi', '-i', 'anoisesrc=d=40:r=16000:a=0.3:seed=3', '-ac', '1', '-sample_fmt'];
      const bits = codec === 'flac' ? 's16' : 's16p';
      const made = (args: string[]) =>
        spawnSync('ffmpeg', ['-v', 'error', ...lavfi, bits, ...args, '-'], { maxBuffer: 1 << 26 }).stdout;
      const packed = made(['-c:a', codec, ...format]);
      const expected = (await readAll(made(['-c:a', 'pcm_s16le', '-f', 'wav']))).samples;
      expect(expected.length).toBe(640_000);
      const { samples } = await readAll(packed);
      expect(samples.length).toBe(expected.length);
      // The FLAC decoder divides by 32767, not 32768.
      expect(ratio(samples, expected)).toBeGreaterThan(85);
    }
  });
});

it('reports that ffmpeg is missing, with the detected format', async () => {
  const path = process.env.PATH;
  process.env.PATH = '';
  try {
    for (const input of [`${folder}mono-8k.aiff`, readFileSync(`${folder}mono-8k.aiff`)]) {
      await expect(readAll(input)).rejects.toMatchObject({
        code: 'AUDIO_INVALID',
        message: expect.stringMatching(/AIFF.*install ffmpeg/),
      });
    }
  } finally {
    process.env.PATH = path;
  }
});

describe('streams', () => {
  const files = ['tone.wav', 'tone.flac', 'tone.mp3', 'tone.ogg', 'tone.opus', 'first.m4a', 'last.m4a', 'tone.webm'];
  it.each(files)('of %s give the same samples for any chunk size', async (file) => {
    const bytes = readFileSync(folder + file);
    const expected = (await readAll(folder + file)).samples;
    for (const size of [1, 7, 997, 4096, 65_536]) {
      async function* pieces() {
        for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
      }
      expect(firstDifference((await readAll(pieces())).samples, expected), `${size}`).toBe(-1);
    }
    expect(firstDifference((await readAll(bytes)).samples, expected)).toBe(-1);
    expect(readdirSync(scratch)).toEqual([]);
  });
});

it('gives the duration if the beginning of the file states it', async () => {
  for (const file of ['tone.wav', 'tone.flac', 'mulaw-8k.wav']) {
    expect((await readAll(folder + file)).duration).toBeCloseTo(1.5, 3);
  }
  expect((await readAll(`${folder}tone.mp3`)).duration).toBeNull();
});

describe('the resampler', () => {
  it.each([8000, 16000, 22050, 44100, 44099, 48000])('from %i Hz keeps tones within the band', async (rate) => {
    for (const hertz of [100, 1000, 3000, rate < 16000 ? 3200 : 6400]) {
      const { samples } = await readAll({ samples: sine(hertz, rate, 2 * rate), sampleRate: rate });
      expect(samples.length).toBe(32000);
      expect(ratio(samples.subarray(2000, 30000), sine(hertz, 16000, 32000).subarray(2000, 30000))).toBeGreaterThan(80);
    }
  });

  it.each([44100, 48000, 96000])('from %i Hz attenuates tones above the band by 80 dB', async (rate) => {
    for (const hertz of [8400, 10_000, 15_000, 21_000]) {
      const { samples } = await readAll({ samples: sine(hertz, rate), sampleRate: rate });
      expect(Math.max(...samples.subarray(2000, 14000).map(Math.abs))).toBeLessThan(1e-4);
    }
  });

  it.each([1, 2, 99, 44_099])('gives round(n * ratio) samples for %i', async (count) => {
    const { samples } = await readAll({ samples: new Float32Array(count + 3).fill(0.1), sampleRate: 44100 });
    expect(samples.length).toBe(Math.round(((count + 3) * 16000) / 44100));
  });
});

it('quiet PCM samples, some of whose bytes look like headers, are not detected as MP3 or AAC', () => {
  let state = 1;
  const noise = Int16Array.from({ length: 32_768 }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 16) % 600) - 300;
  });
  const bytes = Buffer.concat([Buffer.from('an unknown header\0\0\0'), Buffer.from(noise.buffer)]);
  expect(detectFormat(bytes)).toBe(null);
  const voice = Buffer.concat([Buffer.from('Creative Voice File\x1a\x1a\0\x14\x01'), bytes]);
  expect([detectFormat(voice), otherMedia(voice)]).toEqual([null, 'Creative Voice']);
});
