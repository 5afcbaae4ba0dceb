/** Words of tokens with times, compared with the results of openai/whisper's own code (tools/reference/openai.py). */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import type { WhisperTokenizer } from '../../lib/whisper/checkpoint/tokenizer.js';
import { splitWords } from '../../lib/whisper/decoding/split-words.js';
import { looksHallucinated, skipHallucinations } from '../../lib/whisper/transcription/hallucination.js';
import type { Word } from '../../lib/whisper/transcription/types.js';
import {
  addWords,
  defaultPunctuations,
  endOfSpeech,
  joinTokens,
  mergePunctuations,
  shortenLongWords,
} from '../../lib/whisper/transcription/words.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { referenceFolder } from './stored.js';

interface OpenSegment {
  start: number;
  end: number;
  tokens: number[];
  words?: Word[];
}
const stored: {
  split: { language: string; tokens: number[]; words: string[]; merged: string[] }[];
  segments: {
    alignment: [string, number[], number, number, number][];
    segments: OpenSegment[];
    last: number;
    expected: OpenSegment[];
  }[];
} = JSON.parse(readFileSync(`${referenceFolder}words.json`, 'utf8'));

const heldout = new URL('../fixtures/heldout/', import.meta.url).pathname;

describe('words', () => {
  let tokenizer: WhisperTokenizer;
  beforeAll(async () => {
    tokenizer = await (await readCheckpoint(`${referenceFolder}base`)).tokenizer();
  });

  it.each(stored.split)(
    'are split and joined with their punctuation: $words',
    ({ language, tokens, words, merged }) => {
      const found = splitWords(tokens, language, tokenizer);
      expect(found.map(({ text }) => text)).toEqual(words);
      expect(found.flatMap((word) => word.tokens)).toEqual(tokens);
      const timed = found.map(({ text, tokens: own }) => ({
        word: text,
        tokens: own,
        start: 0,
        end: 0,
        probability: 1,
      }));
      mergePunctuations(timed, defaultPunctuations.prepend, defaultPunctuations.append);
      expect(timed.map(({ word }) => word)).toEqual(merged);
    },
  );

  it.each(stored.segments.map((one, index) => ({ index, ...one })))(
    'are given to their segments, number $index',
    ({ alignment, segments, last, expected }) => {
      const tokens = alignment.flatMap(([, own, start, end, probability]) =>
        own.map((id, i) => ({ id, probability, start: i === 0 ? start : end, end })),
      );
      const words = joinTokens(tokens, 'en', tokenizer);
      const lengths = shortenLongWords(words);
      mergePunctuations(words, defaultPunctuations.prepend, defaultPunctuations.append);
      addWords(segments, { words, ...lengths }, (id) => id < 256, 7, last);
      expected.forEach((wanted, i) => {
        expect(segments[i].start).toBeCloseTo(wanted.start, 5);
        expect(segments[i].end).toBeCloseTo(wanted.end, 5);
        expect(segments[i].words!.map(({ word }) => word)).toEqual(wanted.words!.map(({ word }) => word));
        segments[i].words!.forEach((word, j) => {
          const other = wanted.words![j];
          for (const field of ['start', 'end', 'probability'] as const) {
            expect(word[field]).toBeCloseTo(other[field], 4);
          }
        });
      });
    },
  );
});

describe('text that looks hallucinated', () => {
  const words = (probability: number, duration: number, start = 0, count = 4): Word[] =>
    Array.from({ length: count }, (_, i) => ({
      word: ` w${i}`,
      start: start + i * duration,
      end: start + (i + 1) * duration,
      probability,
    }));
  const segment = (own: Word[]) => ({ start: own[0].start, end: own[own.length - 1].end, words: own });

  it('has improbable words, very short or very long ones', () => {
    expect(looksHallucinated(segment(words(0.9, 0.4)))).toBe(false);
    expect(looksHallucinated(segment(words(0.1, 0.4)))).toBe(true);
    expect(looksHallucinated(segment(words(0.9, 0.02)))).toBe(true);
    expect(looksHallucinated(segment(words(0.9, 3)))).toBe(true);
    expect(looksHallucinated(undefined)).toBe(false);
  });

  const window = { begin: 100, duration: 30, windowEnd: 130, audioEnd: 500, lastEnd: 99.5 };
  it('is omitted between silences, and the window continues there', () => {
    const good = segment(words(0.9, 0.4, 100));
    const bad = segment(words(0.1, 0.4, 110));
    expect(skipHallucinations([good, bad], window, 2)).toEqual({ kept: 1, seek: 110, again: false });
    expect(skipHallucinations([good], window, 2)).toEqual({ kept: 1, seek: null, again: false });
  });
  it('at the beginning makes the window begin after the silence before it', () => {
    const text = skipHallucinations([segment(words(0.1, 0.4, 105))], window, 2);
    expect(text).toEqual({ kept: 0, seek: 105, again: true });
  });
  it('near the end of the audio ends it', () => {
    const near = { ...window, audioEnd: 112 };
    const good = segment(words(0.9, 0.4, 100));
    const text = skipHallucinations([good, segment(words(0.1, 0.4, 110))], near, 2);
    expect(text).toEqual({ kept: 1, seek: 112, again: false });
  });
  it('is found by silence after the last word, not after a segment without words', () => {
    const good = segment(words(0.9, 0.4, 100));
    expect(endOfSpeech([good, { end: 109, words: [] }])).toBeCloseTo(101.6);
    expect(endOfSpeech([{ end: 109, words: [] }])).toBe(109);
    // openai/whisper gives a long last word a longer time than its segment.
    expect(endOfSpeech([{ ...good, end: 101.5 }])).toBeCloseTo(101.6);
    expect(endOfSpeech([])).toBeUndefined();
  });
});

describe.each(['speech', 'attention'] as const)("words of the bundled model, timed by '%s'", (wordTimes) => {
  let whisper: Whisper;
  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2, batch: 3, wordTimes });
  });
  afterAll(() => whisper.dispose());

  it.each([
    { batched: false },
    { batched: true },
    { batched: false, vad: true },
    { batched: false, beamSize: 3 },
    { batched: false, timestamps: 'none' as const },
    { batched: false, hallucinationSilenceThreshold: 2 },
  ])('have the words of the text, in order, within the recording: %o', async (options) => {
    const file = `${heldout}12_long_seen.flac`;
    const chosen = { language: 'en', wordTimestamps: true, ...options };
    const { segments, text, duration } = await whisper.transcribe(file, chosen);
    expect(segments.length).toBeGreaterThan(2);
    expect(segments.flatMap(({ words }) => words!.map(({ word }) => word)).join('')).toBe(text);
    let last = 0;
    for (const { start, end, words } of segments) {
      expect(words!.length).toBeGreaterThan(0);
      expect(Math.abs(words![0].start - start)).toBeLessThan(0.6);
      expect(Math.abs(words!.at(-1)!.end - end)).toBeLessThan(0.6);
      for (const word of words!) {
        expect(word.start).toBeGreaterThanOrEqual(wordTimes === 'speech' ? last : last - 0.021);
        if (wordTimes === 'speech') expect(word.end).toBeGreaterThan(word.start);
        else expect(word.end).toBeGreaterThanOrEqual(word.start);
        expect(word.end).toBeLessThanOrEqual(duration + 0.02);
        expect(word.probability).toBeGreaterThan(0);
        expect(word.probability).toBeLessThanOrEqual(1.0001);
        last = wordTimes === 'speech' ? word.end : word.start;
      }
    }
  });

  it('come from the given heads', async () => {
    const file = `${heldout}02_seen.flac`;
    const times = async (alignmentHeads: [number, number][]) => {
      using one = await Whisper.load(undefined, { dtype: 'float32', threads: 2, wordTimes, alignmentHeads });
      const { segments } = await one.transcribe(file, { language: 'en', wordTimestamps: true });
      return segments.flatMap(({ words }) => words!.map(({ start }) => start));
    };
    expect(await times([[1, 0]])).not.toEqual(await times([[0, 1]]));
    await expect(times([[9, 9]])).rejects.toThrow('Expected alignmentHeads to be [layer, head] pairs');
  });

  it('do not change the text', async () => {
    const file = `${heldout}12_long_seen.flac`;
    const plain = await whisper.transcribe(file, { language: 'en', batched: false });
    const timed = await whisper.transcribe(file, { language: 'en', batched: false, wordTimestamps: true });
    expect(timed.text).toBe(plain.text);
  });
});
