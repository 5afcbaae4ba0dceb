/** Samples from the PCM bytes of a stream, which may be divided anywhere. */
import { type Coding, codingBytes, sampleFunctions } from './sample-functions.js';

/** Samples of all channels together that are converted at once, 4 MB, and the fewest frames. */
const [maxSamples, minFrames] = [1 << 20, 1024];

export class PcmReader {
  readonly #coding: Coding;
  readonly #channels: number;
  readonly #frameBytes: number;
  /** Frames that are converted at once. */
  readonly #most: number;
  /** Reused, so that large recordings do not need new memory all the time. */
  #samples: Float32Array[] = [];
  /** The begin of a frame whose end has not arrived. */
  #rest = new Uint8Array();

  /** At most `most` frames are given at once. */
  constructor(coding: Coding, channels: number, most: number) {
    this.#coding = coding;
    this.#channels = channels;
    this.#frameBytes = channels * codingBytes[coding.name];
    this.#most = Math.min(most, Math.max(minFrames, Math.floor(maxSamples / channels)));
  }

  /** Bytes held back. */
  get held(): number {
    return this.#rest.length;
  }

  /** Yields the samples of each channel, which change at the next step. */
  *push(bytes: Uint8Array): Generator<Float32Array[]> {
    let at = 0;
    let divided: Uint8Array | null = null;
    if (this.#rest.length > 0) {
      at = Math.min(this.#frameBytes - this.#rest.length, bytes.length);
      const begun = Buffer.concat([this.#rest, bytes.subarray(0, at)]);
      this.#rest = begun;
      if (begun.length < this.#frameBytes) return;
      divided = begun;
    }
    while (divided || bytes.length - at >= this.#frameBytes) {
      const first = divided ? 1 : 0;
      const frames = Math.min(this.#most - first, Math.floor((bytes.length - at) / this.#frameBytes));
      const channels = this.#room(first + frames);
      // A thread may load the addon at any time.
      const { convertPcm } = sampleFunctions();
      if (divided) convertPcm(divided, this.#coding, channels, 0);
      divided = null;
      const end = at + frames * this.#frameBytes;
      if (frames > 0) convertPcm(bytes.subarray(at, end), this.#coding, channels, first);
      at = end;
      yield channels;
    }
    this.#rest = bytes.slice(at);
  }

  #room(frames: number): Float32Array[] {
    if (this.#samples.length === 0 || this.#samples[0].length < frames) {
      this.#samples = Array.from({ length: this.#channels }, () => new Float32Array(frames));
    }
    return this.#samples[0].length === frames
      ? this.#samples
      : this.#samples.map((samples) => samples.subarray(0, frames));
  }
}
