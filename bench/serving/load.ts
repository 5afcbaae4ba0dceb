/** Callers of a transcription service, and what they see. */
import { monitorEventLoopDelay } from 'node:perf_hooks';
import type { EngineFigures } from '../../lib/engine/figures.js';
import type { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';

export interface Arrivals {
  /** How long is measured. */
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
  /** Rows that were decoded at once, on average. */
  meanRows?: number;
  /** Tokens of all rows together in a second of the device's decoding. */
  tokensPerSecond?: number;
  /** The device's milliseconds for a window: encoding, and all of its steps. */
  encodeMilliseconds?: number;
  decodeMilliseconds?: number;
  /** Audio positions that a window took, of the cache and of the encoder's work. */
  meanPositions?: number;
  /** The host's share of the time while anything was under way, by the device's own clock. */
  hostShare?: number;
  /** The event loop's delay at the 99th percentile. */
  loopDelay: number;
}

class Watch {
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
    const began = performance.now();
    await this.#arrivals.send(samples);
    this.#times.push(performance.now() - began);
    this.#samples += samples.length;
  }

  result(): Measured {
    const seconds = this.elapsed / 1000;
    this.#delay.disable();
    const sorted = this.#times.sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0;
    const after = this.#arrivals.figures();
    const before = this.#before;
    const engine = (() => {
      if (!before || !after) return {};
      const part = (of: (figures: EngineFigures) => number) => of(after) - of(before);
      const each = (of: (figures: EngineFigures) => number, count: number) => part(of) / Math.max(1, count);
      const busy = part(({ time }) => time.encode + time.decode + time.host);
      return {
        meanRows: each(
          ({ rowSteps }) => rowSteps,
          part(({ steps }) => steps),
        ),
        meanPositions: each(
          ({ audioPositions }) => audioPositions,
          part(({ windows }) => windows),
        ),
        tokensPerSecond: (1000 * part(({ rowSteps }) => rowSteps)) / part(({ time }) => time.decode),
        encodeMilliseconds: part(({ time }) => time.encode) / part(({ windows }) => windows),
        decodeMilliseconds: part(({ time }) => time.decode) / part(({ windows }) => windows),
        hostShare: part(({ time }) => time.host) / busy,
      };
    })();
    return {
      requests: sorted.length,
      requestsPerSecond: sorted.length / seconds,
      audioSecondsPerSecond: this.#samples / this.#arrivals.sampleRate / seconds,
      p50: at(0.5),
      p95: at(0.95),
      p99: at(0.99),
      ...engine,
      loopDelay: this.#delay.percentile(99) / 1e6,
    };
  }
}

/** Each of `callers` sends a clip when it has the last one's text; every clip is sent at least once in all. */
export async function closedLoop(
  clips: readonly Float32Array[],
  callers: number,
  arrivals: Arrivals,
): Promise<Measured> {
  const watch = new Watch(arrivals);
  let next = 0;
  const caller = async () => {
    do await watch.time(clips[next++ % clips.length]);
    while (watch.elapsed < arrivals.milliseconds);
  };
  await Promise.all(Array.from({ length: callers }, caller));
  return watch.result();
}

/** Clips come at random times, `rate` a second on average, whatever has become of those before; `beside` runs all the time. */
export async function poisson(
  clips: readonly Float32Array[],
  rate: number,
  arrivals: Arrivals,
  beside?: Float32Array,
): Promise<Measured> {
  const ended = new AbortController();
  const long = (async () => {
    while (beside && !ended.signal.aborted) {
      await arrivals.send(beside, { signal: ended.signal }).catch((error: unknown) => {
        if (!ended.signal.aborted) throw error;
      });
    }
  })();
  const watch = new Watch(arrivals);
  const under: Promise<void>[] = [];
  let bits = 7;
  let due = 0;
  for (let index = 0; due < arrivals.milliseconds; ++index) {
    bits = (Math.imul(bits, 1664525) + 1013904223) >>> 0;
    due += (-1000 * Math.log((bits + 1) / 2 ** 32)) / rate;
    const wait = due - watch.elapsed;
    if (wait > 0) await new Promise((resolve) => setTimeout(resolve, wait));
    under.push(watch.time(clips[index % clips.length]));
  }
  await Promise.all(under);
  const result = watch.result();
  ended.abort();
  await long;
  return result;
}

/** Tokens of each text of `steps`. */
const longText = 150;

/**
 * Decoder steps and little else: windows that are encoded already are decoded to texts of 150 tokens, `rows` at a time.
 * The host's share is then that of a step.
 */
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
  const options = { language: 'en', minNewTokens: longText, maxNewTokens: longText };
  await model.decode(encoded, options);
  const send = () => model.decode(encoded, options);
  return await closedLoop([samples.subarray(0, rows * length)], 1, { ...arrivals, send });
}
