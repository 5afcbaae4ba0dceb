/** The language of a stream whose option `language` is not given. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { WindowResult } from '../../lib/whisper/decoding/windows.js';
import { canKeep, TurnLanguage } from '../../lib/whisper/live/language.js';
import { Turn } from '../../lib/whisper/live/turn.js';
import type { Final, LiveEvent } from '../../lib/whisper/live/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';

const likely = (code: string, probability = 0.9) =>
  new Map([
    ['en', 0.02],
    ['de', 0.02],
    ['es', 0.02],
    [code, probability],
  ]);

describe('a turn', () => {
  it('is in the language of the stream if that is possible', () => {
    const turn = new TurnLanguage();
    expect(turn.isDue(0.9)).toBe(false);
    expect(turn.isDue(1)).toBe(true);
    expect(turn.check(likely('en', 0.1), 'en', 1, false)).toBe('en');
    expect(turn.isDue(5)).toBe(false);
  });

  it('is in another language that is detected twice', () => {
    const turn = new TurnLanguage();
    expect(turn.check(likely('de'), 'en', 1, false)).toBeNull();
    expect(turn.check(likely('es'), 'en', 1.5, false)).toBeNull();
    expect(turn.check(likely('es'), 'en', 2, false)).toBe('es');
    expect(turn.isDue(2.5)).toBe(false);
  });

  it('is in another language that is detected once, if it is a whole turn of more than a second', () => {
    expect(new TurnLanguage().check(likely('de'), 'en', 1.6, true)).toBe('de');
    expect(new TurnLanguage().check(likely('de'), 'en', 1.1, true)).toBe('en');
  });

  it('does not wait long for its language', () => {
    const turn = new TurnLanguage();
    expect(turn.check(likely('de', 0.3), 'en', 2, false)).toBeNull();
    expect(turn.check(likely('es', 0.3), 'en', 3, false)).toBe('en');
    expect(turn.isDue(3.5)).toBe(true);
    expect(turn.check(likely('es', 0.3), 'en', 4, false)).toBe('en');
    expect(turn.isDue(4.5)).toBe(false);
  });

  it('in another language has nothing of the previous turn in its window', () => {
    const words = [{ word: ' one', start: 0, end: 1, probability: 1, tokens: [7] }];
    const first = new Turn(0, { start: 0, audio: 0 }, [], 16_000);
    first.hypothesis = words;
    first.confirm(1);
    const second = new Turn(1, { start: 32_000, audio: 30_000 }, [], 16_000);
    second.continueFrom(first, 0);
    expect(second.prefix).toEqual([7]);
    second.beginAlone();
    expect(second).toMatchObject({ windowBegin: 30_000, prefix: [], context: [], hypothesis: [] });
  });
});

it('is kept only if it is likely, or after three seconds', () => {
  expect([canKeep(0.9, 0.9), canKeep(0.6, 1), canKeep(0.7, 1), canKeep(0.5, 3), canKeep(0.4, 9)]).toEqual([
    false,
    false,
    true,
    true,
    false,
  ]);
});

describe('a stream', () => {
  let whisper: Whisper;
  const checkpoint = new URL('../fixtures/reference/window30', import.meta.url).pathname;
  beforeAll(async () => {
    whisper = await Whisper.load(checkpoint, { device: 'cpu', dtype: 'float32' });
  });
  afterAll(() => whisper?.dispose());

  /** Three turns of which the model hears the second and third as German. Returns the languages of decodings. */
  async function languagesOf(followLanguage: boolean) {
    const decoded: (string | null)[] = [];
    let heard = 'en';
    const decode = vi.spyOn(whisper.model, 'decodeWindow').mockImplementation(async (_, __, options, settings) => {
      decoded.push(settings.language);
      const { prefix = [] } = options;
      // ' a', after the confirmed text.
      const tokens = [...prefix, 220, 64];
      const attempt = {
        tokens,
        times: [...tokens.map((_id, i) => 0.3 * i), 0.3 * tokens.length],
        logProbabilities: tokens.map(() => -0.1),
        noSpeechProbability: 0,
        averageLogProbability: -0.1,
        compressionRatio: 1,
        language: settings.language ?? heard,
        ...(settings.language === null && { languageProbability: 0.9 }),
      } as unknown as WindowResult;
      return { attempt, timings: { queue: 0, encode: 0, decode: 0 } };
    });
    const detect = vi.spyOn(whisper.model, 'windowLanguages').mockImplementation(async () => likely(heard));
    const live = await whisper.live({ vad: false, followLanguage });
    const finals: Final[] = [];
    const reading = (async () => {
      for await (const event of live as AsyncIterable<LiveEvent>) if (event.type === 'final') finals.push(event);
    })();
    for (const language of ['en', 'de', 'de']) {
      heard = language;
      for (let step = 0; step < 5; ++step) {
        live.push(new Float32Array(8000));
        await live.drained();
      }
      await live.flush();
    }
    await live.close();
    await reading;
    const detections = detect.mock.calls.length;
    decode.mockRestore();
    detect.mockRestore();
    return { decoded, detections, languages: finals.map(({ language }) => language) };
  }

  it('follows its speaker to another language, and checks each turn only until its language is certain', async () => {
    const { decoded, detections, languages } = await languagesOf(true);
    expect(languages).toEqual(['en', 'de', 'de']);
    expect(decoded.lastIndexOf('en')).toBeLessThan(decoded.indexOf('de'));
    expect(detections).toBe(1 + 2 + 1);
  });

  it('keeps its first language on request', async () => {
    const { detections, languages } = await languagesOf(false);
    expect(languages).toEqual(['en', 'en', 'en']);
    expect(detections).toBe(0);
  });
});
