/**
 * The bundled models on recordings that they were not trained on: the same tokens as transformers, and the error rates
 * of their cards.
 */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { heldout as folder, samplesOf } from '../audio/support.js';

const parsed = <T>(name: string): T => JSON.parse(readFileSync(folder + name, 'utf8'));

interface Utterance {
  voice: string;
  /** Samples of voices.ogg. */
  begin: number;
  end: number;
  text: string;
}

/** transformers' result; `margin` is the smallest difference between the two best logits of a step. */
interface Expected {
  ids: number[];
  margin: number;
  segments: { start: number; end: number | null; text: string }[];
}

const utterances = parsed<Utterance[]>('voices.json');
const unheard = ['espeak-ng unseen', 'flite awb'];
const batch = 9;

const words = (text: string) => text.toLowerCase().match(/[a-z']+/g) ?? [];

/** The number of inserted, deleted and substituted words. */
function wordErrors(wanted: string[], got: string[]): number {
  let row = got.map((_, i) => i + 1);
  wanted.forEach((word, i) => {
    let [left, diagonal] = [i + 1, i];
    row = row.map((above, j) => {
      left = Math.min(above + 1, left + 1, diagonal + Number(word !== got[j]));
      diagonal = above;
      return left;
    });
  });
  return row.at(-1) ?? wanted.length;
}

it('counts word errors', () => {
  const errors = (wanted: string, got: string) => wordErrors(words(wanted), words(got));
  expect(errors('Turn on the lamp.', 'turn on the lamp')).toBe(0);
  expect(errors('Turn on the lamp.', 'turn the big lamps')).toBe(3);
  expect(errors('Turn on the lamp.', '')).toBe(4);
  expect(errors('', 'lamp')).toBe(1);
});

// Word errors in the model cards, for voices that were used in training and for others.
describe.each([
  { name: 'micro', expected: parsed<Expected[]>('voices-expected.json'), known: 0, unknown: 4 },
  { name: 'micro-mqa', expected: parsed<Expected[]>('voices-expected-mqa.json'), known: 0, unknown: 5 },
])('$name on every voice', ({ name, expected, known, unknown }) => {
  describe.each(['float32', 'bfloat16', 'int8'] as const)('in %s', (dtype) => {
    let model: WhisperModel;
    const texts: string[] = [];
    const timed: number[][] = [];
    const tokens: number[][] = [];
    beforeAll(async () => {
      const directory = new URL(`../../models/${name}`, import.meta.url).pathname;
      model = await WhisperModel.load(directory, { dtype, threads: 2, batch });
      const samples = await samplesOf('voices.ogg');
      const tokenizer = await model.checkpoint.tokenizer();
      for (let first = 0; first < utterances.length; first += batch) {
        const windows = utterances.slice(first, first + batch).map(({ begin, end }) => samples.subarray(begin, end));
        using features = await model.features(windows);
        using encoded = await model.encode(features);
        tokens.push(...(await model.generate(encoded, { language: 'en' })));
        timed.push(...(await model.generate(encoded, { language: 'en', timestamps: 'segment' })));
      }
      texts.push(...tokens.map((ids) => tokenizer.decode(ids)));
    });
    afterAll(() => model?.dispose());

    it('gives the tokens of transformers', () => {
      // If the two best logits differ by less than the rounding error, either token is correct.
      const error = dtype === 'float32' ? 0.005 : 0.2;
      const clear = expected.flatMap(({ margin }, i) => (margin > error ? [i] : []));
      expect(clear.length).toBeGreaterThan(utterances.length * 0.6);
      expect(clear.map((i) => tokens[i])).toEqual(clear.map((i) => expected[i].ids));
    });

    it.each([
      ['the training’s', known, (voice: string) => !unheard.includes(voice)],
      ['new', unknown, (voice: string) => unheard.includes(voice)],
    ])('has no more word errors than its card states, with %s voices', (_, wrong, counts) => {
      let [errors, count] = [0, 0];
      utterances.forEach(({ voice, text }, i) => {
        if (!counts(voice)) return;
        errors += wordErrors(words(text), words(texts[i]));
        count += words(text).length;
      });
      expect(count).toBeGreaterThan(50);
      expect(errors).toBeLessThanOrEqual(wrong + (dtype === 'float32' ? 0 : 0.01 * count));
    });

    it('finds starts and ends of speech within 0.1 s', () => {
      const first = model.checkpoint.generation.timestampBegin;
      const edge = 0.12; // seconds of silence before and after
      const right = utterances.filter(({ begin, end }, i) => {
        const times = timed[i].filter((token) => token >= first).map((token) => (token - first) * 0.02);
        const length = (end - begin) / 16000;
        return (
          times.length > 1 && Math.abs(times[0] - edge) < 0.101 && Math.abs(times.at(-1)! - (length - edge)) < 0.101
        );
      });
      expect(right.length / utterances.length).toBeGreaterThanOrEqual(0.95);
    });
  });
});
