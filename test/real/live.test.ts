/** Live transcription of real recordings, in pieces of a tenth of a second: `npm run test:real`. */
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { afterAll, beforeAll, expect, it } from 'vitest';
import { normalized } from '../../bench/real/score.js';
import { errorRate, textErrors } from '../../lib/evaluate/errors.js';
import type { Final } from '../../lib/whisper/live/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { readAll } from '../audio/support.js';

const folder = resolve(process.env.ONEHEAD_REAL_AUDIO ?? '');
const manifest: { file: string; text: string }[] = JSON.parse(readFileSync(join(folder, 'manifest.json'), 'utf8'));
const textOf = (name: string) => manifest.find(({ file }) => file.endsWith(`/${name}`))!.text;
const recording = async (name: string) => (await readAll(join(folder, 'audio', name))).samples;

let whisper: Whisper;
beforeAll(async () => {
  whisper = await Whisper.load(process.env.ONEHEAD_REAL_CHECKPOINT, { device: 'cpu', threads: 2 });
});
afterAll(() => whisper?.dispose());

async function spoken(...parts: Float32Array[]): Promise<Final[]> {
  const live = await whisper.live({ partials: false });
  const finals: Final[] = [];
  const reading = (async () => {
    for await (const event of live) if (event.type === 'final') finals.push(event);
  })();
  for (const samples of parts) {
    for (let at = 0; at < samples.length; at += 1600) {
      live.push(samples.subarray(at, at + 1600));
      await live.drained();
    }
  }
  await live.close();
  await reading;
  return finals;
}

it('follows speakers of Spanish and English, with words in the order of time', async () => {
  const [spanish, english] = ['mfa_es_mls_wentworth.opus', 'jfk.flac'];
  const first = await recording(spanish);
  const finals = await spoken(first, new Float32Array(32_000), await recording(english));
  const seconds = first.length / 16_000;
  const errors = (part: readonly Final[], name: string, language: string) => {
    expect(part.map((one) => one.language)).toEqual(part.map(() => language));
    const text = part.map((one) => one.text).join('');
    return errorRate(textErrors(normalized(textOf(name), language), normalized(text, language)).words);
  };
  expect(
    errors(
      finals.filter(({ start }) => start < seconds),
      spanish,
      'es',
    ),
  ).toBeLessThan(0.4);
  expect(
    errors(
      finals.filter(({ start }) => start > seconds),
      english,
      'en',
    ),
  ).toBeLessThan(0.15);
  const timed = finals.flatMap((one) => one.words);
  for (const [i, { start, end }] of timed.entries()) {
    expect(start).toBeGreaterThanOrEqual(timed[i - 1]?.end ?? 0);
    expect(end).toBeGreaterThanOrEqual(start);
  }
}, 180_000);
