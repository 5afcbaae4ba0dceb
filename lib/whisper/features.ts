/** The log-mel front end: Whisper's filters and window, and the program that makes a window's features on the device. */
import type { Device } from '../device/device.js';
import type { Program } from '../device/program.js';
import type { Tensor } from '../device/tensor.js';
import type { PreprocessorConfig } from './config.js';

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
export function melFilters({ mels, fftSize, sampleRate }: Pick<PreprocessorConfig, 'mels' | 'fftSize' | 'sampleRate'>): Float32Array {
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

/** The features program of `batch` slots with its buffers. */
export class FeatureExtractor {
  readonly #config: PreprocessorConfig;
  readonly #program: Program;
  readonly #samples: Tensor;
  readonly #peak: Tensor;
  readonly #owned: Tensor[];
  /** float32 [batch, mels, frames]. */
  readonly features: Tensor;

  constructor(device: Device, config: PreprocessorConfig, batch: number) {
    this.#config = config;
    const { mels, frames, hop, fftSize } = config;
    this.#samples = device.tensor('float32', [batch, (frames - 1) * hop + fftSize]);
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
   * Features of one window a slot. `samples` of each slot begin fftSize / 2 before the window, for the frames at its border; what is
   * missing at the end is silence. `peak` is the highest log10 power so far (-infinity: this window alone counts); the new one is given back.
   */
  async run(windows: readonly Float32Array[], peaks: readonly number[], signal?: AbortSignal): Promise<Float32Array> {
    const [batch, length] = this.#samples.shape;
    const samples = new Float32Array(batch * length);
    windows.forEach((window, slot) => {
      samples.set(window.subarray(0, length), slot * length);
    });
    const writes = [this.#samples.write(samples), this.#peak.write(Float32Array.from(peaks))];
    await Promise.all([...writes, this.#program.run({ signal })]);
    return this.#peak.toFloat32Array();
  }

  /**
   * A window that stands alone, with its border: mirrored at both ends, as torch.stft's centre padding does, after padding with
   * silence to a whole window.
   */
  mirrored(samples: Float32Array): Float32Array {
    const { samples: windowSamples, frames, hop, fftSize } = this.#config;
    const border = fftSize / 2;
    const padded = new Float32Array((frames - 1) * hop + fftSize);
    const window = samples.subarray(0, windowSamples);
    padded.set(window.subarray(0, padded.length - border), border);
    for (let i = 1; i <= border; ++i) padded[border - i] = window[i] ?? 0;
    for (let i = border + windowSamples; i < padded.length; ++i) {
      padded[i] = window[2 * windowSamples - 2 - (i - border)] ?? 0;
    }
    return padded;
  }

  dispose(): void {
    this.#program.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
