import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Whisper } from '../../lib/whisper/whisper.js';
import { readTensors, referenceFolder, storedWindows } from './stored.js';

const expected = JSON.parse(readFileSync(`${referenceFolder}base/expected.json`, 'utf8')) as { languages: string[] };
const windows = storedWindows(readTensors(`${referenceFolder}base/expected.safetensors`));
/** The two windows of the reference, of two seconds each, one after the other. */
const both = Float32Array.from([...windows[0], ...windows[1]]);

describe('language', () => {
  let whisper: Whisper;
  let batching: Whisper;
  beforeAll(async () => {
    whisper = await Whisper.load(`${referenceFolder}base`, { dtype: 'float32', threads: 2 });
    batching = await Whisper.load(`${referenceFolder}base`, { dtype: 'float32', threads: 2, batch: 2 });
  });
  afterAll(() => {
    whisper.dispose();
    batching.dispose();
  });
  const unsure = { languageDetectionThreshold: 1 };
  /** A random model is uncertain about everything, and skips windows that it considers silent. */
  const options = {
    ...unsure,
    noSpeechThreshold: 'none',
    temperature: 0,
    maxNewTokens: 8,
    timestamps: 'none',
  } as const;

  it('is the most probable one of a window, with the probabilities of all', async () => {
    const { language, probability, probabilities } = await whisper.detectLanguage(windows[0]);
    expect(language).toBe(expected.languages[0]);
    expect(Object.keys(probabilities).sort()).toEqual(['de', 'en', 'zh']);
    expect(Object.values(probabilities).reduce((a, b) => a + b, 0)).toBeCloseTo(1, 5);
    expect(probability).toBe(Math.max(...Object.values(probabilities)));
  });

  it('is averaged over several windows, unless one is certain', async () => {
    const one = await whisper.detectLanguage(both, { languageDetectionWindows: 1, ...unsure });
    const two = await whisper.detectLanguage(both, { languageDetectionWindows: 2, ...unsure });
    const second = await whisper.detectLanguage(both.subarray(32000), { languageDetectionWindows: 1, ...unsure });
    for (const code of ['de', 'en', 'zh']) {
      const mean = (one.probabilities[code] + second.probabilities[code]) / 2;
      expect(Math.abs(two.probabilities[code] - mean)).toBeLessThan(0.05);
    }
    const early = await whisper.detectLanguage(both, { languageDetectionWindows: 2, languageDetectionThreshold: 0 });
    expect(early.probabilities).toEqual(one.probabilities);
  });

  it('is that of the whole recording, in sequential and batched mode', async () => {
    const { language } = await whisper.detectLanguage(both, { languageDetectionWindows: 2, ...unsure });
    const chosen = { ...options, languageDetectionWindows: 2 };
    expect((await whisper.transcribe(both, chosen)).language).toBe(language);
    expect((await batching.transcribe(both, { ...chosen, batched: true, vad: false })).language).toBe(language);
  });

  it('is not that of silent windows, unless by the rules of openai/whisper', async () => {
    const { language } = await whisper.detectLanguage(windows[0]);
    // All windows are dropped as silent.
    const silent = {
      ...options,
      noSpeechRule: 'openai',
      noSpeechThreshold: -1,
      logProbabilityThreshold: 'none',
    } as const;
    for (const [one, cut] of [
      [whisper, {}],
      [batching, { batched: true, vad: false }],
    ] as const) {
      const own = await one.transcribe(both, { ...silent, ...cut });
      expect([own.language, own.text]).toEqual([null, '']);
      const openai = await one.transcribe(both, { ...silent, ...cut, rules: 'openai' });
      expect([openai.language, openai.text]).toEqual([language, '']);
    }
  });

  it('of a short recording is detected with silence after it, also if windows are padded with zeros', async () => {
    const lengths = [4000, 8000, 12_000, 16_000, 20_000, 24_000, 28_000];
    const rules = { ...options, rules: 'openai' } as const;
    for (const length of lengths) {
      const part = windows[0].subarray(0, length);
      const { language } = await whisper.detectLanguage(part);
      expect((await whisper.transcribe(part, rules)).language).toBe(language);
    }
  });

  it('is one of the candidates', async () => {
    const { probabilities } = await whisper.detectLanguage(windows[0], unsure);
    const others = ['de', 'en', 'zh'].filter((code) => code !== expected.languages[0]);
    const likelier = others.reduce((a, b) => (probabilities[a] > probabilities[b] ? a : b));
    for (const one of [whisper, batching]) {
      const cut = { ...options, batched: one === batching, vad: false };
      const found = await one.transcribe(both, { ...cut, languages: others });
      expect(found.language).toBe(likelier);
      expect((await one.transcribe(both, { ...cut, languages: ['german'] })).language).toBe('de');
    }
    const wrong = (given: object) => expect(whisper.transcribe(both, { ...options, ...given })).rejects;
    await wrong({ languages: ['en', 'xx'] }).toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'languages' });
    await wrong({ languages: ['en'], language: 'de' }).toMatchObject({ argument: 'languages' });
    await wrong({ languages: [] }).toMatchObject({ argument: 'languages' });
  });

  it('is returned for each window on request', async () => {
    for (const one of [whisper, batching]) {
      const cut = { ...options, batched: one === batching, vad: false };
      const { segments } = await one.transcribe(both, { ...cut, languagePerSegment: true });
      expect(segments.length).toBeGreaterThan(1);
      expect(segments[0].language).toBe(expected.languages[0]);
      for (const { language } of segments) expect(['de', 'en', 'zh']).toContain(language);
    }
    const { segments } = await whisper.transcribe(both, options);
    expect(segments[0].language).toBeUndefined();
  });

  it('cannot be detected by an English-only model, or without audio', async () => {
    using english = await Whisper.load(`${referenceFolder}english`, { threads: 1 });
    await expect(english.detectLanguage(windows[0])).rejects.toMatchObject({ code: 'NOT_SUPPORTED' });
    await expect(whisper.detectLanguage(both, { languageDetectionWindows: 0 })).rejects.toThrow(
      'Expected languageDetectionWindows to be a whole number from 1',
    );
  });
});
