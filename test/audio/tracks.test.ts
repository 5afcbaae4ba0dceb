/** Files with several audio tracks: which one is decoded, and how they are named. */
import { spawnSync } from 'node:child_process';
import { createReadStream, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it, vi } from 'vitest';
import { tracksOf } from '../../lib/audio/ffmpeg-log.js';
import { openAudio } from '../../lib/audio/index.js';
import { describeAudio } from '../../lib/audio/inspect.js';
import { type AudioTrack, chooseTrack } from '../../lib/audio/tracks.js';
import { amplitude, folder, hasFfmpeg, readAll } from './support.js';

/**
 * The first track is English, a tone of 440 Hz and a second long; the second is German, 880 Hz, longer, and the
 * default.
 */
const files = ['two.mp4', 'two-fragmented.mp4', 'two.webm'];

function frequency(samples: Float32Array): number {
  const sound = samples.subarray(2000, 14_000);
  return [440, 880].reduce((one, other) => (amplitude(sound, other) > amplitude(sound, one) ? other : one));
}

describe.each(files)('%s', (file) => {
  const inputs = () => [folder + file, readFileSync(folder + file), createReadStream(folder + file)];

  it('is read from its default track', async () => {
    for (const input of inputs()) {
      const { samples } = await readAll(input);
      expect([frequency(samples), Math.round(samples.length / 1600)]).toEqual([880, 15]);
    }
  });

  it.each<[number | string, number]>([
    [0, 440],
    [1, 880],
    ['en', 440],
    ['eng', 440],
    ['English', 440],
    ['de', 880],
    ['deu', 880],
    ['ger', 880],
    ['german', 880],
  ])('is read from track %s', async (track, hertz) => {
    for (const input of inputs()) expect(frequency((await readAll(input, { track })).samples)).toBe(hertz);
  });

  it.each([2, 'fr', 'no language'])('has no track %s, and lists the existing ones', async (track) => {
    for (const input of inputs()) {
      await expect(readAll(input, { track })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
        message: expect.stringMatching(/has no audio track .*0 \(en\), 1 \(de\)/),
      });
    }
  });

  it('names its tracks', async () => {
    const source = await openAudio(folder + file, { track: 'en' });
    for await (const _ of source.chunks());
    const expected = [
      { index: 0, language: 'en', default: false, chosen: true, channels: 1, sampleRate: 16_000 },
      { index: 1, language: 'de', default: true, chosen: false, channels: 1, sampleRate: 16_000 },
    ];
    expect(source.tracks).toMatchObject(expected);
    const { tracks } = await describeAudio(folder + file, new AbortController().signal, 'en');
    expect(tracks).toEqual(source.tracks);
  });
});

describe.each([-1, 1.5, Number.NaN, '', true, {}])('track %s', (track) => {
  it('is refused', async () => {
    const options = { track: track as number };
    await expect(readAll(`${folder}two.mp4`, options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

it('of a format with one track must be the first', async () => {
  expect((await readAll(`${folder}tone.mp3`, { track: 0 })).samples.length).toBeGreaterThan(20_000);
  await expect(readAll(`${folder}tone.mp3`, { track: 1 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
});

it('chooses the default track, then the one with the most channels, then the first, and none that is empty', () => {
  const track = (index: number, values: Partial<AudioTrack & { empty: boolean }>) => ({
    ...{ index, codec: '', language: null, title: null, channels: 2, sampleRate: null, default: true, chosen: false },
    ...values,
  });
  const choice = (...tracks: ReturnType<typeof track>[]) => chooseTrack(tracks, null, '')?.index;
  expect(choice(track(0, {}), track(1, {}))).toBe(0);
  expect(choice(track(0, {}), track(1, { channels: 6 }))).toBe(1);
  expect(choice(track(0, { default: false, channels: 6 }), track(1, {}))).toBe(1);
  expect(choice(track(0, { empty: true }), track(1, { default: false }))).toBe(1);
  expect(choice()).toBeUndefined();
});

it("parses ffmpeg's description of tracks", () => {
  const text = `[info] Input #0, matroska,webm, from 'pipe:0':
[info]   Stream #0:0: Video: h264 (High), yuv420p(progressive), 1920x1080, 25 fps (default)
[info]   Stream #0:1(eng): Audio: truehd, 48000 Hz, 5.1(side), s32 (24 bit) (default)
[info]   Stream #0:2[0x101](ger): Audio: aac (LC) (mp4a / 0x6134706D), 44100 Hz, stereo, fltp, 88 kb/s
[info]   Stream #0:3(und): Audio: pcm_s16le, 8000 Hz, 3 channels, s16
[info] Stream mapping:
[info]   Stream #0:1 -> #0:0 (truehd (native) -> pcm_f32le (native))
[info] Output #0, wav, to 'pipe:':
[info]   Stream #0:0(eng): Audio: pcm_f32le, 48000 Hz, 5.1, flt`;
  expect(tracksOf(text)).toMatchObject([
    { index: 0, codec: 'truehd', language: 'en', channels: 6, sampleRate: 48_000, default: true },
    { index: 1, codec: 'aac', language: 'de', channels: 2, sampleRate: 44_100, default: false },
    { index: 2, codec: 'pcm_s16le', language: null, channels: 3, sampleRate: 8000 },
  ]);
});

describe('the log of ffmpeg, in pieces and late', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'onehead-tracks-'));
  afterAll(() => {
    vi.unstubAllEnvs();
    rmSync(scratch, { recursive: true });
  });
  /** A program in the place of ffmpeg, and a recording that is given to it. */
  function instead(...lines: string[]): Uint8Array {
    writeFileSync(join(scratch, 'ffmpeg'), ['#!/bin/sh', 'cat >/dev/null', ...lines].join('\n'), { mode: 0o755 });
    vi.stubEnv('PATH', `${scratch}:${process.env.PATH}`);
    return Buffer.from('FORM\0\0\0\x12AIFFCOMM');
  }
  const pause = 'sleep 0.1';

  it('reports a track that does not exist', async () => {
    const input = instead(
      `printf "[fatal] Stream map '0:a:2' matches no str" >&2; ${pause}`,
      `printf "eams.\\nTo ign" >&2; ${pause}; echo "ore this, add a question mark." >&2; exit 1`,
    );
    await expect(readAll(input, { track: 2 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'track' });
  });

  it('contains the complete error message', async () => {
    const input = instead(`printf "[aiff @ 0x55] [error] could not f" >&2; ${pause}; echo "ind it" >&2; exit 1`);
    await expect(readAll(input)).rejects.toMatchObject({
      code: 'AUDIO_INVALID',
      message: expect.stringContaining('"could not find it"'),
    });
  });

  it('gives the tracks before the first samples', async () => {
    const source = await openAudio(
      instead(
        `cat ${folder}tone.wav; ${pause}; echo "[info]   Stream #0:1(eng): Audio: mp2, 44100 Hz, stereo, s16p" >&2`,
        'echo "[info] Stream mapping:" >&2; echo "[info]   Stream #0:1 -> #0:0 (mp2 (native) -> pcm_f32le (native))" >&2',
      ),
    );
    for await (const _ of source.chunks()) break;
    expect(source.tracks).toMatchObject([{ index: 0, language: 'en', chosen: true }]);
    await source.close();
  });
});

it('finds the tracks of a file with much data before its audio', async () => {
  const whole = readFileSync(`${folder}two.webm`);
  const cluster = whole.indexOf(Buffer.from([0x1f, 0x43, 0xb6, 0x75]));
  const nothing = Buffer.alloc(5 << 20);
  nothing.set([
    0xec,
    0x10 | ((nothing.length - 5) >> 24),
    ...[16, 8, 0].map((bit) => ((nothing.length - 5) >> bit) & 255),
  ]);
  const file = Buffer.concat([whole.subarray(0, cluster), nothing, whole.subarray(cluster)]);
  expect(frequency((await readAll(file)).samples)).toBe(880);
  expect(frequency((await readAll(file, { track: 0 })).samples)).toBe(440);
});

describe.skipIf(!hasFfmpeg)('what only ffmpeg reads (skipped where it is not installed)', () => {
  const scratch = mkdtempSync(join(tmpdir(), 'onehead-tracks-'));
  afterAll(() => rmSync(scratch, { recursive: true }));
  it.each([
    ['two.ts', ['-c:a', 'mp2']],
    ['two.mkv', ['-c:a', 'wavpack']],
    ['two.mov', ['-c:a', 'adpcm_ima_qt']],
  ])('%s', async (name, args) => {
    const file = join(scratch, name);
    spawnSync('ffmpeg', ['-v', 'error', '-i', `${folder}two.mp4`, '-map', '0:a', ...args, file]);
    expect(frequency((await readAll(file, { track: 0 })).samples)).toBe(440);
    expect(frequency((await readAll(file, { track: 1 })).samples)).toBe(880);
    expect(frequency((await readAll(file, { track: 'german' })).samples)).toBe(880);
    expect(frequency((await readAll(readFileSync(file), { track: 'english' })).samples)).toBe(440);
    if (name === 'two.mkv') {
      expect(frequency((await readAll(createReadStream(file), { track: 1 })).samples)).toBe(880);
      await expect(readAll(file, { ffmpeg: false })).rejects.toMatchObject({
        code: 'AUDIO_INVALID',
        message: expect.stringMatching(/its codec A_WAVPACK4 needs ffmpeg, and ffmpeg is disabled/),
      });
    }
    await expect(readAll(file, { track: 2 })).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    const { tracks } = await describeAudio(file, new AbortController().signal);
    expect(tracks.map(({ language }) => language)).toEqual(['en', 'de']);
    expect(tracks.filter(({ chosen }) => chosen).length).toBe(1);
  });
});
