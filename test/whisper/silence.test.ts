/** No text where nobody speaks, and no lost text where somebody does. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { check } from '../../lib/options/options.js';
import { Voice } from '../../lib/vad/voice.js';
import { hasVoice, isUncertain } from '../../lib/whisper/decoding/silence.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { isKnownInvention } from '../../lib/whisper/transcription/inventions.js';
import { transcribeOptions } from '../../lib/whisper/transcription/options.js';
import type { Draft } from '../../lib/whisper/transcription/segment-builder.js';
import { TranscriptionState } from '../../lib/whisper/transcription/state.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { joined, samplesOf } from '../audio/support.js';
import { referenceFolder } from './stored.js';

const rate = 16000;
const noise = (seconds: number, level = 0.1) =>
  Float32Array.from({ length: seconds * rate }, (_, i) => level * Math.sin(i * i * 0.37));
const sound = (samples: Float32Array) => ({ samples, sampleRate: rate });

describe('the rule', () => {
  const frames = (...runs: [number, number][]) =>
    new Voice(Float32Array.from(runs.flatMap(([count, probability]) => new Array<number>(count).fill(probability))));
  it.each([
    ['nothing', frames([900, 0.02]), false],
    ['music with short detections', frames([50, 0.1], [4, 0.9], [50, 0.1], [4, 0.6], [50, 0.1]), false],
    ['a short word', frames([400, 0.02], [5, 0.95], [400, 0.02]), true],
    ['singing, improbable but long', frames([200, 0.1], [20, 0.3], [100, 0.1], [20, 0.3]), true],
    ['speech', frames([100, 0.99]), true],
  ])('a window has speech, or not: %s', (_, voice, expected) => {
    expect(hasVoice(voice)).toBe(expected);
  });

  const sure = { noSpeechProbability: 0.05, averageLogProbability: -0.3, compressionRatio: 1.2 };
  it.each([
    [{}, false],
    [{ noSpeechProbability: 0.3 }, true],
    [{ averageLogProbability: -0.8 }, true],
    [{ compressionRatio: 2.5 }, true],
  ])('without detected speech, only a nearly certain text is kept: %o', (doubt, uncertain) => {
    expect(isUncertain({ ...sure, ...doubt }, { compressionRatioThreshold: 2.4 })).toBe(uncertain);
  });

  it('recognizes Whisper’s known inventions, whatever their case and punctuation', () => {
    for (const text of [
      ' Thank you.',
      'thanks for watching',
      ' YOU',
      'ご視聴ありがとうございました。',
      'Untertitel der Amara.org Community',
    ])
      expect(isKnownInvention(text)).toBe(true);
    for (const text of ['Thank you for the apples.', '', ' no', '6']) expect(isKnownInvention(text)).toBe(false);
  });
});

describe('a recording', () => {
  let whisper: Whisper;
  let batching: Whisper;
  beforeAll(async () => {
    [whisper, batching] = await Promise.all([Whisper.load(), Whisper.load(undefined, { windows: 3 })]);
  });
  afterAll(() => {
    whisper.dispose();
    batching.dispose();
  });

  it.each([
    ['silence', new Float32Array(20 * rate)],
    ['near silence', noise(20, 2 ** -15)],
    ['noise', noise(20)],
    ['a hum', Float32Array.from({ length: 20 * rate }, (_, i) => 0.1 * Math.sin((i * 2 * Math.PI * 50) / rate))],
  ])('without speech gives no text, and reports it: %s', async (_, samples) => {
    for (const [model, options] of [
      [whisper, {}],
      [batching, { batched: true, vad: false }],
    ] as const) {
      const { text, segments, omitted } = await model.transcribe(sound(samples), { language: 'en', ...options });
      expect(text).toBe('');
      expect(segments).toEqual([]);
      expect(omitted).toEqual([{ start: 0, end: 20, reason: 'no speech', text: '' }]);
    }
  });

  it('without speech has no language, unless it was given', async () => {
    const silence = sound(new Float32Array(20 * rate));
    for (const options of [{}, { batched: true }, { batched: true, vad: false }, { channels: 'separate' as const }]) {
      expect((await whisper.transcribe(silence, { language: 'auto', ...options })).language).toBeNull();
      expect((await whisper.transcribe(silence, { language: 'en', ...options })).language).toBe('en');
    }
  });

  it('loses no speech next to silence, loud or quiet', async () => {
    const speech = await samplesOf('02_seen.flac');
    const wanted = await whisper.transcribe(sound(speech), { language: 'en', noSpeechRule: 'openai' });
    expect(wanted.text).not.toBe('');
    const window = whisper.model.checkpoint.preprocessor.samples;
    const quiet = speech.map((sample) => sample * 10 ** (-40 / 20));
    const alone = await whisper.transcribe(sound(speech), { language: 'en' });
    expect(alone).toEqual({ ...wanted, timings: expect.anything() });
    const behind = await whisper.transcribe(sound(joined([new Float32Array(window), speech])), { language: 'en' });
    expect(behind.text).toBe(wanted.text);
    expect(behind.omitted).toEqual([{ start: 0, end: window / rate, reason: 'no speech', text: '' }]);
    const faint = await whisper.transcribe(sound(quiet), { language: 'en' });
    expect(faint.text).toBe((await whisper.transcribe(sound(quiet), { language: 'en', noSpeechRule: 'openai' })).text);
    expect(faint.omitted).toBeUndefined();
  });

  it('with separate channels reports which one is silent', async () => {
    const speech = await samplesOf('02_seen.flac');
    const audio = { samples: [speech, noise(speech.length / rate)], sampleRate: rate };
    const { segments, omitted } = await whisper.transcribe(audio, { channels: 'separate', vad: false, language: 'en' });
    expect(new Set(segments.map(({ channel }) => channel))).toEqual(new Set([0]));
    expect(omitted).toMatchObject([{ start: 0, reason: 'no speech', channel: 1 }]);
  });

  it('is judged by openai/whisper’s rule on request', async () => {
    const random = await Whisper.load(`${referenceFolder}suppress`, { threads: 1 });
    try {
      const options = { language: 'en', temperature: 0, timestamps: 'none' } as const;
      const audio = sound(noise(2));
      expect((await random.transcribe(audio, { ...options, noSpeechRule: 'openai' })).segments).not.toEqual([]);
      expect((await random.transcribe(audio, { ...options, noSpeechThreshold: 'none' })).segments).not.toEqual([]);
    } finally {
      random.dispose();
    }
  });
});

it('known inventions are omitted if the detector finds no speech, unless they are requested', async () => {
  const model = await WhisperModel.load();
  const segment = (start: number, end: number, text: string, tokens: number[]) =>
    ({ start, end, text, tokens }) as unknown as Draft;
  const drafts = () => [
    segment(30, 32, ' Thank you.', [1]),
    segment(34, 36, ' Thank you.', [2]),
    segment(36, 38, ' The', [3]),
  ];
  const voice = new Voice(Float32Array.from({ length: 300 }, (_, frame) => (frame < 60 ? 0.9 : 0.01)));
  try {
    const job = await TranscriptionState.open(model, check(transcribeOptions, {}));
    const left = drafts();
    job.dropInventions(left, 30, voice);
    expect(left.map(({ start }) => start)).toEqual([30, 36]);
    expect(job.omitted).toMatchObject([{ start: 34, end: 36, reason: 'known invention' }]);
    job.request.close();
    for (const [options, heard] of [
      [{ dropInventions: false }, voice],
      [{ noSpeechRule: 'openai' }, undefined],
    ] as const) {
      const other = await TranscriptionState.open(model, check(transcribeOptions, options));
      const kept = drafts();
      other.dropInventions(kept, 30, heard);
      expect(kept).toHaveLength(3);
      expect(other.omitted).toEqual([]);
      other.request.close();
    }
  } finally {
    model.dispose();
  }
});
