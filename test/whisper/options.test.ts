import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WhisperTokenizer } from '../../lib/whisper/checkpoint/tokenizer.js';
import { needsFallback } from '../../lib/whisper/decoding/fallback.js';
import { isSkipped } from '../../lib/whisper/decoding/silence.js';
import { suppressionMask } from '../../lib/whisper/decoding/suppression.js';
import { likeliest, rank, requiredCandidates } from '../../lib/whisper/model/search.js';
import { TextContext } from '../../lib/whisper/transcription/context.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { referenceFolder } from './stored.js';

describe('fallback', () => {
  const usual = { compressionRatioThreshold: 2.4, logProbabilityThreshold: -1, noSpeechThreshold: 0.6 };
  const good = { compressionRatio: 1.5, averageLogProbability: -0.3, noSpeechProbability: 0.1 };

  it.each([
    [{}, false],
    [{ compressionRatio: 2.5 }, true],
    [{ averageLogProbability: -1.1 }, true],
    [{ averageLogProbability: -1.1, noSpeechProbability: 0.7 }, false], // silence is not tried again
    [{ compressionRatio: 2.5, noSpeechProbability: 0.7 }, true],
  ])('of %o is %s', (attempt, wanted) => {
    expect(needsFallback({ ...good, ...attempt }, usual)).toBe(wanted);
  });

  it('never happens if the thresholds are null', () => {
    const off = { compressionRatioThreshold: null, logProbabilityThreshold: null, noSpeechThreshold: 0.6 };
    expect(needsFallback({ compressionRatio: 9, averageLogProbability: -9, noSpeechProbability: 0 }, off)).toBe(false);
  });

  it.each([
    [{ noSpeechProbability: 0.7, averageLogProbability: -1.1 }, true],
    [{ noSpeechProbability: 0.7, averageLogProbability: -0.9 }, false],
    [{ noSpeechProbability: 0.5, averageLogProbability: -1.1 }, false],
  ])('silence: %o is skipped: %s', (attempt, wanted) => {
    expect(isSkipped({ ...good, ...attempt }, usual)).toBe(wanted);
    expect(isSkipped({ ...good, ...attempt }, { ...usual, noSpeechThreshold: null })).toBe(false);
  });
});

describe('ranking', () => {
  /** A candidate with `length` generated tokens after `prefix` others. */
  const of = (sum: number, length: number, { ended = true, prefix = 0 } = {}) => ({
    tokens: Array(prefix + length).fill(1),
    logProbabilities: Array(length + Number(ended)).fill(0),
    sum,
    ended,
  });

  it('divides by the length, or by its power', () => {
    const [short, long] = [of(-2, 2), of(-3, 6)];
    expect(likeliest([short, long], null)).toBe(long);
    expect(likeliest([short, long], 0)).toBe(short);
    expect(likeliest([of(-2, 0)], null).sum).toBe(-2);
  });

  // Scores of openai/whisper's MaximumLikelihoodRanker: sum / length, and sum / ((5 + length) / 6) ** penalty, where
  // length is that of the tokens from sample_begin to the end token.
  it.each([
    [-1, 2, null, -0.5],
    [-2.4, 6, null, -0.4],
    [-2.4, 6, 1, -1.309090909],
    [-2.4, 6, 0.6, -1.66827015],
    [-1, 2, 0.6, -0.911658],
  ])(
    'of a sum of %f over %i tokens with length penalty %f is %f, without the prefix',
    (sum, length, penalty, score) => {
      for (const ended of [true, false]) {
        for (const prefix of [0, 10]) expect(rank(of(sum, length, { ended, prefix }), penalty)).toBeCloseTo(score, 6);
      }
    },
  );

  // Python: round(5 * 0.5) == 2, round(3 * 1.5) == 4, round(5 * 1.5) == 8, round(5 * 0.7) == 4 (3.5), round(0.5) == 0
  it.each([
    [5, 1, 5],
    [5, 0.5, 2],
    [3, 1.5, 4],
    [5, 1.5, 8],
    [5, 0.7, 4],
    [5, 2, 10],
    [4, 0.3, 1],
    [2, 0.25, 1],
  ])('%i beams with patience %f end with %i texts, rounded as in Python', (beams, patience, texts) => {
    expect(requiredCandidates(beams, patience)).toBe(texts);
  });
});

describe('the text before a window', () => {
  const tokenizer = { encode: (text: string) => Array.from(text, (c) => c.charCodeAt(0)) } as WhisperTokenizer;
  /** 20 positions leave room for 9 tokens. */
  const context = (options: TranscribeOptions) => new TextContext(options, tokenizer, 20);

  it('is the prompt, only before the first window', () => {
    const text = context({ prompt: ' ab ' });
    expect(text.next()).toEqual({ previous: [32, 97, 98], prefix: [] });
    text.add([7], 0);
    expect(text.next().previous).toEqual([]);
  });

  it('is the prompt and the text, as much as there is room for', () => {
    const text = context({ prompt: [1, 2], conditionOnPreviousText: true });
    text.add([3, 4, 5, 6, 7], 0);
    expect(text.next().previous).toEqual([1, 2, 3, 4, 5, 6, 7]);
    text.add([8, 9, 10], 0);
    expect(text.next().previous).toEqual([2, 3, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('is carried before every window, and never pushed out', () => {
    const text = context({ prompt: [1, 2], carryPrompt: true, conditionOnPreviousText: true });
    text.add([3, 4, 5, 6, 7, 8, 9, 10], 0);
    expect(text.next().previous).toEqual([1, 2, 4, 5, 6, 7, 8, 9, 10]);
  });

  it('is dropped after text that was sampled at a high temperature', () => {
    const text = context({ conditionOnPreviousText: true, promptResetTemperature: 0.5 });
    text.add([3], 0.4);
    expect(text.next().previous).toEqual([3]);
    text.add([4], 0.6);
    expect(text.next().previous).toEqual([]);
  });

  it('contains hotwords before every window, unless there is a prefix', () => {
    const text = context({ hotwords: 'x', prefix: [5] });
    expect(text.next()).toEqual({ previous: [], prefix: [5] });
    expect(text.next()).toEqual({ previous: [32, 120], prefix: [] });
  });
});

describe('options', () => {
  let whisper: Whisper;
  beforeAll(async () => {
    whisper = await Whisper.load(`${referenceFolder}suppress`, { threads: 2 });
  });
  afterAll(() => whisper.dispose());

  it('suppress tokens by id and by class', async () => {
    const { generation, config, tokenizer } = whisper.model.checkpoint;
    const mask = (wanted: Parameters<typeof suppressionMask>[2], blank = false) =>
      suppressionMask(generation, config.vocabulary, wanted, blank, tokenizer);
    const set = (values: Uint8Array, bit: number) => Array.from(values.keys()).filter((id) => values[id] & bit);
    const bytes = (text: string) => [...Buffer.from(text)];
    expect(set(await mask(['default']), 1)).toEqual(generation.suppressTokens);
    expect(set(await mask([3, 9]), 1)).toEqual([3, 9]);
    expect(set(await mask([]), 3)).toEqual([]);
    expect(set(await mask([], true), 2)).toEqual([...generation.beginSuppressTokens].sort((a, b) => a - b));
    expect(set(await mask(['numerals']), 1)).toEqual(bytes('$%0123456789'));
    // Here every byte is a token: the first of ' -' is the space, that of a musical note its first byte.
    const symbols = set(await mask(['symbols']), 1);
    expect(symbols).toEqual(
      expect.arrayContaining(bytes(' "#()*[]{|}~♪').filter((byte) => byte < 128 || byte === 0xe2)),
    );
    expect(symbols).not.toEqual(expect.arrayContaining(bytes('a')));
  });

  it.each<[TranscribeOptions, string]>([
    [{ beamSize: 17 }, 'Expected beamSize to be a whole number from 1 to 16 but received 17.'],
    [{ patience: 0 }, 'Expected patience to be a number above 0, at most 2 but received 0.'],
    [{ bestOf: 1.5 }, 'Expected bestOf to be a whole number'],
    [
      { temperature: [] },
      'Expected temperature to be a number from 0 to 100, or a list of such numbers, but received an empty list.',
    ],
    [{ temperature: [0, -1] }, 'Expected temperature to be a number from 0'],
    [{ repetitionPenalty: 0 }, 'Expected repetitionPenalty to be a number above 0'],
    [{ suppressTokens: ['music' as 'symbols'] }, "'default', 'symbols' or 'numerals' but received ['music']."],
    [{ topLogProbabilities: 65 }, 'Expected topLogProbabilities to be a whole number from 0 to 64'],
    [{ partialInterval: 0 }, 'Expected partialInterval to be a number above 0'],
    [{ promptResetTemperature: Number.NaN }, 'Expected promptResetTemperature to be a number from 0'],
    [{ hallucinationSilenceThreshold: 2 }, 'set wordTimestamps to true'],
    [{ prompt: [-1] }, 'Expected prompt to be a string or a list of token ids but received [-1].'],
    [{ prompt: [1_000_000] }, 'Expected prompt to be a list of token ids from 0 to'],
    [{ prefix: 7 as unknown as string }, 'Expected prefix to be a string or a list of token ids but received 7.'],
    [
      { logProbabilityThreshold: '1' as unknown as number },
      "Expected logProbabilityThreshold to be a number, or 'none' for never but received '1'.",
    ],
  ])('%o is refused', async (options, message) => {
    await expect(whisper.transcribe(new Float32Array(16000), options)).rejects.toThrow(message);
  });

  it('the same seed samples the same text, another one another text', async () => {
    const samples = Float32Array.from({ length: 32000 }, (_, i) => Math.sin(i * i * 1e-6));
    const draw = async (seed: number) => {
      const options = { language: 'en', temperature: 1, noSpeechThreshold: 'none', seed, timestamps: 'none' } as const;
      return (await whisper.transcribe(samples, options)).segments[0].tokens;
    };
    const first = await draw(1);
    expect(await draw(1)).toEqual(first);
    expect(await draw(2)).not.toEqual(first);
  });

  it('the likeliest tokens of each position are returned on request', async () => {
    const samples = Float32Array.from({ length: 32000 }, (_, i) => Math.sin(i * i * 1e-6));
    const options = { language: 'en', temperature: 0, noSpeechThreshold: 'none', timestamps: 'none' } as const;
    for (const beamSize of [1, 3]) {
      const { segments } = await whisper.transcribe(samples, { ...options, beamSize, topLogProbabilities: 4 });
      const [{ tokens, top_logprobs: top }] = segments;
      expect(top).toHaveLength(tokens.length);
      top!.forEach((ranked, place) => {
        expect(ranked).toHaveLength(4);
        const logs = ranked.map(({ logProbability }) => logProbability);
        expect(logs).toEqual([...logs].sort((a, b) => b - a));
        if (beamSize === 1) expect(ranked[0].token).toBe(tokens[place]);
        else expect(ranked.map(({ token }) => token)).toContain(tokens[place]);
      });
    }
  });
});
