/** Parts of live transcription: policies, loops and fast text, windows of turns, turn detection, events, audio. */
import { describe, expect, it } from 'vitest';
import type { VoiceDetector } from '../../lib/vad/voice-detector.js';
import type { Checkpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { EventQueue } from '../../lib/whisper/live/events.js';
import { HeldAudio } from '../../lib/whisper/live/held-audio.js';
import { confirmableWords, defaultPolicy } from '../../lib/whisper/live/policy.js';
import { fastTextBegin, repetitionBegin } from '../../lib/whisper/live/repetition.js';
import { Turn } from '../../lib/whisper/live/turn.js';
import { type TurnChange, TurnDetector } from '../../lib/whisper/live/turn-detector.js';
import type { LiveEvent } from '../../lib/whisper/live/types.js';
import type { TimedWord } from '../../lib/whisper/transcription/words.js';

/** Words of half a second each, one after the other. */
const wordsOf = (text: string, begin = 0): TimedWord[] =>
  text.split(/(?= )/).map((word, i) => ({
    word,
    start: begin + i / 2,
    end: begin + (i + 1) / 2,
    probability: 1,
    tokens: [i],
  }));

describe('words are confirmed', () => {
  const now = wordsOf(' one two three four');
  it('by the end of their attention, by agreement, or by both', () => {
    expect(confirmableWords('attention', now, [], 1.2)).toBe(2);
    expect(confirmableWords('attention', now, [], 9)).toBe(4);
    expect(confirmableWords('agreement', now, wordsOf(' one two tree'), 0)).toBe(2);
    expect(confirmableWords('agreement', now, [], 9)).toBe(0);
    expect(confirmableWords('both', now, wordsOf(' one two three'), 1.2)).toBe(2);
    expect(confirmableWords('both', now, wordsOf(' one'), 9)).toBe(1);
  });

  it('by agreement for unnamed alignment heads and pruned decoders', () => {
    const checkpoint = (decoder: number, alignmentWarning: string | null) =>
      ({
        config: { encoder: { layers: 6 }, decoder: { layers: decoder } },
        generation: { alignmentWarning },
      }) as Checkpoint;
    expect(defaultPolicy(checkpoint(6, null))).toBe('attention');
    expect(defaultPolicy(checkpoint(6, 'none named'))).toBe('agreement');
    expect(defaultPolicy(checkpoint(2, null))).toBe('agreement');
  });
});

describe('a loop', () => {
  it('is cut after its first cycle', () => {
    expect(repetitionBegin([1, 2, 3, 4, 5, 6])).toBeNull();
    expect(repetitionBegin([7, 1, 2, 3, 1, 2, 3, 1, 2, 3])).toBe(4);
    expect(repetitionBegin([9, 8, 5, 5, 5, 5, 5, 5, 5, 5])).toBe(3);
  });
  it('is not detected in repetitions of real speech', () => {
    expect(repetitionBegin([5, 5, 5])).toBeNull();
    expect(repetitionBegin([1, 2, 1, 2, 1, 2])).toBeNull();
    expect(repetitionBegin([])).toBeNull();
  });
});

describe('text that is too fast for speech', () => {
  const at = (...times: number[]) => times.slice(1).map((end, i) => ({ start: times[i], end }));

  it('begins with four successive words that have almost no audio', () => {
    expect(fastTextBegin(at(0, 0.3, 0.34, 0.38, 0.4, 0.44, 0.8), 1)).toBe(1);
    expect(fastTextBegin(at(0, 0.04, 0.08, 0.08, 0.1), 1)).toBe(0);
  });

  it('is not found in speech, nor after the given time', () => {
    expect(fastTextBegin(at(0, 0.2, 0.24, 0.28, 0.3, 0.5), 1)).toBeNull();
    expect(fastTextBegin(at(0, 0.3, 0.34, 0.38, 0.4, 0.44), 0.42)).toBeNull();
    expect(fastTextBegin([], 1)).toBeNull();
  });
});

describe('a turn', () => {
  const turn = () => new Turn(0, { start: 16_000, audio: 16_000 }, [], 16_000);

  it('has words with times of the stream, and appends punctuation to the word before it', () => {
    const one = turn();
    one.hypothesis = [...wordsOf(' so it is'), { word: '.', start: 1.5, end: 1.6, probability: 1, tokens: [3] }];
    expect(one.confirm(3).map(({ start }) => start)).toEqual([1, 1.5, 2]);
    one.confirm(1);
    expect(one.text).toBe(' so it is.');
    expect(one.words.at(-1)).toMatchObject({ word: ' is.', start: 2 });
    expect(one.hypothesis).toEqual([]);
  });

  it('moves its window to the end of a sentence or a pause, and keeps the times of later words', () => {
    const one = turn();
    one.hypothesis = [...wordsOf(' This is it.'), ...wordsOf(' And it goes on', 2)];
    one.confirm(5);
    expect(one.advance(0.5, 3)).toBe(true);
    expect(one.windowBegin).toBe(16_000 + 1.75 * 16_000);
    expect(one.prefix).toEqual([0, 1]);
    expect(one.context).toEqual([0, 1, 2]);
    expect(one.hypothesis[0].start).toBeCloseTo(3 - 1.75);
    expect(one.inStream(one.hypothesis[0]).start).toBe(4);
    expect(one.advance(5, 9)).toBe(false);
    one.skip(1);
    expect(one.prefix).toEqual([]);
  });

  it('begins its window after the confirmed words, if there is no pause to begin it at', () => {
    const one = turn();
    one.hypothesis = wordsOf(' one two three');
    one.confirm(2);
    one.skip(0.7);
    expect(one.windowBegin).toBe(2 * 16_000);
    expect(one.hypothesis.map((word) => one.inStream(word).start)).toEqual([2]);
  });

  it('has no words before its own audio, although its window begins in the previous turn', () => {
    const first = turn();
    first.hypothesis = wordsOf(' one two');
    first.confirm(2);
    const second = new Turn(1, { start: 50_000, audio: 48_000 }, [], 16_000);
    second.continueFrom(first, 0);
    expect(second.undecodedFrom).toBe(48_000);
    second.setHypothesis(wordsOf(' three four', 1.4));
    expect(second.hypothesis.map((word) => second.inStream(word))).toMatchObject([
      { word: ' three', start: 3, end: 3 },
      { word: ' four', start: 3, end: 3.4 },
    ]);
  });
});

describe('turn detection', () => {
  /** Probabilities are the samples, one for each frame of 160. */
  const detector: VoiceDetector = {
    frame: 160,
    probabilities: (samples) => Array.from({ length: samples.length / 160 }, (_, i) => samples[160 * i]),
    close: () => {},
  };
  const limits = { threshold: 0.5, negativeThreshold: 0.35, minSpeech: 0.05, minSilence: 0.1, padding: 0.03 };
  const stream = (...parts: [value: number, hundredths: number][]) =>
    Float32Array.from(parts.flatMap(([value, hundredths]) => new Array(160 * hundredths).fill(value)));
  const detected = async (samples: Float32Array, piece: number, finish = false): Promise<TurnChange[]> => {
    const [audio, turns] = [new HeldAudio(), new TurnDetector(detector, limits)];
    const changes: TurnChange[] = [];
    for (let at = 0; at < samples.length; at += piece) {
      audio.add(samples.subarray(at, at + piece));
      changes.push(...(await turns.process(audio, audio.end)));
    }
    return finish ? [...changes, ...turns.finish(audio.end)] : changes;
  };

  it.each([160, 1000, 99_999])('finds turns in pieces of %i samples', async (piece) => {
    const samples = stream([0, 20], [1, 3], [0, 20], [1, 10], [0, 5], [1, 10], [0, 20]);
    expect(await detected(samples, piece)).toEqual([
      { change: 'started', position: 43 * 160, audio: 40 * 160 },
      { change: 'paused', position: 53 * 160 },
      { change: 'resumed', position: 58 * 160 },
      { change: 'paused', position: 68 * 160 },
      { change: 'stopped', position: 68 * 160, audio: 71 * 160 },
    ]);
  });

  it('ends a turn on request', async () => {
    expect(await detected(stream([0, 10], [1, 20]), 160, true)).toEqual([
      { change: 'started', position: 1600, audio: 1600 - 480 },
      { change: 'stopped', position: 4800, audio: 4800 },
    ]);
    expect(await detected(stream([0, 10]), 160, true)).toEqual([]);
  });
});

describe('unread events', () => {
  const partial = (text: string): LiveEvent => ({ type: 'partial', turn: 0, text, words: [], lag: 0 });
  const confirmed = (turn: number, text: string): LiveEvent => ({ type: 'confirmed', turn, text, words: [], lag: 0 });

  it('are merged without loss of text', async () => {
    const queue = new EventQueue();
    for (let i = 0; i < 1000; ++i) {
      queue.push(partial(`${i}`));
      queue.push(confirmed(0, `${i} `));
    }
    queue.push(partial('last'));
    queue.push(confirmed(1, 'other'));
    queue.end();
    const events: LiveEvent[] = [];
    for await (const event of queue.read()) events.push(event);
    expect(events.map(({ type }) => type)).toEqual(['confirmed', 'partial', 'confirmed']);
    expect((events[0] as { text: string }).text.split(' ')).toHaveLength(1001);
  });

  it('end with the error that ended the stream', async () => {
    const queue = new EventQueue();
    queue.push(confirmed(0, 'a'));
    queue.end(new Error('gone'));
    const reader = queue.read();
    expect((await reader.next()).value).toMatchObject({ text: 'a' });
    await expect(reader.next()).rejects.toThrow('gone');
  });
});

it('holds only the audio that may be needed', () => {
  const audio = new HeldAudio();
  for (let i = 0; i < 100; ++i) {
    audio.add(new Float32Array(16_000).fill(i));
    audio.drop(audio.end - 32_000);
  }
  expect(audio.end - audio.begin).toBeLessThanOrEqual(4 * 16_000);
  expect(audio.slice(audio.end - 2, audio.end)).toEqual(Float32Array.of(99, 99));
  const into = new Float32Array(6).fill(7);
  audio.fill(into, audio.end - 3, audio.end - 1);
  expect(into).toEqual(Float32Array.of(99, 99, 0, 0, 0, 0));
});
