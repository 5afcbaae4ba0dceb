/** Simulates callers of a transcription service, and measures their requests. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { EngineFigures } from '../../lib/engine/figures.js';
import type { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { randomNumbers } from '../../test/random.js';

export interface Arrivals {
  /** The duration of a measurement. */
  milliseconds: number;
  sampleRate: number;
  send(samples: Float32Array, options?: object): Promise<unknown>;
  figures(): EngineFigures | undefined;
}

/** Times in milliseconds. */
export interface Measured {
  requests: number;
  requestsPerSecond: number;
  audioSecondsPerSecond: number;
  p50: number;
  p95: number;
  p99: number;
  /** The mean number of rows in a step. */
  meanRows?: number;
  /** Tokens of all rows per second of decoding on the device. */
  tokensPerSecond?: number;
  /** Milliseconds of the device for each window. */
  encodeMilliseconds?: number;
  decodeMilliseconds?: number;
  /** The mean number of encoded audio positions of a window. */
  meanPositions?: number;
  /** The number of windows that were encoded again whole, since the text of the short window was not plausible. */
  encodedAgain?: number;
  /** The host's share of the time in which requests were in progress. */
  hostShare?: number;
  /** The 99th percentile of the event loop's delay. */
  loopDelay: number;
}

class Measurement {
  readonly #arrivals: Arrivals;
  readonly #started = performance.now();
  readonly #before: EngineFigures | undefined;
  readonly #delay = monitorEventLoopDelay({ resolution: 1 });
  readonly #times: number[] = [];
  #samples = 0;

  constructor(arrivals: Arrivals) {
    this.#arrivals = arrivals;
    this.#before = arrivals.figures();
    this.#delay.enable();
  }

  get elapsed(): number {
    return performance.now() - this.#started;
  }

  async time(samples: Float32Array): Promise<void> {
    const started = performance.now();
    await this.#arrivals.send(samples);
    this.#times.push(performance.now() - started);
    this.#samples += samples.length;
  }

  /** What the engine did during the measurement; nothing for another build without figures. */
  #engineFigures(): Partial<Measured> {
    const after = this.#arrivals.figures();
    const before = this.#before;
    if (!before || !after) return {};
    const difference = (value: (figures: EngineFigures) => number) => value(after) - value(before);
    const steps = difference((figures) => figures.steps);
    const rowSteps = difference((figures) => figures.rowSteps);
    const windows = difference((figures) => figures.windows);
    const time = (part: 'encode' | 'decode' | 'host') => difference((figures) => figures.time[part]);
    return {
      meanRows: rowSteps / Math.max(1, steps),
      meanPositions: difference(({ audioPositions }) => audioPositions) / Math.max(1, windows),
      // Another build may not count them.
      encodedAgain: difference(({ encodedAgain = 0 }) => encodedAgain),
      tokensPerSecond: (1000 * rowSteps) / time('decode'),
      encodeMilliseconds: time('encode') / windows,
      decodeMilliseconds: time('decode') / windows,
      hostShare: time('host') / (time('encode') + time('decode') + time('host')),
    };
  }

  result(): Measured {
    const seconds = this.elapsed / 1000;
    this.#delay.disable();
    const sorted = this.#times.sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    return {
      requests: sorted.length,
      requestsPerSecond: sorted.length / seconds,
      audioSecondsPerSecond: this.#samples / this.#arrivals.sampleRate / seconds,
      p50: at(0.5),
      p95: at(0.95),
      p99: at(0.99),
      ...this.#engineFigures(),
      loopDelay: this.#delay.percentile(99) / 1e6,
    };
  }
}

/** Runs callers that each send the next clip when they have the text of the previous one; each sends at least one. */
export async function closedLoop(
  clips: readonly Float32Array[],
  callers: number,
  arrivals: Arrivals,
): Promise<Measured> {
  const measurement = new Measurement(arrivals);
  let next = 0;
  const caller = async () => {
    do await measurement.time(clips[next++ % clips.length]);
    while (measurement.elapsed < arrivals.milliseconds);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return measurement.result();
}

/** Sends at least 12 clips and two of each caller, as a closed loop does. */
export async function warmUp(clips: readonly Float32Array[], callers: number, send: Arrivals['send']): Promise<void> {
  const count = Math.max(12, 2 * callers);
  let next = 0;
  const caller = async () => {
    while (next < count) await send(clips[next++ % clips.length]);
  };
  await Promise.all(Array.from({ length: callers }, caller));
}

/**
 * Sends clips at random times, `rate` per second on average, without waiting for earlier ones. `background` is
 * transcribed repeatedly at the same time.
 */
export async function poisson(
  clips: readonly Float32Array[],
  rate: number,
  arrivals: Arrivals,
  background?: Float32Array,
): Promise<Measured> {
  const ended = new AbortController();
  const backgroundRun = (async () => {
    while (background && !ended.signal.aborted) {
      await arrivals.send(background, { signal: ended.signal }).catch((error: unknown) => {
        if (!ended.signal.aborted) throw error;
      });
    }
  })();
  const measurement = new Measurement(arrivals);
  const requests: Promise<void>[] = [];
  const random = randomNumbers(7);
  let due = 0;
  for (let index = 0; due < arrivals.milliseconds; ++index) {
    due += (-1000 * Math.log(1 - random())) / rate; // 1 minus it is never 0
    const wait = due - measurement.elapsed;
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    requests.push(measurement.time(clips[index % clips.length]));
  }
  await Promise.all(requests);
  const result = measurement.result();
  ended.abort();
  await backgroundRun;
  return result;
}

/** Tokens of each text of `steps`. */
const textTokens = 150;

/** Measures decode steps: `rows` encoded windows are decoded together, to texts of 150 tokens. */
export async function steps(
  model: WhisperModel,
  samples: Float32Array,
  rows: number,
  arrivals: Arrivals,
): Promise<Measured> {
  const length = model.checkpoint.preprocessor.samples;
  const windows = Array.from({ length: rows }, (_, i) => samples.subarray(i * length, (i + 1) * length));
  using features = await model.features(windows);
  using encoded = await model.encode(features);
  const options = { language: 'en', minNewTokens: textTokens, maxNewTokens: textTokens };
  await model.decode(encoded, options);
  const send = () => model.decode(encoded, options);
  return await closedLoop([samples.subarray(0, rows * length)], 1, { ...arrivals, send });
}
