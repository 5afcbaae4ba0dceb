/**
 * Starts and ends of windows: never within a word if there is a pause nearby, and no segment ends after the recording.
 */
import { describe, expect, it } from 'vitest';
import type { WhisperTokenizer } from '../../lib/whisper/checkpoint/tokenizer.js';
import { type Draft, SegmentBuilder } from '../../lib/whisper/transcription/segment-builder.js';
import { beginInPause, cutOff } from '../../lib/whisper/transcription/window-begin.js';

/** Frames of 20 ms: '#' is loud, '.' is quiet. */
const frames = (text: string) => Float64Array.from(text, (one) => (one === '#' ? 0.9 : 0.1));
const begin = (text: string, place: number) => beginInPause(frames(text), place, 50);

describe('a window begins', () => {
  const words = `${'#'.repeat(20)}${'.'.repeat(12)}${'#'.repeat(30)}`;
  it('at its timestamp, if that is in a pause', () => {
    expect(begin(words, 20)).toBe(20);
    expect(begin(words, 31)).toBe(31);
  });
  it('before the word that contains its timestamp, with a tenth of a second of the pause', () => {
    for (const place of [32, 40, 50]) expect(begin(words, place)).toBe(27);
  });
  it('after the previous word if that has almost ended, and there is no pause before', () => {
    expect(begin(words, 17)).toBe(20);
  });
  it('at its timestamp, if no pause is near', () => {
    expect(begin(words, 10)).toBe(10);
    expect(begin(words, 60)).toBe(60);
    expect(begin('#'.repeat(60), 30)).toBe(30);
    expect(begin(`${'#'.repeat(26)}...${'#'.repeat(30)}`, 40)).toBe(40); // what a plosive takes
  });
});

it('no segment ends after the start of the next window, and none occurs twice', () => {
  const word = (start: number, end: number) => ({ word: ' a', start, end, probability: 1 });
  const last = { start: 2, end: 5.6, words: [word(2, 5.1), word(5.1, 5.6)] };
  expect(cutOff(last, 5.3)).toBe(true);
  expect(last).toEqual({ start: 2, end: 5.3, words: [word(2, 5.1), word(5.1, 5.3)] });
  const behind = { start: 5.4, end: 5.6 };
  expect(cutOff(behind, 5.3)).toBe(false);
  expect(behind).toEqual({ start: 5.4, end: 5.6 });
  expect(cutOff(undefined, 5.3)).toBe(true);
});

it('a segment ends within the audio, whatever time the model generated', () => {
  const tokenizer = { decode: () => '' } as unknown as WhisperTokenizer;
  const preprocessor = { sampleRate: 16000, hop: 160 } as ConstructorParameters<
    typeof SegmentBuilder
  >[0]['preprocessor'];
  const about = { preprocessor, tokenizer, options: {}, languages: false, keepsEmpty: false, language: () => 'en' };
  const builder = new SegmentBuilder(about as ConstructorParameters<typeof SegmentBuilder>[0]);
  // Ten seconds were skipped before the decoded part.
  builder.toRecording = (seconds) => seconds + 10;
  const draft = (start: number, end: number, text: string) =>
    ({ start, end, text, words: [{ word: text, start, end, probability: 1 }] }) as Draft;
  const [first, last] = builder.publish([draft(1, 2, ' a'), draft(2, 4.06, ' b')], 3.4);
  expect([first.start, first.end, last.start, last.end]).toEqual([11, 12, 12, 13.4]);
  expect(last.words![0].end).toBe(13.4);
});
