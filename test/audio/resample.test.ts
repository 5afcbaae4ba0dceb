/** The resampler compared with its definition, computed in float64, with every instruction set of this CPU. */
import { Worker } from 'node:worker_threads';
import { afterEach, describe, expect, it } from 'vitest';
import { Resampler } from '../../lib/audio/resample.js';
import { openAddon } from '../../lib/device/addon.js';
import { native } from '../../lib/device/native.js';
import { firstDifference, joined } from './support.js';

function besselI0(x: number): number {
  let [sum, term] = [1, 1];
  for (let k = 1; term > 1e-15 * sum; ++k) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

/** Output `i` by definition: a sinc of 32 zero crossings on each side, in Kaiser's window; its weights sum to 1. */
function outputAt(i: number, samples: Float32Array, from: number, to: number): number {
  const cutoff = 0.945 * Math.min(1, to / from);
  const reach = Math.ceil(32 / cutoff);
  // The input sample before the output, and the distance to it.
  const before = Math.floor((i * from) / to);
  const fraction = (i * from - before * to) / to;
  let [sum, total] = [0, 0];
  for (let k = -reach; k <= reach + 1; ++k) {
    const distance = k - fraction;
    const angle = Math.PI * cutoff * distance;
    const window = 1 - (distance / (reach + 1)) ** 2;
    if (window <= 0) continue;
    const weight = (angle === 0 ? 1 : Math.sin(angle) / angle) * besselI0(9.5 * Math.sqrt(window));
    sum += weight * (samples[before + k] ?? 0);
    total += weight;
  }
  return sum / total;
}

let state = 1;
function random(): number {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
}
const noise = (count: number) => Float32Array.from({ length: count }, () => 2 * random() - 1);

/** All output, with the samples in chunks of the given sizes. */
function resampled(samples: Float32Array, from: number, to: number, size = () => samples.length): Float32Array {
  const resampler = new Resampler(from, to);
  const chunks: Float32Array[] = [];
  for (let at = 0; at < samples.length; ) {
    const end = Math.min(at + size(), samples.length);
    chunks.push(resampler.push(samples.subarray(at, end)));
    at = end;
  }
  return joined([...chunks, resampler.finish()]);
}

const usual = process.env.ONEHEAD_CPU_KERNELS;
afterEach(() => {
  if (usual === undefined) delete process.env.ONEHEAD_CPU_KERNELS;
  else process.env.ONEHEAD_CPU_KERNELS = usual;
});

/** Usual rates, ratios with many phases, the limits, and rates beside each other. */
const rates: [from: number, to: number][] = [
  [48_000, 16_000],
  [44_100, 16_000],
  [44_056, 16_000],
  [44_099, 16_000],
  [8000, 16_000],
  [11_025, 16_000],
  [11_127, 16_000],
  [22_050, 16_000],
  [96_000, 16_000],
  [16_000, 24_000],
  [16_000, 44_100],
  [1000, 16_000],
  [1009, 16_000],
  [768_000, 16_000],
  [767_999, 16_000],
  [15_999, 16_000],
  [16_001, 16_000],
  [1000, 768_000],
  [768_000, 1000],
  [765_432, 1001],
];

interface Case {
  samples: Float32Array;
  length: number;
  /** Outputs by definition: the first and last ones, where samples are missing, and some between. */
  wanted: Map<number, number>;
}

const cases = new Map<string, Case>();
/** The case of two rates, the same for all instruction sets. */
function caseOf(from: number, to: number): Case {
  const name = `${from} ${to}`;
  let found = cases.get(name);
  if (!found) {
    const samples = noise(Math.ceil(Math.min(from / 3, Math.max(3000, (200 * from) / to))));
    const length = Math.round((samples.length * to) / from);
    const wanted = new Map<number, number>();
    const step = Math.max(1, Math.floor(length / 300));
    for (let i = 0; i < length; i += i < 20 || i > length - 40 ? 1 : step) {
      wanted.set(i, outputAt(i, samples, from, to));
    }
    found = { samples, length, wanted };
    cases.set(name, found);
  }
  return found;
}

describe.each(native().information().cpu.available)('with the kernels %s', (kernels) => {
  it.each(rates)('from %i to %i Hz, output is what the definition says', (from, to) => {
    process.env.ONEHEAD_CPU_KERNELS = kernels;
    const { samples, length, wanted } = caseOf(from, to);
    const got = resampled(samples, from, to);
    expect(got.length).toBe(length);
    let [signal, error] = [0, 0];
    for (const [i, value] of wanted) {
      signal += value ** 2;
      error += (got[i] - value) ** 2;
    }
    expect(10 * Math.log10(signal / error)).toBeGreaterThan(110);
  });

  it.each(rates.slice(0, 13))('from %i to %i Hz, output does not depend on chunks and addresses', (from, to) => {
    process.env.ONEHEAD_CPU_KERNELS = kernels;
    const samples = noise(Math.ceil(from / 4) + 13);
    const whole = resampled(samples, from, to);
    for (const size of [() => 1 + Math.floor(9 * random()), () => 1 + Math.floor(700 * random()), () => 4096]) {
      expect(firstDifference(resampled(samples, from, to, size), whole)).toBe(-1);
    }
    for (const offset of [1, 2, 3, 7]) {
      const moved = new Float32Array(samples.length + offset);
      moved.set(samples, offset);
      expect(firstDifference(resampled(moved.subarray(offset), from, to), whole)).toBe(-1);
    }
  });

  it('a sample that is not finite changes only outputs near it', () => {
    process.env.ONEHEAD_CPU_KERNELS = kernels;
    for (const [from, to] of [
      [48_000, 16_000],
      [44_099, 16_000],
      [8000, 16_000],
    ]) {
      const samples = noise(3000);
      const whole = resampled(samples, from, to);
      for (const value of [Number.NaN, Number.POSITIVE_INFINITY]) {
        const damaged = samples.slice();
        damaged[1500] = value;
        const got = resampled(damaged, from, to, () => 100);
        const reach = Math.ceil(32 / (0.945 * Math.min(1, to / from))) + 4;
        const [first, last] = [((1500 - reach) * to) / from, ((1500 + reach) * to) / from];
        expect(Number.isFinite(got[Math.round((1500 * to) / from)])).toBe(false);
        expect(firstDifference(got.subarray(0, first), whole.subarray(0, first))).toBe(-1);
        expect(firstDifference(got.subarray(last), whole.subarray(last))).toBe(-1);
      }
    }
  });
});

it('no samples give no output, and few samples a few', () => {
  for (const [from, to] of rates) {
    for (const count of [0, 1, 2, 47]) {
      expect(resampled(new Float32Array(count), from, to).length).toBe(Math.round((count * to) / from));
    }
  }
});

it('output comes as soon as the samples after it have arrived', () => {
  for (const [from, to] of rates) {
    const resampler = new Resampler(from, to);
    const count = Math.ceil(from / 2);
    const delay = 32 / (0.945 * Math.min(1, to / from)) + 8;
    expect(resampler.push(new Float32Array(count)).length).toBeGreaterThanOrEqual(
      Math.floor(((count - delay) * to) / from),
    );
  }
});

describe('the addon', () => {
  it('refuses invalid arguments', () => {
    const Native = native().Resampler;
    for (const rate of [0, 999, 768_001, 44_100.5, Number.NaN, -48_000, Number.POSITIVE_INFINITY, 1e300]) {
      const message = `to be a whole number of hertz from 1000 to 768000 but received ${rate}.`;
      expect(() => new Native(rate, 16_000)).toThrow(`Expected from ${message}`);
      expect(() => new Native(16_000, rate)).toThrow(`Expected to ${message}`);
    }
    for (const rate of ['48000', null, undefined, {}, 48_000n, Symbol('rate')]) {
      expect(() => new Native(rate as never, 16_000)).toThrow('Expected from to be a whole number of hertz');
    }
    expect(() => new Native(48_000, 16_000, 'klingon')).toThrow("kernels that this CPU has but received 'klingon'");
    expect(() => new Native(48_000, 16_000, 7 as never)).toThrow('Expected kernels to be a string but received 7.');
    expect(() => (Native as unknown as () => void)()).toThrow(TypeError);

    const resampler = new Native(48_000, 16_000);
    const samples = new Float32Array(4800);
    const count = resampler.outputs(samples);
    for (const given of [null, [0], new Float64Array(4800), new Int16Array(4800), new ArrayBuffer(8)] as never[]) {
      expect(() => resampler.outputs(given)).toThrow('Expected samples to be a Float32Array but received');
      expect(() => resampler.push(given, new Float32Array(count))).toThrow('Expected samples to be a Float32Array');
      expect(() => resampler.push(samples, given)).toThrow('Expected output to be a Float32Array but received');
      expect(() => resampler.finish(given)).toThrow('Expected output to be a Float32Array but received');
    }
    for (const length of [0, count - 1, count + 1]) {
      expect(() => resampler.push(samples, new Float32Array(length))).toThrow(
        `Expected an output of ${count} numbers but received ${length}.`,
      );
    }
    const detached = new Float32Array(4800);
    structuredClone(detached.buffer, { transfer: [detached.buffer] });
    expect(resampler.outputs(detached)).toBe(0);
    expect(() => resampler.push.call({} as never, samples, new Float32Array(count))).toThrow();

    // None of these calls has changed it.
    resampler.push(samples, new Float32Array(count));
    const rest = new Float32Array(resampler.remaining());
    expect(count + rest.length).toBe(1600);
    resampler.finish(rest);
    for (const call of ['outputs', 'push', 'remaining', 'finish'] as const) {
      expect(() => (resampler[call] as (...given: unknown[]) => void)(samples, rest)).toThrow(
        'This resampler has finished; create another one.',
      );
    }
  });

  it('resamples on several threads at once, of which some are terminated', async () => {
    const { file } = openAddon().found;
    const threads = Array.from({ length: 8 }, (_, thread) => {
      const worker = new Worker(
        `const { parentPort, workerData } = require('node:worker_threads');
         const { Resampler } = require(workerData.file);
         const samples = new Float32Array(48_000).map((_, i) => Math.sin(i));
         let first = null;
         for (let round = 0; workerData.ends ? round < 300 : true; ++round) {
           const resampler = new Resampler(40_000 + round % 100, 16_000);
           const output = new Float32Array(resampler.outputs(samples));
           resampler.push(samples, output);
           if (round % 100 !== 0) continue;
           first ??= output;
           if (output.some((value, i) => value !== first[i])) throw new Error('another result');
           parentPort.postMessage(round);
         }`,
        { eval: true, workerData: { file, ends: thread % 2 === 0 } },
      );
      const rounds: number[] = [];
      const ended = new Promise<number>((resolve, reject) => {
        worker.on('message', (round) => {
          rounds.push(round);
          if (thread % 2 === 1 && round === 100) void worker.terminate();
        });
        worker.on('error', reject);
        worker.on('exit', resolve);
      });
      return { rounds, ended };
    });
    for (const [thread, { rounds, ended }] of threads.entries()) {
      expect(await ended).toBe(thread % 2);
      expect(rounds.slice(0, 2)).toEqual([0, 100]);
    }
  }, 60_000);
});
