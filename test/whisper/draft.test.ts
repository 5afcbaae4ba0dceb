/** A draft is verified in one pass, and the result is the same as without it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { check } from '../../lib/options/options.js';
import { decodingOptions } from '../../lib/whisper/decoding/options.js';
import { resolveDecoding } from '../../lib/whisper/decoding/resolve.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import type { WindowResult, WindowSettings } from '../../lib/whisper/decoding/windows.js';
import { fillPaddedWindow, windowSamples } from '../../lib/whisper/model/features.js';
import { samplesOf } from '../audio/support.js';
import { gpu, kinds } from '../device/devices.js';

// The emulated GPU takes a second for a step, so it gets fewer.
const cases = kinds.map((device) => ({ device, quick: device === 'cpu' || gpu }));

describe.each(cases)('drafts on $device', ({ device, quick }) => {
  let model: WhisperModel;
  let samples: Float32Array;
  let settings: WindowSettings;
  let alone: WindowResult;

  const decode = async (own: { prefix?: number[]; draft?: number[]; previous?: number[] } = {}) => {
    const request = model.request({});
    try {
      const { preprocessor } = model.checkpoint;
      const positions = quick ? preprocessor.frames / 2 : 128;
      const into = new Float32Array(windowSamples(preprocessor, preprocessor.frames / 2));
      const whole = fillPaddedWindow(preprocessor, samples, into).subarray(0, windowSamples(preprocessor, positions));
      const window = { samples: whole, peak: Number.NEGATIVE_INFINITY };
      return (await model.decodeWindow(request, window, own, settings)).attempt;
    } finally {
      request.close();
    }
  };

  beforeAll(async () => {
    // Times of single tokens, without words.
    model = await WhisperModel.load(undefined, { device, dtype: 'float32', windows: 2, wordTimes: 'attention' });
    samples = (await samplesOf('../../../models/micro/sample.flac')).subarray(0, (quick ? 4 : 2) * 16000);
    const decoding = check(decodingOptions, { temperature: 0, wordTimestamps: true });
    settings = {
      language: 'en',
      task: 'transcribe',
      timestamps: 'none',
      ...(!quick && { maxNewTokens: 6 }),
      decoding: await resolveDecoding(decoding, model.checkpoint),
    };
    alone = await decode();
  });
  afterAll(() => model?.dispose());

  const same = (found: WindowResult) => {
    expect(found.tokens).toEqual(alone.tokens);
    expect(found.ended).toBe(alone.ended);
    const kept = alone.logProbabilities.slice(-found.logProbabilities.length);
    found.logProbabilities.forEach((one, i) => {
      expect(one).toBeCloseTo(kept[i], 3);
    });
    expect(found.noSpeechProbability).toBeCloseTo(alone.noSpeechProbability, 4);
  };

  it('keeps the correct beginning of a draft whose third token is wrong', async () => {
    const found = await decode({ prefix: alone.tokens.slice(0, 1), draft: [...alone.tokens.slice(1, 3), 300, 301] });
    const count = Math.min(found.tokens.length, alone.tokens.length);
    expect(found.tokens.slice(0, count)).toEqual(alone.tokens.slice(0, count));
    expect(found.accepted).toBe(2);
    expect(found.times![1]).toBeCloseTo(alone.times![1], 1);
  });

  if (!quick) return;

  it('keeps all of a correct draft, as far as one pass chooses', async () => {
    expect(alone.tokens.length).toBeGreaterThan(6);
    const found = await decode({ draft: alone.tokens });
    same(found);
    expect(found.accepted).toBe(Math.min(15, alone.tokens.length));
    found.times!.forEach((time, i) => {
      expect(time).toBeCloseTo(alone.times![i], 1);
    });
  });

  it.each([0, 1, 3, 4])('keeps %i tokens of a draft that is wrong from there on', async (right) => {
    const wrong = alone.tokens.map((id, i) => (i < right ? id : i === right ? (id === 300 ? 301 : 300) : id));
    const found = await decode({ draft: wrong });
    same(found);
    expect(found.accepted).toBe(right);
  });

  it('ends if a draft continues after the end', async () => {
    const begun = alone.tokens.slice(0, -3);
    const found = await decode({ prefix: begun, draft: [...alone.tokens.slice(-3), 300, 301, 302] });
    same(found);
    expect(found.accepted).toBe(3);
  });

  it('gives times of the prefix’s words too, with an empty draft', async () => {
    const found = await decode({ prefix: alone.tokens.slice(0, 4), draft: [] });
    same(found);
    expect(found.accepted).toBe(0);
    found.times!.forEach((time, i) => {
      expect(time).toBeCloseTo(alone.times![i], 1);
    });
  });

  it('works together with sequences without drafts', async () => {
    const [first, second, third] = await Promise.all([
      decode({ draft: alone.tokens }),
      decode(),
      decode({ draft: [], prefix: alone.tokens.slice(0, 2) }),
    ]);
    for (const found of [first, second, third]) same(found);
    expect(second.accepted).toBeUndefined();
  });
});
