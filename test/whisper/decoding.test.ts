/** Search, prompts and fallback, compared with openai/whisper's own code (tools/reference/openai.py). */
import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Tensor } from '../../lib/device/tensor.js';
import type { GenerateOptions } from '../../lib/whisper/decoding/options.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { readTensors, referenceFolder, storedWindows } from './stored.js';

interface Decoded {
  tokens: number[];
  avg_logprob: number;
  no_speech_prob: number;
  times?: number[];
}
interface Recorded {
  seek: number;
  start: number;
  end: number;
  tokens: number[];
  temperature: number;
  avg_logprob: number;
  compression_ratio: number;
}
interface Expected {
  windows: Record<string, Decoded[]>;
  recordings: Record<string, Recorded[]>;
  /** The same with silence, not zeros, after the end of the recording. */
  silence: Record<string, Recorded[]>;
}

const range = (begin: number, end: number) => Array.from({ length: end - begin }, (_, i) => begin + i);
const few = { suppressTokens: range(10, 250) };
const timestamps = 'segment' as const;

/** onehead's names for the options of tools/reference/openai.py. */
const windowOptions: Record<string, GenerateOptions> = {
  greedy: {},
  'beams 2': { beamSize: 2 },
  'beams 5': { beamSize: 5 },
  'beams 5, patience 2': { beamSize: 5, patience: 2 },
  'beams 5, length penalty 0.6': { beamSize: 5, lengthPenalty: 0.6 },
  timestamps: { timestamps },
  'timestamps, beams 2': { timestamps, beamSize: 2 },
  'timestamps, beams 5': { timestamps, beamSize: 5 },
  prompt: { previous: [40, 41, 42, 43, 44, 90] },
  'long prompt, beams 5': { previous: range(0, 100).map((i) => 30 + (i % 80)), beamSize: 5, maxNewTokens: 20 },
  prefix: { prefix: [72, 105, 33], maxNewTokens: 20 },
  'suppress, beams 5': { suppressTokens: range(0, 120), beamSize: 5 },
  'few tokens, beams 2': { ...few, beamSize: 2 },
  'few tokens, beams 5': { ...few, beamSize: 5 },
  'few tokens, beams 5, patience 2': { ...few, beamSize: 5, patience: 2 },
  'few tokens, timestamps, beams 5': { ...few, beamSize: 5, timestamps },
};

/** At such a low temperature sampling gives the likeliest token, whatever the noise. */
const cold = 1e-6;
const recordingOptions: Record<string, TranscribeOptions> = {
  defaults: { temperature: [0, cold] },
  'without thresholds': { compressionRatioThreshold: 'none', logProbabilityThreshold: 'none' },
  'beams, then greedy': { beamSize: 5, temperature: [0, cold], logProbabilityThreshold: -2.6 },
  'improbable is repeated': { temperature: [0, cold, 2 * cold], logProbabilityThreshold: -2.8 },
  'previous text': { conditionOnPreviousText: true, temperature: 0 },
  prompt: { prompt: 'Hello', temperature: 0 },
  'carried prompt': { prompt: 'Hello', carryPrompt: true, temperature: 0, conditionOnPreviousText: true },
};

/** openai/whisper's suppress_blank for these vocabularies, since the checkpoints name no tokens for it. */
function suppressBlank(model: WhisperModel): void {
  model.checkpoint.generation.beginSuppressTokens = [32, model.checkpoint.generation.endToken];
}

/** Tokens that openai/whisper always suppresses. */
function specialTokens({ checkpoint: { generation } }: WhisperModel): number[] {
  const { startToken, previousToken, noSpeechToken } = generation;
  // <|translate|>, <|transcribe|> and <|startoflm|> are before <|startofprev|>, also in English-only vocabularies.
  return [startToken, ...range(previousToken! - 3, previousToken! + 1), noSpeechToken!];
}

const cases = readdirSync(referenceFolder).filter((name) => existsSync(`${referenceFolder}${name}/decoding.json`));

describe.each(cases)('%s, compared with openai/whisper', (name) => {
  const path = `${referenceFolder}${name}/decoding.json`;
  const { windows, recordings, silence }: Expected = JSON.parse(readFileSync(path, 'utf8'));
  const stored = readTensors(`${referenceFolder}${name}/expected.safetensors`);

  describe('windows', () => {
    let model: WhisperModel;
    let encoded: Tensor;
    beforeAll(async () => {
      model = await WhisperModel.load(referenceFolder + name, { dtype: 'float32', threads: 2, batch: 2 });
      suppressBlank(model);
      using features = await model.features(storedWindows(stored));
      encoded = await model.encode(features);
    });
    afterAll(() => model.dispose());

    it.each(Object.keys(windows))('%s', async (kind) => {
      const options = { language: 'en', maxNewTokens: 40, ...windowOptions[kind] };
      const prefix = options.prefix ?? [];
      if (options.suppressTokens) options.suppressTokens = [...options.suppressTokens, ...specialTokens(model)];
      const got = await model.decode(encoded, options);
      expect(got.map(({ tokens }) => tokens)).toEqual(windows[kind].map(({ tokens }) => [...prefix, ...tokens]));
      got.forEach(({ averageLogProbability, noSpeechProbability }, row) => {
        // After a prefix, openai/whisper suppresses blanks once more.
        expect(averageLogProbability).toBeCloseTo(windows[kind][row].avg_logprob, prefix.length > 0 ? 2 : 3);
        expect(noSpeechProbability).toBeCloseTo(windows[kind][row].no_speech_prob, 4);
      });
    });
  });

  describe('times of tokens', () => {
    let whisper: Whisper;
    beforeAll(async () => {
      whisper = await Whisper.load(referenceFolder + name, {
        dtype: 'float32',
        threads: 2,
        batch: 2,
        wordTimes: 'attention',
      });
      suppressBlank(whisper.model);
    });
    afterAll(() => whisper.dispose());

    it.each(Object.keys(windows).filter((kind) => windows[kind][0].times))('%s', async (kind) => {
      using features = await whisper.model.features(storedWindows(stored));
      using encoded = await whisper.model.encode(features);
      const options = { language: 'en', maxNewTokens: 40, wordTimestamps: true, ...windowOptions[kind] };
      if (options.suppressTokens) options.suppressTokens = [...options.suppressTokens, ...specialTokens(whisper.model)];
      const got = await whisper.model.decode(encoded, options);
      got.forEach(({ tokens, times }, row) => {
        expect(tokens).toEqual(windows[kind][row].tokens);
        expect(times).toHaveLength(tokens.length + 1);
        // One step of 0.02 s, where two paths have almost the same cost.
        windows[kind][row].times!.forEach((time, i) => {
          expect(Math.abs(times![i] - time)).toBeLessThan(0.0201);
        });
      });
    });
  });

  describe.runIf(Object.keys(recordings).length > 0)('recordings', () => {
    let whisper: Whisper;
    const samples = new Float32Array(7 * 16000);
    beforeAll(async () => {
      whisper = await Whisper.load(referenceFolder + name, { dtype: 'float32', threads: 2 });
      suppressBlank(whisper.model);
      const recording = readTensors(`${referenceFolder}recording.safetensors`);
      samples.set(Float32Array.from(recording.samples.values, (value) => value / 32768));
    });
    afterAll(() => whisper.dispose());

    const paddings = [
      { padding: 'zeros', expected: recordings },
      { padding: 'silence', expected: silence },
    ] as const;
    const all = paddings.flatMap((one) => Object.keys(one.expected).map((kind) => ({ kind, ...one })));
    it.each(all)('$kind, padded with $padding', async ({ kind, padding, expected }) => {
      const { segments, duration } = await whisper.transcribe(samples, {
        language: 'en',
        maxNewTokens: 40,
        noSpeechThreshold: 'none',
        rules: 'openai',
        // The default of these rules is zeros.
        ...(padding === 'silence' && { windowPadding: padding }),
        ...recordingOptions[kind],
      });
      const wanted = expected[kind].filter(({ tokens }) => tokens.length > 0);
      expect(segments.map(({ seek, tokens }) => ({ seek, tokens }))).toEqual(
        wanted.map(({ seek, tokens }) => ({ seek, tokens })),
      );
      segments.forEach((segment, index) => {
        const { temperature, avg_logprob, compression_ratio, end } = wanted[index];
        expect(segment.temperature).toBe(temperature);
        expect(segment.avg_logprob).toBeCloseTo(avg_logprob, 3);
        expect(segment.compression_ratio).toBeCloseTo(compression_ratio, 3);
        // The reference keeps times after the end of the recording.
        expect(segment.end).toBeCloseTo(Math.min(end, duration), 2);
      });
    });
  });
});
