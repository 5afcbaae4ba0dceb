/**
 * Many transcriptions share one model at once. Each result is the same as alone, whatever else runs, in any order, and
 * with cancellations. ONEHEAD_ROUNDS is the number of rounds on each device, ONEHEAD_SEED the seed of random numbers.
 */
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import { Program } from '../../lib/device/program.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import type { LoadOptions } from '../../lib/whisper/model/types.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout as folder, samplesOf } from '../audio/support.js';
import { gpu, hasCuda } from '../device/devices.js';
import { randomNumbers } from '../random.js';
import { overwriteFreeRows } from './overwritten-rows.js';

const rounds = Number(process.env.ONEHEAD_ROUNDS ?? 2);
/** For slow devices. */
const fewRounds = Number(process.env.ONEHEAD_ROUNDS ?? 1);
const firstSeed = Number(process.env.ONEHEAD_SEED ?? 1);

/** Options of many kinds: greedy search, sampling, beams, words, several candidates, rules. */
const variants: TranscribeOptions[] = [
  {},
  { wordTimestamps: true },
  { timestamps: 'none' },
  { beamSize: 5 },
  { beamSize: 2, wordTimestamps: true, patience: 2 },
  // Text that always fails the thresholds, so all temperatures are sampled, five samples each.
  { temperature: [0, 0.7], logProbabilityThreshold: -0.001, compressionRatioThreshold: null, seed: 7 },
  { temperature: 1, bestOf: 3, seed: 3, wordTimestamps: true, noSpeechThreshold: null },
  { topLogProbabilities: 3 },
  { maxNewTokens: 6 },
  { prompt: 'The doctor and the teacher.' },
  { repetitionPenalty: 1.3, noRepeatNgramSize: 3 },
  { suppressTokens: ['default', 'numerals'] },
  { batched: true, wordTimestamps: true },
  { conditionOnPreviousText: true },
];

const usual: TranscribeOptions = { language: 'en' };

interface Case {
  name: string;
  samples: Float32Array;
  options: TranscribeOptions;
  alone?: Transcription;
}

/** A live stream. Its partial texts are decoded with drafts. */
interface LiveCase {
  name: string;
  samples: Float32Array;
  alone: unknown;
}

/** The confirmed words of a live stream with their times. */
async function liveWords(whisper: Whisper, samples: Float32Array) {
  const live = await whisper.live({ language: 'en' });
  const words: [string, number, number][] = [];
  const reading = (async () => {
    for await (const event of live) {
      if (event.type !== 'final') continue;
      words.push(...event.words.map(({ word, start, end }): [string, number, number] => [word, start, end]));
    }
  })();
  // The device is waited for, so that what is decoded does not depend on its speed.
  for (let begin = 0; begin < samples.length; begin += 4000) {
    live.push(samples.slice(begin, begin + 4000));
    await live.drained();
  }
  await live.close();
  await reading;
  return words;
}

/** The parts of results that must be equal: all except probabilities, which other kernels may round differently. */
function essence({ text, segments, duration }: Transcription) {
  return {
    text,
    duration,
    segments: segments.map(({ start, end, tokens, temperature, words, top_logprobs: top }) => ({
      start,
      end,
      tokens,
      temperature,
      words: words?.map((word) => [word.word, word.start, word.end]),
      likeliest: top?.map(([first]) => first.token),
    })),
  };
}

function expectSame(found: Transcription, { name, alone }: Case): void {
  expect(essence(found), name).toEqual(essence(alone!));
  found.segments.forEach((segment, i) => {
    expect(segment.avg_logprob, name).toBeCloseTo(alone!.segments[i].avg_logprob, 3);
    expect(segment.no_speech_prob, name).toBeCloseTo(alone!.segments[i].no_speech_prob, 3);
  });
}

const places: { name: string; load: LoadOptions; files: number; rounds: number }[] = [
  { name: 'a CPU', load: { device: 'cpu', windows: 4, rows: 8 }, files: 99, rounds },
  {
    name: 'two CPU devices',
    load: { device: ['cpu', 'cpu'], threads: 1, windows: 2, rows: 6 },
    files: 99,
    rounds: fewRounds,
  },
  // The emulation is slow.
  ...(hasCuda
    ? [
        {
          name: 'two emulated GPUs',
          load: { device: ['cuda-emulated', 'cuda-emulated'], windows: 2, rows: 6 },
          files: 0,
          rounds: fewRounds,
        },
      ]
    : []),
];

describe.each(places)('many requests at once on $name', ({ load, files, rounds: times }) => {
  let whisper: Whisper;
  let stop: () => void;
  const cases: Case[] = [];
  const streams: LiveCase[] = [];

  beforeAll(async () => {
    const common: LoadOptions = { dtype: 'float32', threads: 2 };
    whisper = await Whisper.load(undefined, { ...common, ...load });
    const recordings = readdirSync(folder)
      .filter((file) => file.endsWith('.flac'))
      .slice(0, files);
    for (const file of recordings) {
      const samples = await samplesOf(file);
      const options = variants[cases.length % variants.length];
      cases.push({ name: `${file} ${JSON.stringify(options)}`, samples, options });
    }
    const short = (await samplesOf('00_seen.flac')).subarray(0, 24000);
    // Few tokens of every kind, for slow devices.
    const few = files === 0 ? variants.filter((_, i) => [0, 1, 3, 6, 8].includes(i)) : variants;
    for (const variant of few) {
      const options = files === 0 ? { ...variant, maxNewTokens: 4 } : variant;
      cases.push({ name: `short ${JSON.stringify(options)}`, samples: short, options });
    }
    // Each alone, on a separate model with one window, so that the reference does not depend on the tested code.
    const device = Array.isArray(load.device) ? load.device[0] : load.device;
    using alone = await Whisper.load(undefined, { ...common, device, windows: 1, rows: 5 });
    for (const one of cases) one.alone = await alone.transcribe(one.samples, { ...usual, ...one.options });
    if (files > 0) {
      const whole = await samplesOf('../../../models/micro/sample.flac');
      for (const [name, from, to] of [
        ['begin', 0, 0.35],
        ['middle', 0.3, 0.7],
        ['end', 0.65, 1],
      ] as const) {
        const samples = new Float32Array(Math.floor((to - from) * whole.length) + 16000);
        samples.set(
          whole.subarray(Math.floor(from * whole.length), Math.floor(to * whole.length)).subarray(0, samples.length),
        );
        streams.push({ name, samples, alone: await liveWords(alone, samples) });
      }
    }
    stop = overwriteFreeRows();
  }, 600_000);
  afterAll(() => {
    stop?.();
    whisper?.dispose();
  });

  it('gives each its own result, in any order, with any neighbours and cancellations', {
    timeout: 3_600_000,
  }, async () => {
    const allocations = whisper.model.device.memory().allocations;
    for (let round = 0; round < times; ++round) {
      const seed = firstSeed + round;
      const random = randomNumbers(seed);
      const order = cases.map((one) => ({ one, at: random() })).sort((a, b) => a.at - b.at);
      const live = [...streams, ...streams].map(async ({ name, samples, alone }) => {
        expect(await liveWords(whisper, samples), `stream ${name}, seed ${seed}`).toEqual(alone);
      });
      await Promise.all([
        ...live,
        ...order.map(async ({ one, at }) => {
          const controller = new AbortController();
          const gaveUp = new Error('not wanted any more');
          const isCancelled = random() < 0.2;
          const patience = random() * 400;
          const priority = (['live', 'interactive', 'batch'] as const)[Math.floor(random() * 3)];
          await new Promise((resolve) => setTimeout(resolve, at * 300));
          if (isCancelled) setTimeout(() => controller.abort(gaveUp), patience);
          const options = { ...usual, ...one.options, priority, signal: controller.signal };
          try {
            expectSame(await whisper.transcribe(one.samples, options), one);
          } catch (error) {
            if (error !== gaveUp) throw new Error(`In the round of seed ${seed}: ${one.name}`, { cause: error });
          }
        }),
      ]);
      // Cancelled calls free their rows at the next step, shortly after they were rejected.
      const left = () => {
        const { requests, positions, rows, waiting } = whisper.model.figures();
        return [requests, positions.used, rows.used, waiting.windows, waiting.searches];
      };
      await expect.poll(left, { message: `seed ${seed}`, timeout: 5000 }).toEqual([0, 0, 0, 0, 0]);
    }
    expect(whisper.model.device.memory().allocations).toBe(allocations);
  });

  it('refuses a beam search that is wider than its rows', async () => {
    await expect(
      whisper.transcribe(cases[0].samples.subarray(0, 16000), { language: 'en', beamSize: 16 }),
    ).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringContaining('rows: 16') });
  });
});

describe('features of several windows', () => {
  it('are computed between the windows of short clips, and do not change them', async () => {
    using whisper = await Whisper.load(undefined, { threads: 1, windows: 2, dtype: 'float32' });
    const short = (await samplesOf('00_seen.flac')).subarray(0, 24000);
    const options = { language: 'en', wordTimestamps: true } as const;
    const alone = await whisper.transcribe(short, options);
    const loud = Array.from({ length: 4 }, () => Float32Array.from({ length: 480_000 }, (_, i) => Math.sin(i / 5)));
    const clips = Promise.all(Array.from({ length: 30 }, () => whisper.transcribe(short, options)));
    const begun = whisper.figures().windows;
    while (whisper.figures().windows < begun + 3) await new Promise((resolve) => setImmediate(resolve));
    (await whisper.model.features(loud)).dispose();
    expect(whisper.figures().requests).toBeGreaterThan(0);
    for (const one of await clips) expect(essence(one)).toEqual(essence(alone));
  });
});

describe('a call that is refused', () => {
  const load = () => WhisperModel.load(undefined, { device: 'cpu', threads: 1, windows: 1, rows: 2, dtype: 'float32' });
  const encode = async (model: WhisperModel, windows: number) => {
    using features = await model.features(Array.from({ length: windows }, () => new Float32Array(16000)));
    return await model.encode(features);
  };

  it('for its beams leaves the model to others', async () => {
    using model = await load();
    using encoded = await encode(model, 3);
    const before = await model.generate(encoded, { language: 'en' });
    const { windows } = model.figures();
    await expect(model.decode(encoded, { language: 'en', beamSize: 8 })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('rows: 8'),
    });
    // It was refused before anything was encoded.
    expect(model.figures().windows).toBe(windows);
    expect(await model.generate(encoded, { language: 'en' })).toEqual(before);
    expect(model.figures()).toMatchObject({ failure: null, requests: 0 });
  });

  it('for one window ends its other windows, before their encoder output is freed', async () => {
    using model = await load();
    using encoded = await encode(model, 3);
    const data = await encoded.toFloat32Array();
    using broken = model.device.tensor('float32', encoded.shape, data.fill(Number.NaN, 0, data.length / 3));
    await expect(model.decode(broken, { language: 'en' })).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    expect(await model.generate(encoded, { language: 'en' })).toHaveLength(3);
    expect(model.figures()).toMatchObject({ failure: null, requests: 0, positions: { used: 0 }, rows: { used: 0 } });
  });

  it('after a part of its work was submitted and failed, gets the refusal, and the process goes on', async () => {
    using model = await load();
    using encoded = await encode(model, 1);
    const unhandled: unknown[] = [];
    const listen = (error: unknown) => unhandled.push(error);
    process.on('unhandledRejection', listen);
    // Not spies: these handle the promises that they return.
    const { copy, transfer } = Device.prototype;
    const { submit } = Program.prototype;
    const failed = () => Promise.reject(new Error('the first part failed'));
    const refused = () => {
      throw new Error('the second part was refused');
    };
    const decoded = async () => {
      await model.decode(encoded, { language: 'en', topLogProbabilities: 2, wordTimestamps: true });
    };
    try {
      // The copy of encoder output, then its projection.
      Device.prototype.copy = failed;
      Program.prototype.submit = refused;
      await expect(decoded()).rejects.toThrow('the second part was refused');
      Device.prototype.copy = copy;
      Program.prototype.submit = submit;
      // The likeliest tokens, then the times of words.
      Device.prototype.transfer = () => {
        Device.prototype.transfer = refused;
        return failed();
      };
      await expect(decoded()).rejects.toThrow('the second part was refused');
      await new Promise((resolve) => setTimeout(resolve, 20));
    } finally {
      Object.assign(Device.prototype, { copy, transfer });
      Object.assign(Program.prototype, { submit });
      process.off('unhandledRejection', listen);
    }
    expect(unhandled).toEqual([]);
    expect(await model.generate(encoded, { language: 'en' })).toHaveLength(1);
    expect(model.figures()).toMatchObject({ failure: null, requests: 0, positions: { used: 0 }, rows: { used: 0 } });
  });

  it('for a tensor of another model’s device leaves both models to others', async () => {
    using first = await load();
    using second = await load();
    using encoded = await encode(first, 1);
    using features = await first.features(new Float32Array(16000));
    const refusal = { code: 'INVALID_ARGUMENT', argument: 'encoded', received: 'one of another device' };
    await expect(second.generate(encoded, { language: 'en' })).rejects.toMatchObject(refusal);
    await expect(second.encode(features)).rejects.toMatchObject({ ...refusal, argument: 'features' });
    using own = await encode(second, 1);
    expect(await second.generate(own, { language: 'en' })).toEqual(await first.generate(encoded, { language: 'en' }));
  });
});

describe('a model that is full', () => {
  it('refuses with BUSY and a time to retry, before anything is read', async () => {
    using whisper = await Whisper.load(undefined, { threads: 1, windows: 1, maximumRequests: 2 });
    const samples = await samplesOf('12_long_seen.flac');
    const under = [whisper.transcribe(samples, { language: 'en' }), whisper.transcribe(samples, { language: 'en' })];
    let read = false;
    async function* stream() {
      read = true;
      yield new Uint8Array(1);
    }
    await expect(whisper.transcribe(stream())).rejects.toMatchObject({ code: 'BUSY', retryAfter: expect.any(Number) });
    expect(read).toBe(false);
    await Promise.all(under);
    await whisper.transcribe(samples.subarray(0, 16000), { language: 'en' });
  });

  it('rejects a transcription whose deadline passes while it waits', async () => {
    using whisper = await Whisper.load(undefined, { threads: 1, windows: 1, rows: 1 });
    const samples = await samplesOf('12_long_seen.flac');
    const first = whisper.transcribe(samples, { language: 'en' });
    await new Promise((resolve) => setTimeout(resolve, 50));
    await expect(whisper.transcribe(samples, { language: 'en', deadline: 1 })).rejects.toMatchObject({
      code: 'TIMED_OUT',
    });
    expect((await first).text).not.toBe('');
  });
});

describe('a device that fails', () => {
  /** Each of these calls, and a later one, is rejected with the device's error, and no rows or slots remain in use. */
  async function failing(whisper: Whisper, calls: Promise<unknown>[], code: string): Promise<void> {
    const results = await Promise.allSettled(calls);
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { code } });
    const samples = (await samplesOf('00_seen.flac')).subarray(0, 8000);
    await expect(whisper.transcribe(samples, { language: 'en' })).rejects.toMatchObject({ code });
    const { requests, positions, rows, waiting, failure } = whisper.model.figures();
    expect([requests, positions.used, rows.used, waiting.windows, waiting.searches]).toEqual([0, 0, 0, 0, 0]);
    expect(failure).toMatchObject({ code, message: expect.any(String) });
  }

  it('rejects running and waiting calls, on a CPU', async () => {
    using whisper = await Whisper.load(undefined, { threads: 1, windows: 2, rows: 2 });
    const samples = await samplesOf('12_long_seen.flac');
    const calls = Array.from({ length: 5 }, () => whisper.transcribe(samples, { language: 'en' }));
    // While they are being decoded.
    while (whisper.figures().steps === 0) await new Promise((resolve) => setTimeout(resolve, 1));
    whisper.model.device.close();
    await failing(whisper, calls, 'DISPOSED');
  });

  it.runIf(hasCuda && !gpu)('rejects them on an emulated GPU whose kernels fail', async () => {
    using whisper = await Whisper.load(undefined, { device: 'cuda-emulated', dtype: 'float32', windows: 1, rows: 2 });
    const samples = (await samplesOf('00_seen.flac')).subarray(0, 8000);
    process.env.ONEHEAD_EMULATED_FAULT = 'kernel failure';
    try {
      await failing(
        whisper,
        Array.from({ length: 3 }, () => whisper.transcribe(samples, { language: 'en' })),
        'DEVICE_FAILED',
      );
    } finally {
      delete process.env.ONEHEAD_EMULATED_FAULT;
    }
  });
});
