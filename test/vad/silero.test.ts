/** Silero's detector compared with the original model (tools/reference/silero.py). */
import { readFileSync } from 'node:fs';
import { beforeAll, describe, expect, it } from 'vitest';
import { openAudio } from '../../lib/audio/index.js';
import { native } from '../../lib/device/native.js';
import { openSilero, sileroFrame, speechProbabilities } from '../../lib/vad/silero.js';
import { readSileroWeights } from '../../lib/vad/silero-weights.js';
import { joined } from '../audio/support.js';

const rate = 16000;
const fixtures = new URL('../fixtures/', import.meta.url);
const reference: Record<string, number[]> = JSON.parse(
  readFileSync(new URL('voice/probabilities.json', fixtures), 'utf8'),
);

/** White noise from integers, the same as in the reference. */
function noise(count: number): Float32Array {
  let state = 1;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(1664525, state) + 1013904223) >>> 0;
    return (state >>> 8) / 2 ** 24 - 0.5;
  });
}

const cases: Record<string, Float32Array> = {};
beforeAll(async () => {
  const chunks: Float32Array[] = [];
  const source = await openAudio(new URL('heldout/12_long_seen.flac', fixtures).pathname);
  for await (const chunk of source.chunks()) chunks.push(chunk);
  const speech = joined(chunks).slice(0, 30 * rate);
  const hiss = noise(speech.length);
  const frames = (samples: Float32Array) => samples.subarray(0, samples.length - (samples.length % sileroFrame));
  cases.speech = frames(speech);
  cases.quiet = cases.speech.map((sample) => sample * 2 ** -6);
  cases.noisy = cases.speech.map((sample, i) => sample + Math.fround(hiss[i] * 2 ** -4));
  cases.noise = frames(hiss.slice(0, 4 * rate));
  cases.silence = frames(new Float32Array(4 * rate));
});

/** The largest difference of two lists of the same length. */
function difference(actual: ArrayLike<number>, expected: ArrayLike<number>): number {
  expect(actual).toHaveLength(expected.length);
  return Math.max(...Array.from(expected, (value, i) => Math.abs(actual[i] - value)));
}

const names = Object.keys(reference);
const state = () => new Float32Array(320);

describe('probabilities', () => {
  it.each(names)("are the reference's: %s", async (name) => {
    expect(difference(await speechProbabilities(cases[name]), reference[name])).toBeLessThan(1e-4);
  });

  it.each(native().information().cpu.available)("are the reference's with the kernels %s", async (kernels) => {
    const model = new (native().VoiceModel)(await readSileroWeights(), kernels);
    const results = await model.run(names.map((name) => [state(), cases[name]]));
    for (const [i, name] of names.entries()) {
      expect(difference(results[i][1], reference[name])).toBeLessThan(1e-4);
    }
  });

  it.each([1, 3, 31, 200])('are the same in chunks of %i frames', async (frames) => {
    const detector = openSilero();
    const found: number[] = [];
    for (let at = 0; at < cases.noisy.length; at += frames * detector.frame) {
      found.push(...Array.from(await detector.probabilities(cases.noisy.subarray(at, at + frames * detector.frame))));
    }
    await detector.close();
    expect(difference(found, reference.noisy)).toBeLessThan(1e-4);
  });

  it('do not depend on other recordings in the same run', async () => {
    const found = await Promise.all(
      Array.from({ length: 50 }, (_, i) => {
        const name = names[i % names.length];
        return speechProbabilities(cases[name].subarray(0, (20 + 7 * i) * sileroFrame));
      }),
    );
    for (const [i, probabilities] of found.entries()) {
      const expected = reference[names[i % names.length]].slice(0, 20 + 7 * i);
      expect(difference(probabilities, expected)).toBeLessThan(1e-4);
    }
  });

  it('of an incomplete frame equal those of the frame padded with silence', async () => {
    expect(await speechProbabilities(cases.speech.subarray(0, 700))).toHaveLength(2);
    expect(await speechProbabilities(new Float32Array(0))).toHaveLength(0);
  });

  it('recover after samples that are NaN', async () => {
    const detector = openSilero();
    const bad = new Float32Array(sileroFrame).fill(Number.NaN, 0, 100).fill(Number.POSITIVE_INFINITY, 100, 200);
    bad.fill(3e38, 200);
    const first = await detector.probabilities(bad);
    expect(Number.isFinite(first[0])).toBe(true);
    const found = await detector.probabilities(cases.speech);
    expect(difference(Array.from(found).slice(300), reference.speech.slice(300))).toBeLessThan(0.1);
  });
});

describe('the addon', () => {
  it('refuses invalid arguments', async () => {
    const { VoiceModel } = native();
    const weights = await readSileroWeights();
    const model = new VoiceModel(weights);
    expect(() => new VoiceModel(weights.subarray(1))).toThrow(
      /243585 weights of the voice detector but received 243584/,
    );
    expect(() => new VoiceModel(weights, 'klingon')).toThrow("kernels that this CPU has but received 'klingon'");
    expect(() => new VoiceModel([] as never)).toThrow(
      'Expected weights to be a Float32Array but received an empty list.',
    );
    expect(() => model.run(null as never)).toThrow('Expected streams to be an array but received null.');
    expect(() => model.run([null as never])).toThrow('pairs of state and samples but received null.');
    expect(() => model.run([[new Float32Array(3), new Float32Array(512)]])).toThrow('a state of 320 numbers');
    expect(() => model.run([[state(), new Float32Array(500)]])).toThrow('whole frames of 512 samples');
    expect(() => model.run([[state(), new Float32Array(0)]])).toThrow('whole frames of 512 samples');
    expect(await model.run([])).toEqual([]);
  });
});
