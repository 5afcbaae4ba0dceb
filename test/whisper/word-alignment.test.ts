/** Alignment of words and pauses, with artificial attention. */
import { describe, expect, it } from 'vitest';
import { loudness } from '../../lib/whisper/decoding/loudness.js';
import { alignWords, type Span } from '../../lib/whisper/decoding/word-alignment.js';
import { timeTokens } from '../../lib/whisper/decoding/word-times.js';
import { addTimedWords, type TimedWord } from '../../lib/whisper/transcription/words.js';
import { random } from '../device/reference.js';

const frames = 200;

/** Attention weights of tokens that attend mostly to their own frames. */
function attention(tokens: readonly Span[], noise = 0.001) {
  const weights = new Float32Array(tokens.length * frames).fill(noise);
  tokens.forEach(({ start, end }, row) => {
    for (let frame = start; frame < end; ++frame) weights[row * frames + frame] += 1 / (end - start);
  });
  return { weights, rows: tokens.length, frames, before: 0 };
}
const loud = (spans: readonly Span[]) =>
  Float64Array.from({ length: frames }, (_, frame) =>
    spans.some(({ start, end }) => frame >= start && frame < end) ? 0.95 : 0.05,
  );
const near = (found: readonly Span[], wanted: readonly Span[], frames = 3) => {
  expect(found).toHaveLength(wanted.length);
  found.forEach(({ start, end }, i) => {
    expect(Math.abs(start - wanted[i].start)).toBeLessThanOrEqual(frames);
    expect(Math.abs(end - wanted[i].end)).toBeLessThanOrEqual(frames);
  });
};

const said: Span[] = [
  { start: 20, end: 40 },
  { start: 40, end: 52 },
  { start: 110, end: 130 },
];

describe('words in attention', () => {
  it('are found with the pauses between them', () => {
    const rows = said.map((_, i) => ({ start: i, end: i + 1 }));
    near(alignWords(attention(said), rows, loud(said)), said);
    // Tokens attend ahead into the pause before them, which is quiet.
    const early = [said[0], said[1], { start: 60, end: 130 }];
    near(alignWords(attention(early), rows, loud(said)), said);
  });

  it('are found by attention alone if the loudness is constant', () => {
    const rows = said.map((_, i) => ({ start: i, end: i + 1 }));
    const found = alignWords(attention(said), rows, new Float64Array(frames).fill(0.7));
    expect(Math.abs(found[1].start - 40)).toBeLessThanOrEqual(3);
    expect(found[2].start).toBeLessThan(112);
  });

  it('exclude sounds without attention before a word, after a pause', () => {
    const words: Span[] = [
      { start: 10, end: 60 },
      { start: 60, end: 100 },
      { start: 150, end: 190 },
    ];
    const rows = words.map((_, i) => ({ start: i, end: i + 1 }));
    const given = attention(words);
    // There the next word has slightly more of the remaining attention than other words.
    for (let frame = 108; frame < 145; ++frame) given.weights[2 * frames + frame] += 0.0005;
    near(alignWords(given, rows, loud([...words, { start: 108, end: 145 }])), words, 6);
  });

  it('may have several tokens, with punctuation between them', () => {
    const tokens = [said[0], { start: 30, end: 40 }, said[1], { start: 60, end: 100 }, said[2]];
    tokens[0] = { start: 20, end: 30 };
    const rows = [
      { start: 0, end: 2 },
      { start: 2, end: 3 },
      { start: 4, end: 5 },
    ];
    near(alignWords(attention(tokens), rows, loud(said)), said);
  });

  it('are in order and within the window, whatever the numbers are', () => {
    for (let seed = 0; seed < 20; ++seed) {
      const count = 1 + (seed % 7) * 20;
      const weights = Float32Array.from(random(count * frames, seed), (value) => Math.abs(value) ** 8);
      if (seed === 19) weights.fill(Number.NaN);
      const rows = Array.from({ length: count }, (_, i) => ({ start: i, end: i + 1 }));
      const level = Float64Array.from(random(frames, seed + 100), (value) => 0.5 + 0.49 * value);
      const found = alignWords({ weights, rows: count, frames, before: 0 }, rows, level);
      expect(found).toHaveLength(count);
      let last = 0;
      for (const { start, end } of found) {
        expect(start).toBeGreaterThanOrEqual(last);
        if (seed < 19) expect(end).toBeGreaterThan(start);
        expect(end).toBeLessThanOrEqual(frames);
        last = end;
      }
    }
    expect(alignWords(attention([]), [], loud([]))).toEqual([]);
  });
});

describe('times of tokens', () => {
  const texts = ['<0>', ' say', ' it', ',', ' loud', 'ly', '.', '<1>'];
  const tokenizer = {
    isText: (id: number) => !texts[id].startsWith('<'),
    decode: (ids: readonly number[]) => ids.map((id) => texts[id]).join(''),
  };
  const tokens = texts.map((_, id) => id);
  const places: Span[] = [
    { start: 0, end: 20 },
    said[0],
    said[1],
    { start: 60, end: 70 },
    { start: 110, end: 120 },
    { start: 120, end: 130 },
    { start: 140, end: 150 },
    { start: 150, end: 160 },
  ];

  it('are those of their words; punctuation and timestamps have no duration', () => {
    const { times, ends } = timeTokens(tokens, attention(places), loud(said), 'en', tokenizer);
    expect(times).toHaveLength(9);
    for (const [token, word, part] of [
      [1, 0, 0],
      [2, 1, 0],
      [4, 2, 0],
      [5, 2, 1],
    ]) {
      if (part === 0) expect(Math.abs(times[token] - 0.02 * said[word].start)).toBeLessThan(0.07);
      if (token !== 4) expect(Math.abs(ends[token] - 0.02 * said[word].end)).toBeLessThan(0.07);
    }
    expect(times[5]).toBeCloseTo(ends[4], 5);
    for (const token of [0, 3, 6, 7]) expect(ends[token]).toBe(times[token]);
  });

  it('of a prefix are before the first decoded word', () => {
    const decoded = attention(places.slice(3));
    const { times, ends } = timeTokens(tokens, { ...decoded, before: 3 }, loud(said), 'en', tokenizer);
    expect(times[1]).toBe(0);
    expect(ends[1]).toBeCloseTo(times[2], 5);
    expect(ends[2]).toBeCloseTo(times[4], 5);
    expect(Math.abs(times[4] - 2.2)).toBeLessThan(0.07);
  });
});

describe('loudness', () => {
  const preprocessor = { hop: 160, fftSize: 400 } as Parameters<typeof loudness>[2];
  const samples = (level: (second: number) => number) =>
    Float32Array.from(random(16000 * 4 + 400, 5), (value, i) => value * level((i - 200) / 16000));

  it('distinguishes pauses from speech, at any volume', () => {
    for (const volume of [1, 0.01]) {
      const found = loudness(
        samples((t) => volume * (t > 1 && t < 2 ? 0.003 : 0.3)),
        200,
        preprocessor,
      );
      expect(found[25]).toBeGreaterThan(0.9);
      expect(found[75]).toBeLessThan(0.2);
      expect(found[150]).toBeGreaterThan(0.9);
    }
  });

  it('does not treat steady noise as a pause, and ignores silence', () => {
    for (const level of [0.1, 0]) {
      const found = loudness(
        samples(() => level),
        200,
        preprocessor,
      );
      expect(Math.max(...found) - Math.min(...found)).toBeLessThan(0.8);
      expect(found.every((value) => value >= 0.01 && value <= 0.99)).toBe(true);
    }
  });
});

describe('timed words', () => {
  const word = (text: string, start: number, end: number): TimedWord => ({
    word: text,
    start,
    end,
    probability: 1,
    tokens: [1],
  });

  it('never overlap, nor with the window before, and their segments have the same bounds', () => {
    const segments = [
      { start: 0, end: 1, tokens: [1, 1] },
      { start: 1, end: 2, tokens: [1, 9] },
      { start: 2, end: 3, tokens: [9] },
    ];
    const words = [word(' a', 0, 0.5), word(' -', 0.5, 0.5), word(' b', 0.7, 1.2)];
    const last = addTimedWords(segments, words, (id) => id === 1, 10, 10.2);
    expect(segments).toEqual([
      {
        start: 10.2,
        end: 10.52,
        tokens: [1, 1],
        words: [
          expect.objectContaining({ start: 10.2, end: 10.5 }),
          expect.objectContaining({ start: 10.5, end: 10.52 }),
        ],
      },
      { start: 10.7, end: 11.2, tokens: [1, 9], words: [expect.objectContaining({ word: ' b' })] },
      { start: 2, end: 3, tokens: [9], words: [] },
    ]);
    expect(last).toBe(11.2);
  });
});
