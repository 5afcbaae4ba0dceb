/** The log-mel front end: mel filters, Hann window, and padding of a window's samples. */
import type { Device } from '../../device/device.js';
import type { Operations } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import type { PreprocessorConfig } from '../checkpoint/config.js';

/** Slaney's mel scale: linear below 1 kHz, logarithmic above. 1 kHz is 15 mel. */
const melsAtKilohertz = 15;
const logStep = Math.log(6.4) / 27;

function toMel(hertz: number): number {
  return hertz < 1000 ? (3 * hertz) / 200 : melsAtKilohertz + Math.log(hertz / 1000) / logStep;
}

function toHertz(mel: number): number {
  return mel < melsAtKilohertz ? (200 * mel) / 3 : 1000 * Math.exp(logStep * (mel - melsAtKilohertz));
}

/**
 * Triangular mel filters from 0 Hz to half the sample rate, [mels, fftSize / 2 + 1], each of unit area in hertz. They
 * equal librosa.filters.mel with its defaults, with which Whisper was trained.
 */
function melFilters({
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
    const binOf = (hertz: number) => (hertz * fftSize) / sampleRate;
    const end = Math.min(bins, Math.ceil(binOf(high)));
    for (let bin = Math.floor(binOf(low)); bin < end; ++bin) {
      const hertz = (bin * sampleRate) / fftSize;
      const height = Math.min((hertz - low) / (centre - low), (high - hertz) / (high - centre));
      filters[mel * bins + bin] = (Math.max(0, height) * 2) / (high - low);
    }
  }
  return filters;
}

/** A periodic Hann window. */
function hannWindow(size: number): Float32Array {
  return Float32Array.from({ length: size }, (_, i) => 0.5 - 0.5 * Math.cos((2 * Math.PI * i) / size));
}

/**
 * The number of samples from which the features of `positions` audio positions are computed: the samples of the window
 * and half a Fourier transform at both ends.
 */
export function windowSamples(
  { hop, fftSize }: Pick<PreprocessorConfig, 'hop' | 'fftSize'>,
  positions: number,
): number {
  return (2 * positions - 1) * hop + fftSize;
}

/**
 * Fills `into` with the `windowSamples` samples of a window without neighbours: padded with zeros to its full length,
 * then mirrored at both ends as in torch.stft (`center`). Returns `into`.
 */
export function fillPaddedWindow(
  { samples: length, fftSize }: PreprocessorConfig,
  samples: Float32Array,
  into: Float32Array,
): Float32Array {
  const border = fftSize / 2;
  const window = samples.subarray(0, length);
  into.fill(0);
  into.set(window.subarray(0, into.length - border), border);
  for (let i = 1; i <= border; ++i) into[border - i] = window[i] ?? 0;
  for (let i = border + length; i < into.length; ++i) into[i] = window[2 * length - 2 - (i - border)] ?? 0;
  return into;
}

/** The log-mel front end's constants on a device. */
export class Features {
  readonly #hop: number;
  readonly #window: Tensor;
  readonly #filters: Tensor;

  constructor(device: Device, config: PreprocessorConfig) {
    const { mels, hop, fftSize } = config;
    this.#hop = hop;
    this.#window = device.tensor('float32', [fftSize], hannWindow(fftSize));
    this.#filters = device.tensor('float32', [mels, fftSize / 2 + 1], melFilters(config));
  }

  /**
   * Records the features of samples [batch, windowSamples]: float32 [batch, mels, frames]. `peak` [batch] is the
   * highest log10 power so far, which is read and updated; with -infinity only the window's own power counts.
   */
  record(ops: Operations, samples: Tensor, peak: Tensor, output?: Tensor): Tensor {
    return ops.logMel(samples, this.#window, this.#filters, peak, { hop: this.#hop, output });
  }

  dispose(): void {
    this.#window.dispose();
    this.#filters.dispose();
  }
}
