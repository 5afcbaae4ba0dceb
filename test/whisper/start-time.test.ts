/** Audio that begins later than its file: times are those of the file. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import { type AudioSource, openAudio } from '../../lib/audio/index.js';
import { check } from '../../lib/options/options.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { type TranscribeOptions, transcribeOptions } from '../../lib/whisper/transcription/options.js';
import { TranscriptionState } from '../../lib/whisper/transcription/state.js';
import { stream, transcribe } from '../../lib/whisper/transcription/transcribe.js';
import type { Segment } from '../../lib/whisper/transcription/types.js';

let model: WhisperModel;
beforeAll(async () => {
  model = await WhisperModel.load();
});
afterAll(() => model.dispose());

/** The bundled recording, with a start time of `startTime` seconds. */
async function late(startTime: number): Promise<AudioSource> {
  const source = await openAudio(new URL('../../models/micro/sample.flac', import.meta.url));
  return {
    duration: source.duration,
    warnings: source.warnings,
    incomplete: false,
    startTime,
    chunks: () => source.chunks(),
    close: () => source.close(),
  };
}

const places = (segments: readonly Segment[], by = 0) =>
  segments.flatMap(({ start, end, words = [] }) =>
    [start, end, ...words.flatMap((word) => [word.start, word.end])].map((time) => Math.round((time + by) * 1e4) / 1e4),
  );

const opened = (model: WhisperModel, options: TranscribeOptions) =>
  TranscriptionState.open(model, check(transcribeOptions, options));

it.each<[string, TranscribeOptions]>([
  ['one after the other', { wordTimestamps: true }],
  ['without silence, at once', { vad: true, batched: true }],
])('windows decoded %s', async (_, options) => {
  const usual = await transcribe(await opened(model, options), await late(0));
  const shifted = await transcribe(await opened(model, options), await late(2));
  expect(shifted.text).toBe(usual.text);
  expect(places(shifted.segments)).toEqual(places(usual.segments, 2));
  expect(shifted.duration).toBeCloseTo(usual.duration + 2, 4);
  expect(shifted.segments[0].seek).toBe(usual.segments[0].seek + 200);
  expect(usual.segments.length).toBeGreaterThan(1);
});

it('streams and clips', async () => {
  const [{ segments }, streamed] = [await transcribe(await opened(model, {}), await late(0)), [] as Segment[]];
  for await (const segment of stream(await opened(model, {}), await late(5))) streamed.push(segment);
  expect(places(streamed)).toEqual(places(segments, 5));
  // The clip's times are the file's: the same audio is five seconds later.
  const clip = await transcribe(await opened(model, { clips: [{ start: 0, end: 2.4 }] }), await late(0));
  const later = await transcribe(await opened(model, { clips: [{ start: 5, end: 7.4 }] }), await late(5));
  expect([later.text, places(later.segments)]).toEqual([clip.text, places(clip.segments, 5)]);
  expect(clip.text.trim()).not.toBe('');
});
