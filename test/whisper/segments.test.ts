import { deflate } from 'pako';
import { describe, expect, it } from 'vitest';
import type { GenerationConfig } from '../../lib/whisper/checkpoint/config.js';
import { compressionRatio } from '../../lib/whisper/decoding/compression.js';
import { checkLanguage, promptTokens } from '../../lib/whisper/decoding/prompt.js';
import { SampleWindow } from '../../lib/whisper/transcription/samples.js';
import { splitWhole, splitWindow } from '../../lib/whisper/transcription/segments.js';

const generation = { timestampBegin: 100, timestampEnd: 1601 } as GenerationConfig;
/** A timestamp token. */
const at = (seconds: number) => 100 + Math.round(seconds / 0.02);

describe('a window', () => {
  it('that ends in truncated text continues after the last complete segment', () => {
    const tokens = [at(0), 1, 2, at(2), at(2.4), 3, at(5), at(5.2), 4];
    expect(splitWindow(tokens, 1000, generation)).toEqual({
      segments: [
        { start: 0, end: 2, tokens: [at(0), 1, 2, at(2)] },
        { start: 2.4, end: 5, tokens: [at(2.4), 3, at(5)] },
      ],
      advance: 500,
      loneEnd: false,
    });
  });

  it('that ends with a single timestamp is used completely', () => {
    const { segments, advance } = splitWindow([at(0), 1, at(2), at(2), 3, at(6)], 1000, generation);
    expect(segments.map(({ start, end }) => [start, end])).toEqual([
      [0, 2],
      [2, 6],
    ]);
    expect(advance).toBe(1000);
  });

  it('without pairs is one segment', () => {
    expect(splitWindow([at(0.4), 1, at(3)], 700, generation)).toEqual({
      segments: [{ start: 0.4, end: 3, tokens: [at(0.4), 1, at(3)] }],
      advance: 700,
      loneEnd: true,
    });
    expect(splitWindow([1, 2], 700, generation).segments).toEqual([{ start: 0, end: 7, tokens: [1, 2] }]);
    expect(splitWindow([], 700, generation).advance).toBe(700);
  });

  it('that is not decoded again keeps its unfinished text', () => {
    const tokens = [at(0), 1, 2, at(2), at(2.4), 3, at(5), at(5.2), 4];
    expect(splitWhole(tokens, 1000, generation).segments).toEqual([
      { start: 0, end: 2, tokens: [at(0), 1, 2, at(2)] },
      { start: 2.4, end: 5, tokens: [at(2.4), 3, at(5)] },
      { start: 5.2, end: 10, tokens: [at(5.2), 4] },
    ]);
    const closed = [at(0), 1, at(2), at(2), 3, at(6)];
    expect(splitWhole(closed, 1000, generation).segments).toEqual(splitWindow(closed, 1000, generation).segments);
  });

  it('treats tokens that were added after the timestamps as text', () => {
    const added = 1601;
    expect(splitWindow([at(0), added, 2, at(9)], 3000, generation)).toMatchObject({
      segments: [{ start: 0, end: 9, tokens: [at(0), added, 2, at(9)] }],
      loneEnd: true,
    });
    expect(splitWindow([at(0), 1, added], 300, generation).segments).toEqual([
      { start: 0, end: 3, tokens: [at(0), 1, added] },
    ]);
    expect(splitWhole([at(0), 1, at(2), at(2), added], 300, generation).segments[1]).toMatchObject({
      start: 2,
      end: 3,
    });
  });

  it('always moves forward, and never beyond its audio', () => {
    expect(splitWindow([1, at(0), at(0), 2], 700, generation).advance).toBe(700);
    expect(splitWindow([at(0), 1, at(9), at(9), 2], 300, generation).advance).toBe(300);
  });
});

it('the compression ratio shows repetition', () => {
  expect(compressionRatio('one two three four five six seven')).toBeLessThan(1.2);
  expect(compressionRatio('again and '.repeat(40))).toBeGreaterThan(2.4);
  expect(compressionRatio('')).toBe(0);
  // The same as zlib itself, regardless of earlier texts.
  for (const text of [
    'a',
    'the doctor and the teacher '.repeat(50),
    'ö',
    'one and one and two and one',
    'x'.repeat(60_000),
  ]) {
    const bytes = Buffer.from(text);
    expect(compressionRatio(text)).toBe(bytes.length / deflate(bytes).length);
  }
});

describe('the prompt', () => {
  const multilingual: GenerationConfig = {
    startToken: 1,
    endToken: 0,
    noTimestampsToken: 9,
    timestampBegin: 10,
    timestampEnd: 14,
    defaults: { language: null, task: null },
    forced: { language: null, task: null },
    alignmentWarning: null,
    noSpeechToken: 8,
    previousToken: 7,
    multilingual: true,
    languages: new Map([
      ['en', 2],
      ['de', 3],
    ]),
    tasks: new Map([
      ['transcribe', 5],
      ['translate', 4],
    ]),
    suppressTokens: [],
    beginSuppressTokens: [],
    forcedDecoderIds: [],
    maxInitialTimestamp: null,
    alignmentHeads: [],
    maxLength: 20,
  };

  it('states language, task and whether times are generated', () => {
    expect(promptTokens(multilingual, { language: 'de', task: 'translate', timestamps: 'none' })).toEqual([1, 3, 4, 9]);
    expect(promptTokens(multilingual, { language: 'en', task: 'transcribe', timestamps: 'segment' })).toEqual([
      1, 2, 5,
    ]);
    const english = { ...multilingual, multilingual: false };
    expect(promptTokens(english, { language: 'en', task: 'transcribe', timestamps: 'none' })).toEqual([1, 9]);
  });

  it('accepts languages by code or name', () => {
    expect(checkLanguage('German', multilingual)).toBe('de');
    expect(checkLanguage('EN', multilingual)).toBe('en');
    expect(() => checkLanguage('fr', multilingual)).toThrow("does not know the language 'fr'; it knows en, de.");
    expect(() => checkLanguage('de', { ...multilingual, multilingual: false })).toThrow('writes English only');
  });
});

describe('samples', () => {
  const source = (length: number, chunk: number) => ({
    duration: null,
    close: async () => {},
    async *chunks() {
      for (let place = 0; place < length; place += chunk) {
        yield Float32Array.from({ length: Math.min(chunk, length - place) }, (_, i) => place + i);
      }
    },
  });
  const read = (window: SampleWindow, begin: number, length: number) => {
    const into = new Float32Array(length).fill(Number.NaN);
    window.fill(into, begin);
    return Array.from(into);
  };

  it('are mirrored before the recording and silent after it', async () => {
    const window = new SampleWindow(source(5, 2).chunks());
    await window.readTo(100);
    expect(window).toMatchObject({ end: 5, ended: true });
    expect(read(window, -3, 10)).toEqual([3, 2, 1, 0, 1, 2, 3, 4, 0, 0]);
  });

  it('keep their positions when earlier ones are dropped', async () => {
    const window = new SampleWindow(source(300_000, 7000).chunks());
    for (let begin = 0; begin < 290_000; begin += 10_000) {
      await window.readTo(begin + 10_000);
      expect(read(window, begin, 3)).toEqual([begin, begin + 1, begin + 2]);
      window.drop(begin);
    }
    expect(window.ended).toBe(false);
  });
});
