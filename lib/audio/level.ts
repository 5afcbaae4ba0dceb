/** Detects integer samples in float arrays, which would sound like noise. */
import { refuse } from '../checks.js';
import { OneheadError } from '../errors.js';
import { sampleFunctions } from './sample-functions.js';

/** Levels above this, 18 dB over full scale, are not merely too loud. */
export const loudest = 8;
/** Above this share of a second's samples, they are not single defects. */
const share = 0.05;

/** Suggests the divisor for integer samples, for error messages. */
export function divisor(sample: number): string {
  const bits = [16, 24, 32].find((width) => Math.abs(sample) <= 2 ** (width - 1));
  return bits ? `divide values of ${bits} bits by ${2 ** (bits - 1)}` : 'divide them by the largest';
}

/**
 * Checks decoded samples, a second at a time. Single samples that are far too loud are defects and are clipped, as in
 * ffmpeg. NaN, which float files may hold, becomes silence, since a single one would silence a whole window.
 */
export class LevelCheck {
  readonly #name: string;
  #count = 0;
  #loud = 0;
  #peak = 0;

  constructor(name: string) {
    this.#name = name;
  }

  /**
   * Corrects samples `begin` to `end` in place. Throws OneheadError AUDIO_INVALID if too many of a second are too loud.
   */
  check(samples: Float32Array, begin: number, end: number, rate: number): void {
    for (let at = begin; at < end; ) {
      const stop = Math.min(end, at + Math.max(1, rate - this.#count));
      if (!sampleFunctions().withinLevel(samples, at, stop, loudest)) this.#correct(samples, at, stop);
      this.#count += stop - at;
      at = stop;
      if (this.#count >= rate) this.finish();
    }
  }

  #correct(samples: Float32Array, begin: number, end: number): void {
    for (let i = begin; i < end; ++i) {
      if (Number.isNaN(samples[i])) samples[i] = 0;
      if (Math.abs(samples[i]) <= loudest) continue;
      this.#loud += 1;
      this.#peak = Math.max(this.#peak, Math.abs(samples[i]));
      samples[i] = Math.sign(samples[i]);
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

/** Throws OneheadError INVALID_ARGUMENT if the caller's samples are not finite or far beyond 1. */
export function checkSamples(samples: Float32Array, begin = 0, end = samples.length): void {
  if (sampleFunctions().withinLevel(samples, begin, end, loudest)) return;
  for (let i = begin; i < end; ++i) {
    if (Math.abs(samples[i]) <= loudest) continue;
    const finite = Number.isFinite(samples[i]);
    const advice = finite ? divisor(peakOf(samples.filter(Number.isFinite))) : 'correct the code that computes them';
    refuse(`samples[${i}]`, 'a number from -1 to 1', samples[i], { advice });
  }
}

function peakOf(samples: Float32Array): number {
  let peak = 0;
  for (const sample of samples) peak = Math.max(peak, Math.abs(sample));
  return peak;
}
