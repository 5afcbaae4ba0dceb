/** Real recordings with OpenAI's Whisper base: `npm run test:real`. */
import { readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normalized } from '../../bench/real/score.js';
import { readAlignment } from '../../lib/evaluate/alignments.js';
import { addCounts, type ErrorCounts, errorRate, noCounts, textErrors } from '../../lib/evaluate/errors.js';
import { summarizeWordTimes, wordTimeErrors } from '../../lib/evaluate/word-times.js';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';

const folder = resolve(process.env.ONEHEAD_REAL_AUDIO ?? '');
const manifest = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8')) as {
  file: string;
  language: string | null;
  text: string | null;
  alignment?: string;
}[];
const entry = (name: string) => manifest.find(({ file }) => basename(file) === name)!;
const audio = (name: string) => join(folder, entry(name).file);

let whisper: Whisper;
beforeAll(async () => {
  whisper = await Whisper.load(process.env.ONEHEAD_REAL_CHECKPOINT, { device: 'cpu', threads: 2 });
});
afterAll(() => whisper?.dispose());

function errors(name: string, { text }: Transcription): ErrorCounts {
  const { language, text: reference } = entry(name);
  return textErrors(normalized(reference!, language), normalized(text, language)).words;
}

/**
 * Word errors counted in bfloat16. In another dtype borderline words may differ, so one more error in ten is allowed,
 * and at least one.
 */
const recordings: [string, number][] = [
  ['jfk.flac', 0],
  ['LJ001-0001.wav', 0],
  ['LJ001-0002.wav', 0],
  ['LJ001-0008.wav', 0],
  ['librivox_sense_0880.wav', 0],
  ['librivox_sense_0890.wav', 0],
  ['mfa_libri_61-70968-0000.flac', 0],
  ['libri_1995-1837-0001.wav', 0],
  ['commonvoice_en_22058267.mp3', 0],
  ['commonvoice_ja_24511055.mp3', 12],
  ['sv_nst_2.wav', 8],
  ['sv_nst_3.wav', 3],
  ['mfa_es_mls_wentworth.opus', 8],
  ['harvard_list30.mp3', 3],
  ['es_capitan_veneno.mp3', 28],
];

describe('real speech', () => {
  let all = noCounts;

  it.each(recordings)('%s: its language and its words', async (name, maxErrors) => {
    const result = await whisper.transcribe(audio(name));
    expect(result.language).toBe(entry(name).language);
    const counts = errors(name, result);
    all = addCounts(all, counts);
    const wrong = counts.substitutions + counts.deletions + counts.insertions;
    expect(wrong, result.text).toBeLessThanOrEqual(maxErrors + Math.max(1, Math.round(maxErrors / 10)));
    expect(result.warnings).toEqual([]);
    for (const [i, { start, end }] of result.segments.entries()) {
      expect(end).toBeGreaterThanOrEqual(start);
      expect(start).toBeGreaterThanOrEqual(result.segments[i - 1]?.end ?? 0);
      expect(start).toBeLessThan(result.duration);
    }
  });

  it('all together: few errors', () => {
    const { hits, substitutions, deletions } = all;
    expect(hits + substitutions + deletions).toBeGreaterThan(400);
    expect(errorRate(all)).toBeLessThan(0.16);
  });

  it('silence has no text', async () => {
    expect((await whisper.transcribe(audio('sv_nst_1.wav'))).text.trim()).toBe('');
  });

  it('many recordings at once give the same as each alone', async () => {
    const names = ['jfk.flac', 'LJ001-0001.wav', 'sv_nst_3.wav', 'commonvoice_ja_24511055.mp3'];
    const alone: string[] = [];
    for (const name of names) alone.push((await whisper.transcribe(audio(name))).text);
    const together = await Promise.all(names.map((name) => whisper.transcribe(audio(name))));
    expect(together.map(({ text }) => text)).toEqual(alone);
  });

  it("words' times lie near those of an aligner", async () => {
    const name = 'harvard_list30.mp3';
    const wanted = await readAlignment(join(folder, entry(name).alignment!));
    const { segments } = await whisper.transcribe(audio(name), { wordTimestamps: true });
    const words = segments.flatMap((segment) => segment.words ?? []);
    const { matched, starts, ends } = summarizeWordTimes(wordTimeErrors(wanted, words), wanted.length);
    expect(matched).toBeGreaterThan(0.9 * wanted.length);
    expect(starts.mean).toBeLessThan(0.2);
    expect(ends.mean).toBeLessThan(0.2);
  });
});
