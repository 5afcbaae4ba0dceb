/** The log-mel front end: Whisper's filters and window, and the program that makes a window's features on the device. */
import type { Device } from '../../device/device.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { PreprocessorConfig } from '../checkpoint/config.js';

/** Slaney's mel scale: linear below 1 kHz, logarithmic above. */
const melsAtKilohertz = 15;
const logStep = Math.log(6.4) / 27;

function toMel(hertz: number): number {
  return hertz < 1000 ? (3 * hertz) / 200 : melsAtKilohertz + Math.log(hertz / 1000) / logStep;
}

function toHertz(mel: number): number {
  return mel < melsAtKilohertz ? (200 * mel) / 3 : 1000 * Math.exp(logStep * (mel - melsAtKilohertz));
}

/**
 * Triangular mel filters, [mels, fftSize / 2 + 1], each of unit area in hertz (librosa.filters.mel with its defaults, from 0 Hz to half
 * the sample rate, which is what Whisper was trained with).
 */
export function melFilters({
  mels,
  fftSize,
  sampleRate,
}: Pick<PreprocessorConfig, 'mels' | 'fftSize' | 'sampleRate'>): Float32Array {
  const bins = fftSize / 2 + 1;
  const highest = toMel(sampleRate / 2);
  const edges = Array.from({ length: mels + 2 }, (_, i) => toHertz((highest * i) / (mels + 1)));
  const filters = new Float32Array(mels * bins);
  for (let mel = 0; mel < mels; ++mel) {
    const [low, centre, high] = edges.slice(mel, mel + 3);
    for (let bin = 0; bin < bins; ++bin) {
      const hertz = (bin * sampleRate) / fftSize;
      const height = Math.min((hertz - low) / (centre - low), (high - hertz) / (high - centre));
      filters[mel * bins + bin] = (Math.max(0, height) * 2) / (high - low);
    }
  }
  return filters;
}

/** A periodic Hann window. */
export function hannWindow(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
}

/** Writes one slot's samples, all of them. */
export type WindowFiller = (into: Float32Array, slot: number) => void;

/** The features program of `batch` slots with its buffers. */
export class FeatureExtractor {
  readonly #config: PreprocessorConfig;
  readonly #program: Program;
  readonly #samples: Tensor;
  readonly #peak: Tensor;
  readonly #owned: Tensor[];
  /** Reused for every window: two megabytes of garbage a window would be collected late. */
  readonly #staging: Float32Array;
  /** float32 [batch, mels, frames]. */
  readonly features: Tensor;

  constructor(device: Device, config: PreprocessorConfig, batch: number) {
    this.#config = config;
    const { mels, frames, hop, fftSize } = config;
    this.#samples = device.tensor('float32', [batch, (frames - 1) * hop + fftSize]);
    this.#staging = new Float32Array(this.#samples.size);
    this.#peak = device.tensor('float32', [batch]);
    this.features = device.tensor('float32', [batch, mels, frames]);
    const window = device.tensor('float32', [fftSize], hannWindow(fftSize));
    const filters = device.tensor('float32', [mels, fftSize / 2 + 1], melFilters(config));
    this.#owned = [this.#samples, this.#peak, this.features, window, filters];
    this.#program = device.record('features', (ops) => {
      ops.logMel(this.#samples, window, filters, this.#peak, { hop, output: this.features });
    });
  }

  /**
   * Features of one window a slot, which `fill` writes: samples from fftSize / 2 before the window, for the frames at its border, to as far
   * behind it. `peaks` are the highest log10 powers so far (-infinity: this window alone counts); the new ones are given back.
   */
  async run(fill: WindowFiller, peaks: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    const [, length] = this.#samples.shape;
    for (let slot = 0; slot < peaks.length; ++slot)
      fill(this.#staging.subarray(slot * length, (slot + 1) * length), slot);
    const writes = [this.#samples.write(this.#staging), this.#peak.write(Float32Array.from(peaks))];
    await Promise.all([...writes, this.#program.run({ signal })]);
    return this.#peak.toFloat32Array();
  }

  /**
   * Fills a window that stands alone: padded with silence to its whole length, then mirrored at both ends, as torch.stft's centre
   * padding does.
   */
  fillAlone(samples: Float32Array, into: Float32Array): void {
    const { samples: windowSamples, fftSize } = this.#config;
    const border = fftSize / 2;
    const window = samples.subarray(0, windowSamples);
    into.fill(0);
    into.set(window.subarray(0, into.length - border), border);
    for (let i = 1; i <= border; ++i) into[border - i] = window[i] ?? 0;
    for (let i = border + windowSamples; i < into.length; ++i) {
      into[i] = window[2 * windowSamples - 2 - (i - border)] ?? 0;
    }
  }

  dispose(): void {
    this.#program.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
