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
import { overwriteFreeRows } from './overwritten-rows.js';

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

const quickKinds = cases.filter(({ quick }) => quick).map(({ device }) => device);
const methods = quickKinds.flatMap((device) =>
  (['attention', 'speech'] as const).map((wordTimes) => ({ device, wordTimes })),
);

describe.each(methods)(
  'drafts of different recordings at once on $device, times by $wordTimes',
  ({ device, wordTimes }) => {
    let model: WhisperModel;
    let stop: () => void;

    beforeAll(async () => {
      model = await WhisperModel.load(undefined, { device, dtype: 'float32', windows: 4, rows: 8, wordTimes });
      stop = overwriteFreeRows();
    });
    afterAll(() => {
      stop?.();
      model?.dispose();
    });

    it('have the times and likeliest tokens that each has alone', async () => {
      const { checkpoint } = model;
      const tokenizer = await checkpoint.tokenizer();
      const decoding = check(decodingOptions, { temperature: 0, wordTimestamps: true, topLogProbabilities: 2 });
      const settings: WindowSettings = {
        language: 'en',
        task: 'transcribe',
        timestamps: 'none',
        decoding: await resolveDecoding(decoding, checkpoint),
        tokenizer,
      };
      const whole = await samplesOf('../../../models/micro/sample.flac');
      const length = windowSamples(checkpoint.preprocessor, checkpoint.preprocessor.frames / 2);
      const halves = [whole.subarray(0, whole.length / 2), whole.subarray(whole.length / 2)];
      const windows = halves.map((half) => ({
        samples: fillPaddedWindow(checkpoint.preprocessor, half, new Float32Array(length)),
        peak: Number.NEGATIVE_INFINITY,
      }));
      const decode = async (index: number, draft?: readonly number[]) => {
        const request = model.request({});
        try {
          return (await model.decodeWindow(request, windows[index], { draft }, settings)).attempt;
        } finally {
          request.close();
        }
      };
      const plain = [await decode(0), await decode(1)];
      // One pass verifies 15 tokens: these drafts end with the end token, and these texts before the first step.
      const drafts = plain.map(({ tokens }) => tokens.slice(0, 15));
      const alone = [await decode(0, drafts[0]), await decode(1, drafts[1])];
      expect(alone.map(({ accepted }) => accepted)).toEqual(drafts.map(({ length }) => length));
      expect(alone.map(({ tokens }) => tokens)).toEqual(plain.map(({ tokens }) => tokens));
      expect(alone[0].times!.slice(0, 5)).not.toEqual(alone[1].times!.slice(0, 5));
      const likeliest = ({ top }: WindowResult) => top!.map((position) => position.map(({ token }) => token));
      for (let round = 0; round < 3; ++round) {
        const order = [0, 1, 0, 1, round % 2];
        const found = await Promise.all(order.map((index) => decode(index, drafts[index])));
        found.forEach((one, i) => {
          const reference = alone[order[i]];
          expect(one.tokens).toEqual(reference.tokens);
          one.times!.forEach((time, j) => {
            expect(time).toBeCloseTo(reference.times![j], 2);
          });
          expect(one.ends?.length).toBe(reference.ends?.length);
          one.ends?.forEach((end, j) => {
            expect(end).toBeCloseTo(reference.ends![j], 2);
          });
          expect(likeliest(one)).toEqual(likeliest(reference));
          one.logProbabilities.forEach((value, j) => {
            expect(value).toBeCloseTo(reference.logProbabilities[j], 3);
          });
        });
      }
    });
  },
);
