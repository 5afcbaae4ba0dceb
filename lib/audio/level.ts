/** Samples that are no fractions: whole numbers of 16 bits put into floats, which would be heard as noise. */
import { OneheadError } from '../errors.js';

/** Louder than this is no sound that was turned up too far: 18 dB over full scale. */
export const loudest = 8;
/** The share of a second's samples above which they are not single faults. */
const share = 0.05;

/** The probable divisor for integer samples, for error sentences. */
export function divisor(sample: number): string {
  const bits = [16, 24, 32].find((width) => Math.abs(sample) <= 2 ** (width - 1));
  return bits ? `divide values of ${bits} bits by ${2 ** (bits - 1)}` : 'divide them by the largest';
}

/**
 * Watches decoded samples, a second at a time. Single ones that are far too loud are faults of a file and are cut, as
 * ffmpeg does.
 */
export class LevelCheck {
  readonly #name: string;
  #count = 0;
  #loud = 0;
  #peak = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /** Cuts samples `begin` to `end` in place. Throws OneheadError AUDIO_INVALID where most of a second is too loud. */
  check(samples: Float32Array, begin: number, end: number, rate: number): void {
    for (let i = begin; i < end; ++i) {
      if (samples[i] > loudest || samples[i] < -loudest) {
        this.#loud += 1;
        this.#peak = Math.max(this.#peak, Math.abs(samples[i]));
        samples[i] = Math.sign(samples[i]);
      }
      this.#count += 1;
      if (this.#count >= rate) this.finish();
    }
  }

  finish(): void {
    if (this.#loud > share * this.#count) {
      throw new OneheadError(
        'AUDIO_INVALID',
        `${this.#name} has samples up to ${Number(this.#peak.toPrecision(6))} where -1 to 1 is expected; ${divisor(this.#peak)}.`,
      );
    }
    this.#count = 0;
    this.#loud = 0;
  }
}

/** Throws OneheadError INVALID_ARGUMENT for samples of the caller's that are not finite or far beyond 1. */
export function checkSamples(samples: Float32Array, begin = 0, end = samples.length): void {
  for (let i = begin; i < end; ++i) {
    // False for what is not a number too.
    if (Math.abs(samples[i]) <= loudest) continue;
    const advice = Number.isFinite(samples[i]) ? divisor(peakOf(samples)) : 'repair what made them';
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected finite samples from -1 to 1 but sample ${i} is ${samples[i]}; ${advice}.`,
      { argument: 'samples' },
    );
  }
}

function peakOf(samples: Float32Array): number {
  let peak = 0;
  for (const sample of samples) if (Math.abs(sample) > peak) peak = Math.abs(sample);
  return peak;
}
