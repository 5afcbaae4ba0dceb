/**
 * A streaming resampler: windowed sinc (Kaiser) in polyphase form. Ours, because the WebAssembly resamplers on npm either work on whole
 * recordings or click at chunk borders, and 120 lines do it at 95 dB.
 */

/** Zero crossings of the sinc to each side, and the window's shape: about 95 dB of stopband. */
const zeroCrossings = 32;
const kaiserBeta = 9.5;
/** The band kept, of the lower rate's half: what is above would fold back. */
const passband = 0.945;
/** Rates without a small common ratio are interpolated between this many phases. */
const mostPhases = 2048;

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

/** Converts mono samples from one rate to another, chunk by chunk, with no delay: output sample i is at time i / to. */
export class Resampler {
  readonly #from: number;
  readonly #to: number;
  /** Input samples to each side of an output sample that its sum takes. */
  readonly #reach: number;
  readonly #phases: number;
  readonly #filters: Float32Array[];
  #held: Float32Array;
  /** Place in the input of the first held sample. */
  #begin: number;
  #received = 0;
  #produced = 0;

  constructor(from: number, to: number) {
    const divisor = greatestCommonDivisor(from, to);
    this.#from = from / divisor;
    this.#to = to / divisor;
    const cutoff = Math.min(1, to / from) * passband;
    this.#reach = Math.ceil(zeroCrossings / cutoff);
    this.#phases = Math.min(this.#to, mostPhases);
    this.#filters = Array.from({ length: this.#phases }, (_, phase) => this.#filter(phase / this.#phases, cutoff));
    // Silence before the first sample.
    this.#held = new Float32Array(this.#reach);
    this.#begin = -this.#reach;
  }

  /** Weights of the inputs around an output that lies `fraction` behind an input sample; they sum to 1. */
  #filter(fraction: number, cutoff: number): Float32Array {
    const taps = 2 * this.#reach + 1;
    const weights = new Float64Array(taps);
    let sum = 0;
    for (let i = 0; i < taps; ++i) {
      const distance = i - this.#reach - fraction;
      const angle = Math.PI * cutoff * distance;
      const position = distance / (this.#reach + 1);
      const window = Math.abs(position) >= 1 ? 0 : besselI0(kaiserBeta * Math.sqrt(1 - position * position));
      weights[i] = (angle === 0 ? 1 : Math.sin(angle) / angle) * window;
      sum += weights[i];
    }
    return Float32Array.from(weights, (weight) => weight / sum);
  }

  #append(samples: Float32Array): void {
    const joined = new Float32Array(this.#held.length + samples.length);
    joined.set(this.#held);
    joined.set(samples, this.#held.length);
    this.#held = joined;
  }

  #produce(count: number): Float32Array {
    const output = new Float32Array(count);
    const taps = 2 * this.#reach + 1;
    for (let i = 0; i < count; ++i) {
      const numerator = (this.#produced + i) * this.#from;
      const whole = Math.floor(numerator / this.#to);
      const phase = Math.round(((numerator - whole * this.#to) * this.#phases) / this.#to);
      // The last half phase belongs to the next input sample.
      const filter = this.#filters[phase % this.#phases];
      const first = whole + (phase === this.#phases ? 1 : 0) - this.#reach - this.#begin;
      let sum = 0;
      for (let tap = 0; tap < taps; ++tap) sum += filter[tap] * (this.#held[first + tap] ?? 0);
      output[i] = sum;
    }
    this.#produced += count;
    const next = Math.floor((this.#produced * this.#from) / this.#to) - this.#reach - this.#begin;
    if (next > 0) {
      this.#held = this.#held.slice(next);
      this.#begin += next;
    }
    return output;
  }

  /** Output that these samples complete. */
  push(samples: Float32Array): Float32Array {
    this.#received += samples.length;
    this.#append(samples);
    // Output n needs input up to floor(n * from / to) + reach + 1.
    const ready = Math.floor(((this.#received - this.#reach - 1) * this.#to) / this.#from);
    return this.#produce(Math.max(0, ready - this.#produced));
  }

  /** The rest, silence following the last sample. Afterwards round(received * to / from) samples were given in all. */
  finish(): Float32Array {
    this.#append(new Float32Array(this.#reach + 2));
    return this.#produce(Math.max(0, Math.round((this.#received * this.#to) / this.#from) - this.#produced));
  }
}
