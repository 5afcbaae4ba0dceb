/** Real recordings on OpenAI's Whisper base: `npm run test:real`. */
import { readFileSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { normalized } from '../../bench/real/score.js';
import { addCounts, type ErrorCounts, errorRate, noCounts, textErrors } from '../../lib/evaluate/errors.js';
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

/** In a processor's own dtype a borderline word may differ: so each recording may have as many errors as it has, and one more. */
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
  ['commonvoice_ja_24511055.mp3', 0],
  ['sv_nst_2.wav', 0],
  ['sv_nst_3.wav', 0],
  ['mfa_es_mls_wentworth.opus', 0],
  ['harvard_list30.mp3', 0],
  ['es_capitan_veneno.mp3', 0],
];

describe('real speech', () => {
  let all = noCounts;

  it.each(recordings)('%s: its language, and at most %i errors and one more', async (name, most) => {
    const result = await whisper.transcribe(audio(name));
    expect(result.language).toBe(entry(name).language);
    const counts = errors(name, result);
    all = addCounts(all, counts);
    const wrong = counts.substitutions + counts.deletions + counts.insertions;
    expect(wrong, result.text).toBeLessThanOrEqual(most + 1);
    expect(result.warnings).toEqual([]);
    for (const [i, { start, end }] of result.segments.entries()) {
      expect(end).toBeGreaterThanOrEqual(start);
      expect(start).toBeGreaterThanOrEqual(result.segments[i - 1]?.end ?? 0);
      expect(end).toBeLessThanOrEqual(result.duration + 0.05);
    }
  });

  it('all together: few errors', () => {
    expect(errorRate(all)).toBeLessThan(0.2);
  });
});
