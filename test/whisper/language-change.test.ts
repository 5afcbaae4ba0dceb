/** Recordings in several languages: the decision for a window, and how planners continue. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { SearchOptions } from '../../lib/engine/tasks.js';
import { check } from '../../lib/options/options.js';
import { type Checkpoint, readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import type { SearchAttempt as WindowAttempt } from '../../lib/whisper/decoding/fallback.js';
import { otherLanguage } from '../../lib/whisper/decoding/language-change.js';
import { decodingOptions } from '../../lib/whisper/decoding/options.js';
import { resolveDecoding } from '../../lib/whisper/decoding/resolve.js';
import type { WhisperEngine } from '../../lib/whisper/decoding/window-languages.js';
import { decodeWindow, type WindowResult, type WindowSettings } from '../../lib/whisper/decoding/windows.js';
import type { Search, SearchResult } from '../../lib/whisper/model/search.js';
import { splitWhole } from '../../lib/whisper/transcription/segments.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { referenceFolder } from './stored.js';

describe('another language', () => {
  const of = (entries: Record<string, number>) => new Map(Object.entries(entries));

  it('is detected if it is likely and the expected one is not', () => {
    expect(otherLanguage(of({ en: 0.02, de: 0.95 }), 'en')).toBe('de');
    expect(otherLanguage(of({ en: 0.2, de: 0.75 }), 'en')).toBeNull();
    expect(otherLanguage(of({ en: 0.05, de: 0.5, nl: 0.45 }), 'en')).toBeNull();
    expect(otherLanguage(of({ en: 0.9, de: 0.1 }), 'en')).toBeNull();
  });

  it('is never one that Whisper confuses with the expected one', () => {
    expect(otherLanguage(of({ hi: 0.01, ur: 0.99 }), 'hi')).toBeNull();
    expect(otherLanguage(of({ no: 0.01, nn: 0.99 }), 'no')).toBeNull();
    expect(otherLanguage(of({ hi: 0.01, en: 0.99 }), 'hi')).toBe('en');
  });
});

/** A window of 2 s of the reference checkpoint: 100 audio positions. */
describe('a window', () => {
  let checkpoint: Checkpoint;
  let settings: WindowSettings;
  beforeAll(async () => {
    checkpoint = await readCheckpoint(`${referenceFolder}base`);
    settings = {
      language: 'en',
      task: 'transcribe',
      timestamps: 'segment',
      decoding: await resolveDecoding(check(decodingOptions, { temperature: [0, 0.5], bestOf: 1 }), checkpoint),
      follow: true,
      partsOf: (tokens, frames = 100) => splitWhole(tokens, 2 * frames, checkpoint.generation).segments,
    };
  });

  const time = (seconds: number) => checkpoint.generation.timestampBegin + Math.round(seconds / 0.02);
  /** From 0 to 1 s, and from 1 to 2 s. */
  const text = (first: number, second: number) => [time(0), first, time(1), time(1), second, time(2)];

  interface Script {
    /** The text for each language. */
    texts: Record<string, number[]>;
    /** Log-probability of each token in a language; languages that are not given have a better one. */
    likely?: Record<string, number>;
    /** The languages that are spoken in the first and the second second. */
    heard: [string, string];
  }

  /**
   * An engine that returns these texts. It records the languages in which it decoded, and the parts whose language was
   * requested.
   */
  function scripted({ texts, likely = {}, heard }: Script) {
    const { languages, generation } = { ...checkpoint.generation, generation: checkpoint.generation };
    const written: string[] = [];
    const asked: (SearchOptions['part'] | undefined)[] = [];
    const logits = (part: SearchOptions['part']) => {
      const all = new Float32Array(checkpoint.config.vocabulary).fill(-100);
      const place = part ? Number(part.begin >= 50) : null;
      for (const code of place === null ? heard : [heard[place]]) all[languages.get(code)!] = 0;
      return all;
    };
    const search = async (given: Search, { part }: SearchOptions = {}): Promise<SearchResult> => {
      const startLogits = logits(part);
      const base = { noSpeechProbability: 0, sum: 0, ended: true, startLogits };
      if (given.maximum === 0) {
        asked.push(part);
        return { ...base, tokens: [], logProbabilities: [] };
      }
      const [code] = [...languages].find(([, id]) => given.prompt.includes(id))!;
      written.push(`${code} ${given.temperature}`);
      const tokens = texts[code];
      const one = likely[code] ?? -0.1;
      return { ...base, tokens, logProbabilities: [...tokens.map(() => one), one], sum: one * tokens.length };
    };
    const window = { slot: { begin: 0, positions: 100 }, encodeTime: 0, waited: 0, search, close: () => {} };
    const engine = {
      encode: async () => window,
      countFallback: () => {},
      countEncodedAgain: () => {},
    } as unknown as WhisperEngine;
    const decode = async (more: Partial<WindowSettings> = {}) => {
      const samples = { samples: new Float32Array(0), peak: 0 };
      const own = { frames: 100 };
      const request = {} as Parameters<typeof decodeWindow>[1];
      return (await decodeWindow(engine, request, checkpoint, samples, own, { ...settings, ...more })).attempt;
    };
    return { decode, written, asked, generation };
  }

  it('in the expected language is decoded once, without further detection', async () => {
    const { decode, written, asked } = scripted({ texts: { en: text(5, 6) }, heard: ['en', 'en'] });
    const attempt = await decode();
    expect(attempt).toMatchObject({ tokens: text(5, 6), language: 'en' });
    expect(attempt.change).toBeUndefined();
    expect(attempt.startLogits).toBeUndefined();
    expect([written, asked]).toEqual([['en 0'], []]);
  });

  it('in another language is decoded in that language, even if the first text looks good', async () => {
    const { decode, written } = scripted({ texts: { en: text(5, 6), de: text(7, 8) }, heard: ['de', 'de'] });
    expect(await decode()).toMatchObject({ tokens: text(7, 8), language: 'de' });
    expect(written).toEqual(['en 0', 'de 0']);
  });

  it('is not decoded at other temperatures in the wrong language', async () => {
    const script: Script = { texts: { en: [5, 6], de: text(7, 8) }, likely: { en: -3 }, heard: ['de', 'de'] };
    const { decode, written } = scripted(script);
    expect(await decode()).toMatchObject({ tokens: text(7, 8), language: 'de', temperature: 0 });
    expect(written).toEqual(['en 0', 'de 0']);
  });

  it('that fails in its own language falls back as usual', async () => {
    const { decode, written } = scripted({ texts: { en: text(5, 6) }, likely: { en: -3 }, heard: ['en', 'en'] });
    expect(await decode()).toMatchObject({ language: 'en', temperature: 0.5 });
    expect(written).toEqual(['en 0', 'en 0.5']);
  });

  it('in two languages ends where the second begins', async () => {
    const { decode, written, asked } = scripted({ texts: { en: text(5, 6) }, heard: ['en', 'zh'] });
    const attempt = await decode();
    expect(attempt).toMatchObject({
      tokens: [time(0), 5, time(1)],
      logProbabilities: [-0.1, -0.1, -0.1],
      ended: false,
      language: 'en',
      change: { at: 1, language: 'zh', tokens: 3 },
    });
    expect(written).toEqual(['en 0']);
    // Each part with its own audio positions.
    expect(asked).toEqual([
      { begin: 0, positions: 50 },
      { begin: 50, positions: 50 },
    ]);
  });

  it('in two languages is decoded at other temperatures if the text in its own language fails', async () => {
    const { decode, written } = scripted({ texts: { en: text(5, 6) }, likely: { en: -3 }, heard: ['en', 'zh'] });
    expect(await decode()).toMatchObject({
      tokens: [time(0), 5, time(1)],
      temperature: 0.5,
      change: { language: 'zh' },
    });
    expect(written[0]).toBe('en 0');
    expect(written.at(-1)).toBe('en 0.5');
  });

  it('in two languages, the first of which is not the expected one, gives the first in its own language', async () => {
    const { decode } = scripted({ texts: { en: text(5, 6), de: text(7, 8) }, heard: ['de', 'en'] });
    expect(await decode()).toMatchObject({
      tokens: [time(0), 7, time(1)],
      language: 'de',
      change: { at: 1, language: 'en' },
    });
  });

  it('without timestamps is in one language', async () => {
    const { decode } = scripted({ texts: { en: [5], de: [7] }, heard: ['de', 'de'] });
    expect(await decode({ timestamps: 'none', partsOf: undefined })).toMatchObject({ tokens: [7], language: 'de' });
    const mixed = scripted({ texts: { en: [5], de: [7] }, heard: ['en', 'de'] });
    expect(await mixed.decode({ timestamps: 'none', partsOf: undefined })).toMatchObject({
      tokens: [5],
      language: 'en',
    });
  });

  it('is decoded in the given language, if there is one', async () => {
    const { decode, written, asked } = scripted({ texts: { en: text(5, 6) }, heard: ['de', 'de'] });
    expect(await decode({ follow: false })).toMatchObject({ tokens: text(5, 6), language: 'en' });
    expect([written, asked]).toEqual([['en 0'], []]);
  });
});

describe('a recording', () => {
  let whisper: Whisper;
  beforeAll(async () => {
    whisper = await Whisper.load(`${referenceFolder}base`, { device: 'cpu', dtype: 'float32', threads: 2 });
  });
  afterAll(() => whisper?.dispose());

  /** The results of windows of 2 s, by their start in seconds, and the languages that were expected there. */
  async function transcribed(given: Record<number, Partial<WindowResult>>, batched: boolean) {
    const { timestampBegin } = whisper.model.checkpoint.generation;
    const expected: Record<number, string | null> = {};
    const decode = vi
      .spyOn(whisper.model, 'decodeWindow')
      .mockImplementation(async (_, __, { seed = 0, frames = 0 }, settings) => {
        const begin = seed / 100;
        expected[begin] = settings.language;
        const end = timestampBegin + Math.min(frames, 100);
        const attempt: WindowAttempt & WindowResult = {
          tokens: [timestampBegin, 5, end],
          logProbabilities: [-0.1, -0.1, -0.1],
          sum: -0.3,
          ended: true,
          noSpeechProbability: 0,
          temperature: 0,
          averageLogProbability: -0.1,
          compressionRatio: 1,
          language: settings.language ?? 'en',
          ...given[begin],
        };
        return { attempt, timings: { queue: 0, encode: 0, decode: 0 } };
      });
    try {
      const warned: string[] = [];
      const onWarning = (sentence: string) => warned.push(sentence);
      const samples = new Float32Array(6 * 16000).map((_, i) => 0.1 * Math.sin(i / 9));
      // Windows that are cut at silences are also cut at the ends of clips.
      const clips = batched ? [0, 2, 4].map((start) => ({ start, end: start + 2 })) : undefined;
      const options = { batched, clips, vad: false, onWarning } as const;
      const result = await whisper.transcribe(samples, options);
      const segments = result.segments.map(({ start, end, language }) => [start, end, language]);
      return { result, segments, expected, warned };
    } finally {
      decode.mockRestore();
    }
  }

  it('continues in the new language where it changes, and reports it', async () => {
    const { timestampBegin } = whisper.model.checkpoint.generation;
    const cut = {
      tokens: [timestampBegin, 5, timestampBegin + 50],
      logProbabilities: [-0.1, -0.1, -0.1],
      ended: false,
    };
    const change = { at: 1, tokens: 3, language: 'de' };
    const { segments, expected, result, warned } = await transcribed({ 2: { ...cut, change } }, false);
    expect(segments).toEqual([
      [0, 2, undefined],
      [2, 3, undefined],
      [3, 5, 'de'],
      [5, 6, 'de'],
    ]);
    expect(expected).toEqual({ 0: null, 2: 'en', 3: 'de', 5: 'de' });
    expect(result.language).toBe('en');
    expect(warned).toEqual([
      'The recording begins in English (en) and continues in German (de) at 0:03.0; if that is wrong, set language, or set followLanguage to false.',
    ]);
    expect(result.warnings).toEqual(warned);
    expect(result.incomplete).toBe(false);
  });

  it('has each window in its own language if windows are decoded at once', async () => {
    const { timestampBegin } = whisper.model.checkpoint.generation;
    const cut = {
      tokens: [timestampBegin, 5, timestampBegin + 50],
      logProbabilities: [-0.1, -0.1, -0.1],
      ended: false,
    };
    const languages = vi.spyOn(whisper.model, 'windowLanguages').mockResolvedValue(new Map([['en', 1]]));
    const change = { at: 1, tokens: 3, language: 'de' };
    const { segments, result } = await transcribed({ 2: { ...cut, change } }, true);
    languages.mockRestore();
    expect(segments).toEqual([
      [0, 2, undefined],
      [2, 3, undefined],
      [3, 4, 'de'],
      [4, 6, undefined],
    ]);
    expect(result.warnings).toHaveLength(1);
  });

  it('does not use the language of windows without text', async () => {
    const nothing = { language: 'de', noSpeechProbability: 0.9, averageLogProbability: -2 };
    const { expected, result } = await transcribed({ 2: nothing }, false);
    expect(expected).toEqual({ 0: null, 2: 'en', 4: 'en' });
    expect(result.warnings).toEqual([]);
  });
});
