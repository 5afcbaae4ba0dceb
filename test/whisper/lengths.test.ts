/** Windows with fewer audio positions than the model supports: their results, and that more of them fit into memory. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import { EngineRequest } from '../../lib/engine/request.js';
import { check } from '../../lib/options/options.js';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { bundledModel } from '../../lib/whisper/checkpoint/hub.js';
import { ModelDevice } from '../../lib/whisper/decoding/model-device.js';
import { decodingOptions } from '../../lib/whisper/decoding/options.js';
import { resolveDecoding } from '../../lib/whisper/decoding/resolve.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import type { WindowSettings } from '../../lib/whisper/decoding/windows.js';
import { windowSamples } from '../../lib/whisper/model/features.js';
import { wordHeads } from '../../lib/whisper/model/word-heads.js';
import { samplesOf } from '../audio/support.js';

const lengths = [160, 256, 384];

/** A model with only this many positions: a shorter window must give what this model gives for a full one. */
async function shortened(positions: number): Promise<WhisperModel> {
  const checkpoint = await readCheckpoint(bundledModel());
  const { config, preprocessor, tensors } = checkpoint;
  config.sourcePositions = positions;
  Object.assign(preprocessor, { frames: 2 * positions, samples: 2 * positions * preprocessor.hop });
  const name = [...tensors.keys()].find((one) => one.endsWith('encoder.embed_positions.weight'))!;
  const entry = tensors.get(name)!;
  const [all, width] = entry.shape;
  tensors.set(name, { ...entry, shape: [positions, width], bytes: (entry.bytes / all) * positions });
  return WhisperModel.open(checkpoint, { device: 'cpu', dtype: 'float32', threads: 2, windows: 1 });
}

describe('short windows', () => {
  let model: WhisperModel;
  let speech: Float32Array;
  let settings: WindowSettings;

  beforeAll(async () => {
    model = await WhisperModel.load(undefined, { device: 'cpu', dtype: 'float32', threads: 2, windows: 2, rows: 8 });
    speech = await samplesOf('00_seen.flac');
    const decoding = await resolveDecoding(check(decodingOptions, { wordTimestamps: true }), model.checkpoint, [0]);
    settings = { language: 'en', task: 'transcribe', timestamps: 'segment', decoding };
  });
  afterAll(() => model?.dispose());

  /** The beginning of the recording, as a window of this many positions. */
  function window(positions: number) {
    const samples = new Float32Array(windowSamples(model.checkpoint.preprocessor, positions));
    samples.set(speech.subarray(0, samples.length - 200), 200);
    return { samples, peak: Number.NEGATIVE_INFINITY };
  }

  async function decode(by: WhisperModel, positions: number) {
    const request = by.request({});
    try {
      return (await by.decodeWindow(request, window(positions), {}, settings)).attempt;
    } finally {
      request.close();
    }
  }

  it('give the results of a model of that length, together with windows of other lengths', async () => {
    const expected: Awaited<ReturnType<typeof decode>>[] = [];
    for (const length of lengths) {
      using short = await shortened(length);
      expected.push(await decode(short, length));
    }
    const allocations = model.device.memory().allocations;
    await Promise.all(lengths.map((length) => decode(model, length)));
    const found = await Promise.all(lengths.flatMap((length) => [decode(model, length), decode(model, 500)]));
    lengths.forEach((_, i) => {
      const { tokens, logProbabilities, times } = found[2 * i];
      expect(tokens).toEqual(expected[i].tokens);
      expect(times).toEqual(expected[i].times);
      logProbabilities.forEach((one, k) => {
        expect(one).toBeCloseTo(expected[i].logProbabilities[k], 3);
      });
      expect(found[2 * i + 1].tokens).toEqual(found[1].tokens);
    });
    // Programs for other lengths are recorded on first use, and take no device memory.
    expect(model.device.memory().allocations).toBe(allocations);
  });

  it('take less memory, so that more fit at once', async () => {
    const { checkpoint } = model;
    const words = wordHeads(checkpoint.config, checkpoint.generation);
    const device = new Device('cpu', { threads: 2 });
    const opened = await ModelDevice.open(device, checkpoint, { dtype: 'float32' }, { windows: 2, rows: 8 }, words);
    try {
      const request = new EngineRequest({ priority: 'interactive', deadline: Number.POSITIVE_INFINITY, served: 0 });
      // Two full windows of 500 positions have the memory of six of these.
      const held = await Promise.all(Array.from({ length: 6 }, () => opened.engine.encode(request, window(160))));
      expect(opened.engine.figures().positions).toEqual({ used: 6 * 160, total: 2 * 500 });
      for (const one of held) one.close();
      expect(opened.engine.figures().positions.used).toBe(0);
    } finally {
      opened.dispose();
    }
  });
});
