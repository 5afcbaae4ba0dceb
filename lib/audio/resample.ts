/** Resampling. The addon computes it: in JavaScript it took longer than all other work on an audio file. */
import { type NativeResampler, nativeClass } from '../device/native.js';

/**
 * Converts mono samples between integer rates in hertz, from 1,000 to 768,000, chunk by chunk, without delay: output
 * sample i is at time i / to. The output does not depend on how the input is divided into chunks.
 */
export class Resampler {
  readonly #native: NativeResampler;

  /** Throws OneheadError ADDON_UNAVAILABLE; INVALID_ARGUMENT for other rates. */
  constructor(from: number, to: number) {
    const kernels = process.env.ONEHEAD_CPU_KERNELS || undefined;
    this.#native = new (nativeClass('Resampler', 'resampler'))(from, to, kernels);
  }

  /** Returns the output that these samples complete. */
  push(samples: Float32Array): Float32Array {
    const output = new Float32Array(this.#native.outputs(samples));
    this.#native.push(samples, output);
    return output;
  }

  /**
   * Returns the rest, with silence after the last sample; the total is then round(received * to / from). Nothing may be
   * pushed afterwards.
   */
  finish(): Float32Array {
    const output = new Float32Array(this.#native.remaining());
    this.#native.finish(output);
    return output;
  }
}
