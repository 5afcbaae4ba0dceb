/**
 * A streaming resampler: windowed sinc (Kaiser) in polyphase form. Ours, because the WebAssembly resamplers on npm
 * either work on whole recordings or click at chunk borders, and 120 lines do it at 95 dB.
 */

/** Zero crossings of the sinc on each side, and the window's shape: about 95 dB of stopband attenuation. */
const zeroCrossings = 32;
const kaiserBeta = 9.5;
/** The passband relative to the lower rate's Nyquist frequency; frequencies above would alias. */
const passband = 0.945;
/** Ratios with more phases than this interpolate between `interpolatedPhases`. */
const maxPhases = 2048;
/** The error of linear interpolation between two phases is below -110 dB. */
const interpolatedPhases = 512;

function besselI0(x: number): number {
  let sum = 1;
  let term = 1;
  for (let k = 1; k < 50 && term > 1e-12 * sum; ++k) {
    term *= (x / (2 * k)) ** 2;
    sum += term;
  }
  return sum;
}

function greatestCommonDivisor(a: number, b: number): number {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}

/** Weights of the inputs for an output `fraction` after an input sample; they sum to 1. */
function fillFilter(weights: Float64Array, reach: number, fraction: number, cutoff: number): void {
  let sum = 0;
  for (let i = 0; i < weights.length; ++i) {
    const distance = i - reach - fraction;
    const angle = Math.PI * cutoff * distance;
    const position = distance / (reach + 1);
    const window = Math.abs(position) >= 1 ? 0 : besselI0(kaiserBeta * Math.sqrt(1 - position * position));
    weights[i] = (angle === 0 ? 1 : Math.sin(angle) / angle) * window;
    sum += weights[i];
  }
  for (let i = 0; i < weights.length; ++i) weights[i] /= sum;
}

function dot(weights: Float64Array, at: number, samples: Float64Array, from: number, count: number): number {
  let [a, b, c, d] = [0, 0, 0, 0];
  for (let i = 0; i < count; i += 4) {
    a += weights[at + i] * samples[from + i];
    b += weights[at + i + 1] * samples[from + i + 1];
    c += weights[at + i + 2] * samples[from + i + 2];
    d += weights[at + i + 3] * samples[from + i + 3];
  }
  return a + b + (c + d);
}

/**
 * Converts mono samples between integer rates in hertz, chunk by chunk, without delay: output sample i is at time
 * i / to. The output does not depend on how the input is divided into chunks.
 */
export class Resampler {
  readonly #from: number;
  readonly #to: number;
  /** Input samples on each side of an output sample that contribute to it. */
  readonly #reach: number;
  /** Weights of an output sample, a multiple of four: the inner loop keeps four independent sums. */
  readonly #taps: number;
  readonly #phases: number;
  readonly #exact: boolean;
  /** Rows of weights, in float64, since converting in the inner loop costs more than the larger cache footprint. */
  readonly #filters: Float64Array;
  #held: Float64Array;
  /** Number of samples held, and the input position of the first. */
  #count: number;
  #begin: number;
  #received = 0;
  #produced = 0;

  constructor(from: number, to: number) {
    const divisor = greatestCommonDivisor(from, to);
    this.#from = from / divisor;
    this.#to = to / divisor;
    const cutoff = Math.min(1, to / from) * passband;
    this.#reach = Math.ceil(zeroCrossings / cutoff);
    this.#taps = Math.ceil((2 * this.#reach + 2) / 4) * 4;
    this.#exact = this.#to <= maxPhases;
    this.#phases = this.#exact ? this.#to : interpolatedPhases;
    // One more row, for fraction 1, as an interpolation end point.
    this.#filters = new Float64Array((this.#phases + 1) * this.#taps);
    for (let phase = 0; phase <= this.#phases; ++phase) {
      const row = this.#filters.subarray(phase * this.#taps, (phase + 1) * this.#taps);
      fillFilter(row, this.#reach, phase / this.#phases, cutoff);
    }
    // Silence before the first sample.
    this.#held = new Float64Array(this.#taps + 4096);
    this.#count = this.#reach;
    this.#begin = -this.#reach;
  }

  /** Appends `length` samples, or silence. */
  #append(samples: Float32Array | null, length: number): void {
    if (this.#count + length > this.#held.length) {
      const grown = new Float64Array(Math.max(2 * this.#held.length, this.#count + length));
      grown.set(this.#held.subarray(0, this.#count));
      this.#held = grown;
    }
    if (samples) this.#held.set(samples, this.#count);
    else this.#held.fill(0, this.#count, this.#count + length);
    this.#count += length;
  }

  #produce(count: number): Float32Array {
    const output = new Float32Array(count);
    const [from, to, taps, phases, filters, held] = [
      this.#from,
      this.#to,
      this.#taps,
      this.#phases,
      this.#filters,
      this.#held,
    ];
    const offset = this.#reach + this.#begin;
    // The input sample before the next output, and the distance to it in units of 1 / to.
    let whole = Math.floor((this.#produced * from) / to);
    let behind = this.#produced * from - whole * to;
    for (let i = 0; i < count; ++i) {
      if (this.#exact) {
        output[i] = dot(filters, behind * taps, held, whole - offset, taps);
      } else {
        const place = (behind * phases) / to;
        const phase = Math.floor(place);
        const low = dot(filters, phase * taps, held, whole - offset, taps);
        const high = dot(filters, (phase + 1) * taps, held, whole - offset, taps);
        output[i] = low + (high - low) * (place - phase);
      }
      behind += from;
      const steps = Math.floor(behind / to);
      whole += steps;
      behind -= steps * to;
    }
    this.#produced += count;
    const passed = Math.min(whole - offset, this.#count);
    if (passed > 0) {
      held.copyWithin(0, passed, this.#count);
      this.#count -= passed;
      this.#begin += passed;
    }
    return output;
  }

  /** Returns the output that these samples complete. */
  push(samples: Float32Array): Float32Array {
    this.#received += samples.length;
    this.#append(samples, samples.length);
    // Output n needs `taps` inputs from floor(n * from / to) - reach on.
    const ready = Math.floor(((this.#received - this.#taps + this.#reach) * this.#to) / this.#from);
    return this.#produce(Math.max(0, ready - this.#produced));
  }

  /** Returns the rest, with silence after the last sample; the total is then round(received * to / from). */
  finish(): Float32Array {
    this.#append(null, this.#taps + 2 * Math.ceil(this.#from / this.#to));
    return this.#produce(Math.max(0, Math.round((this.#received * this.#to) / this.#from) - this.#produced));
  }
}
