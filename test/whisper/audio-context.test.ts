/** Short windows: their results, what they save, and the fallback to whole windows. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { samplesOf } from '../audio/support.js';
import { referenceFolder } from './stored.js';

describe('audioContext', () => {
  let whisper: Whisper;
  /** Three sentences, and the first of them. */
  let speech: Float32Array;
  let sentence: Float32Array;

  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { device: 'cpu', dtype: 'float32', threads: 2, windows: 2, rows: 8 });
    speech = await samplesOf('../../../models/micro/sample.flac');
    sentence = speech.slice(0, 2 * 16000);
  });
  afterAll(() => whisper?.dispose());

  /** The result, the number of encoded audio positions, and the windows that were encoded again. */
  async function transcribed(samples: Float32Array, options: TranscribeOptions) {
    const before = whisper.figures();
    const { timings, ...result } = await whisper.transcribe(samples, { batched: false, ...options });
    const { audioPositions, encodedAgain } = whisper.figures();
    return {
      result,
      positions: audioPositions - before.audioPositions,
      again: encodedAgain - before.encodedAgain,
    };
  }

  it("is whole windows unless it is 'fit'", async () => {
    expect((await transcribed(sentence, {})).positions).toBe(500);
    expect((await transcribed(sentence, { audioContext: 'full' })).positions).toBe(500);
  });

  it("'fit' encodes the sound and the margin, and gives the same text", async () => {
    const full = await transcribed(sentence, { wordTimestamps: true });
    const fit = await transcribed(sentence, { wordTimestamps: true, audioContext: 'fit', audioContextMargin: 3 });
    expect(fit.positions).toBe(264);
    expect(fit.again).toBe(0);
    expect(fit.result.text).toBe(full.result.text);
    expect(fit.result.text).toBe(' We will return on Thursday.');
    const words = fit.result.segments.flatMap((segment) => segment.words!);
    full.result.segments
      .flatMap((segment) => segment.words!)
      .forEach(({ word, start, end }, i) => {
        expect(words[i].word).toBe(word);
        expect(Math.abs(words[i].start - start)).toBeLessThan(0.1);
        expect(Math.abs(words[i].end - end)).toBeLessThan(0.1);
      });
  });

  it('has no effect on full windows, and shortens the last one of a long recording', async () => {
    const long = Float32Array.from([...speech, ...new Float32Array(3.2 * 16000), ...sentence]);
    const full = await transcribed(long, {});
    const fit = await transcribed(long, { audioContext: 'fit', audioContextMargin: 1 });
    expect(fit.result.text).toBe(full.result.text);
    expect(full.positions % 500).toBe(0);
    // Every window except the last.
    expect(fit.positions - 500 * Math.floor(fit.positions / 500)).toBeGreaterThan(0);
    expect(fit.positions).toBeLessThan(full.positions);
  });

  it('shortens windows that are cut at silences', async () => {
    const options = { batched: true, vad: false } as const;
    const full = await transcribed(sentence, options);
    const fit = await transcribed(sentence, { ...options, audioContext: 'fit', audioContextMargin: 3 });
    expect([full.positions, fit.positions]).toEqual([500, 264]);
    expect(fit.result.text).toBe(full.result.text);
  });

  it.each([
    ['improbable', { logProbabilityThreshold: 0 }],
    ['repetitive', { compressionRatioThreshold: 0.1 }],
  ])('encodes the whole window if the text is %s, and gives its result', async (_, limits) => {
    const options = { ...limits, temperature: [0, 0.4], seed: 3, wordTimestamps: true };
    const full = await transcribed(sentence, options);
    const fit = await transcribed(sentence, { ...options, audioContext: 'fit', audioContextMargin: 1 });
    expect(fit.again).toBe(1);
    expect(fit.positions).toBe(168 + 500);
    expect(fit.result).toEqual(full.result);
  });

  it('encodes the whole window if the text does not end', async () => {
    using random = await Whisper.load(`${referenceFolder}base`, { device: 'cpu', dtype: 'float32', threads: 2 });
    // No text counts as improbable or repetitive here, since a model with random weights generates without end.
    const options = {
      language: 'en',
      temperature: 0,
      logProbabilityThreshold: -1000,
      compressionRatioThreshold: 1000,
      noSpeechThreshold: 'none',
      timestamps: 'none',
    } as const;
    const second = sentence.subarray(0, 8000);
    const full = await random.transcribe(second, options);
    const fit = await random.transcribe(second, { ...options, audioContext: 'fit', audioContextMargin: 0 });
    expect(full.segments[0].tokens.length).toBeGreaterThan(42);
    expect(random.figures().encodedAgain).toBe(1);
    expect(fit.segments).toEqual(full.segments);
  });

  it('detects the language in a short window, too', async () => {
    using random = await Whisper.load(`${referenceFolder}base`, { device: 'cpu', dtype: 'float32', threads: 2 });
    const second = sentence.subarray(0, 8000);
    const full = await random.detectLanguage(second);
    const fit = await random.detectLanguage(second, { audioContext: 'fit', audioContextMargin: 0 });
    // A random model's language is uncertain, so it is detected in the whole window as well.
    expect(full.probability).toBeLessThan(0.5);
    expect(random.figures().encodedAgain).toBe(1);
    expect(random.figures().audioPositions).toBe(100 + 32 + 100);
    expect(fit).toEqual(full);
  });

  it('refuses unknown values', async () => {
    const refused = { code: 'INVALID_ARGUMENT' };
    await expect(transcribed(sentence, { audioContext: 'short' as 'fit' })).rejects.toMatchObject(refused);
    await expect(transcribed(sentence, { audioContextMargin: -1 })).rejects.toMatchObject(refused);
  });
});
