import { copyFileSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { writePage } from '../../bench/real/page.js';
import { type RealRecording, realRecordings } from '../../bench/real/recordings.js';
import { tableOf } from '../../bench/real/rows.js';
import { normalized, score } from '../../bench/real/score.js';
import { type RecordingRun, whisperCpp } from '../../bench/real/systems.js';

let folder: string;
beforeAll(() => {
  folder = mkdtempSync(join(tmpdir(), 'onehead-real-test-'));
});
afterAll(() => rmSync(folder, { recursive: true, force: true }));

const recording = (name: string, about: Partial<RealRecording>): RealRecording => {
  return { name, file: '', language: 'en', text: 'red house', kind: 'read', seconds: 10, words: [], ...about };
};
const run = (name: string, text: string, about: Partial<RecordingRun> = {}): RecordingRun => {
  return { name, words: false, seconds: 2, cpuSeconds: 4, text, language: 'en', segments: [], ...about };
};
const segment = (seek: number, temperature: number | null, words?: RecordingRun['segments'][0]['words']) => {
  return { seek, start: 0, end: 1, temperature, words };
};

describe('texts are normalized', () => {
  it.each([
    ['en', "It's twenty-one colours!", 'it is 21 colors'],
    ['de', 'Größe – 21!', 'größe 21 '],
    ['ja', 'キャンプ、 外れ。', 'キ ャ ン プ 外 れ'],
    [null, 'A, B', 'a b'],
  ])('in %s by the rules of openai/whisper', (language, text, wanted) => {
    expect(normalized(text, language)).toBe(wanted);
  });
});

describe('figures', () => {
  const recordings = [
    recording('clip', { seconds: 10 }),
    recording('long', { seconds: 60, text: 'tall old trees', kind: 'noisy' }),
    recording('german', { language: 'de', text: 'ja nein', seconds: 30 }),
    recording('rain', { language: null, text: null, kind: 'noise', seconds: 20 }),
    recording('silence', { language: null, text: null, kind: 'silence', seconds: 20 }),
    recording('timed', { text: 'good day', seconds: 2, words: [{ word: 'good', start: 0.5, end: 1 }] }),
  ];
  const runs = [
    run('clip', ' Red house!', { seconds: 1, segments: [segment(0, 0), segment(0, 0)] }),
    run('long', ' tall cold trees here', { seconds: 3, segments: [segment(0, 0), segment(3000, 0.4)] }),
    run('german', ' …', { language: 'nl', seconds: 3 }),
    run('rain', ' Thank you.', { seconds: 10 }),
    run('silence', ' . ', { seconds: 10 }),
    run('timed', ' good day', { seconds: 1 }),
    run('timed', ' good day', { words: true, segments: [segment(0, 0, [{ word: ' good', start: 0.7, end: 1.05 }])] }),
  ];
  const { figures, recordings: each } = score(recordings, { runs, memory: 2 ** 20, load: 0.5 });

  it('count errors by language and kind', () => {
    expect(figures.languages.en).toMatchObject({ recordings: 3, wordErrorRate: 2 / 7 });
    expect(figures.languages.others).toMatchObject({ recordings: 1, wordErrorRate: 1 });
    expect(figures.languages.all.recordings).toBe(4);
    expect(figures.kinds.noisy.wordErrorRate).toBeCloseTo(2 / 3);
    expect(each.find(({ name }) => name === 'long')?.words).toMatchObject({ substitutions: 1, insertions: 1 });
  });
  it('include text without speech, speech without text, and wrong languages', () => {
    expect(figures.noSpeech).toMatchObject({ recordings: 2, texts: [{ name: 'rain', text: 'Thank you.' }] });
    expect(figures.noSpeech.realTimeFactor).toBeCloseTo(0.5);
    expect(figures.lost).toEqual(['german']);
    expect(figures.languageFound).toEqual({ right: 3, of: 4 });
  });
  it('include the speed of short and long recordings, and windows that were decoded again', () => {
    expect(figures.speed.under20s).toBeCloseTo(6);
    expect(figures.speed.over45s).toBeCloseTo(20);
    expect(figures.cpuSpeed.over45s).toBeCloseTo(15);
    expect(figures.fallback).toEqual({ windows: 3, share: 1 / 3 });
  });
  it('include word times of the second pass', () => {
    expect(figures.wordTimes).toMatchObject({ words: 1, matched: 1 });
    expect(figures.wordTimes?.starts.mean).toBeCloseTo(0.2);
    expect(figures.wordTimes?.ends.within).toBe(1);
  });
  it('are written as a table and a page with plots, with the reasons for missing systems', async () => {
    const rows = [
      { name: 'onehead', figures, recordings: each },
      { name: 'absent', missing: 'it is not there' },
    ];
    expect(tableOf(rows)).toMatch(/absent: not run: it is not there[\s\S]*onehead: rain: Thank you\./);
    const set = recordings.map(({ name, language, kind, seconds, text, words }) => {
      return { name, language, kind, seconds, words: text?.split(' ').length ?? 0, timedWords: words.length };
    });
    const machine = { cpu: 'a CPU', cores: 2, kernels: 'avx2', onednn: '3' };
    const settings = { threads: 2, repeats: 1, giveLanguage: false };
    const page = join(folder, 'page.md');
    const result = { date: '2026-01-01T00:00:00Z', commit: 'abcdef0123456', machine, settings, set, rows };
    await writePage(page, result);
    expect(readFileSync(page, 'utf8')).toMatch(
      /absent was not run: it is not there[\s\S]*\| de \| 1 \| 2 \| 100\.0 \|/,
    );
    expect(readFileSync(join(folder, 'page/errors.svg'), 'utf8')).toMatch(/^<svg/);
    // Text outside of the generated part is kept.
    const first = readFileSync(page, 'utf8');
    writeFileSync(page, `Before.\n\n${first.slice(first.indexOf('<!--'))}\nAfter.\n`);
    await writePage(page, { ...result, rows: rows.slice(0, 1) });
    expect(readFileSync(page, 'utf8')).toMatch(/^Before\.\n\n<!--[\s\S]*-->\n\nAfter\.\n$/);
    expect(readFileSync(page, 'utf8')).not.toContain('absent');
  });
});

describe('recordings', () => {
  const sample = new URL('../../models/micro/sample.flac', import.meta.url).pathname;
  it('of a manifest are stored as WAV files', async () => {
    const list = [
      { file: sample, language: 'en', text: 'some words', alignment: 'a.ctm' },
      { file: sample, text: null, kind: 'noise' },
    ];
    writeFileSync(join(folder, 'manifest.json'), JSON.stringify(list));
    writeFileSync(join(folder, 'a.ctm'), 'a 1 0.5 0.25 some\n');
    const cache = join(folder, 'cache');
    const [spoken, silent, ...made] = await realRecordings(folder, cache, null);
    expect(spoken).toMatchObject({ language: 'en', text: 'some words', kind: 'speech' });
    expect(spoken.words).toEqual([{ word: 'some', start: 0.5, end: 0.75 }]);
    expect(silent).toMatchObject({ language: null, text: null, kind: 'noise', words: [] });
    expect(spoken.seconds).toBeGreaterThan(1);
    expect(made.map(({ kind, text }) => [kind, text])).toEqual(made.map(() => ['made', null]));
    expect(await realRecordings(join(folder, 'manifest.json'), cache, null)).toHaveLength(2 + made.length);
  });
  it('of a folder have their texts in files', async () => {
    const texts = join(folder, 'texts');
    mkdirSync(texts);
    const wav = (await realRecordings(folder, join(folder, 'cache'), null))[0].file;
    for (const [name, text] of Object.entries({ a: 'guten Tag', b: ' ' })) {
      copyFileSync(wav, join(texts, `${name}.wav`));
      writeFileSync(join(texts, `${name}.txt`), text);
    }
    const found = await realRecordings(texts, join(folder, 'cache'), 'de');
    expect(found.filter(({ kind }) => kind !== 'made')).toMatchObject([
      { name: 'a.wav', language: 'de', text: 'guten Tag' },
      { name: 'b.wav', language: null, text: null },
    ]);
  });
  it('cannot be transcribed by a missing whisper.cpp', async () => {
    const setting = { cores: '0', threads: 1, giveLanguage: false };
    await expect(whisperCpp('cpp', folder, 'none', setting).run([])).rejects.toThrow(/no whisper-cli in/);
  });
});
