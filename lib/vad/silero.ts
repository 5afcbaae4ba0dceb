/** Silero's voice detector, computed by the addon on libuv's thread pool. */
import { type NativeVoiceModel, nativeClass } from '../device/native.js';
import { readSileroWeights } from './silero-weights.js';
import type { VoiceDetector } from './voice-detector.js';

/** Samples of a frame at 16 kHz. */
export const sileroFrame = 512;
/** Size of the state that is kept between a recording's frames. */
const stateSize = 320;
/** Maximum frames of one recording in a run, 4 s, so that a long recording delays others by some milliseconds only. */
const maxFrames = 128;
const maxStreams = 32;

interface Stream {
  state: Float32Array;
}

interface FrameRequest {
  stream: Stream;
  samples: Float32Array;
  found: Float32Array;
  /** Number of frames done. */
  done: number;
  resolve(found: Float32Array): void;
  reject(error: unknown): void;
}

/** Computes the pending requests of all recordings of the process side by side. */
class Runner {
  #model: Promise<NativeVoiceModel> | null = null;
  readonly #waiting: FrameRequest[] = [];
  #running = false;
  /** Buffers for padding the last frames of recordings; they can be reused because the addon copies its input. */
  readonly #padded: Float32Array[] = [];

  run(stream: Stream, samples: Float32Array): Promise<Float32Array> {
    const found = new Float32Array(Math.ceil(samples.length / sileroFrame));
    if (found.length === 0) return Promise.resolve(found);
    return new Promise((resolve, reject) => {
      this.#waiting.push({ stream, samples, found, done: 0, resolve, reject });
      if (!this.#running) void this.#work();
    });
  }

  async #open(): Promise<NativeVoiceModel> {
    const weights = await readSileroWeights();
    return new (nativeClass('VoiceModel', 'voice detector'))(weights);
  }

  async #work(): Promise<void> {
    this.#running = true;
    // Requests of the same turn are computed together.
    await undefined;
    while (this.#waiting.length > 0) {
      const jobs = this.#waiting.splice(0, maxStreams);
      try {
        this.#model ??= this.#open();
        const model = await this.#model;
        const results = await model.run(
          jobs.map(({ stream, samples, done }, index) => [
            stream.state,
            this.#whole(samples.subarray(done * sileroFrame, (done + maxFrames) * sileroFrame), index),
          ]),
        );
        for (const [index, [state, probabilities]] of results.entries()) {
          const job = jobs[index];
          job.stream.state = state;
          job.found.set(probabilities, job.done);
          job.done += probabilities.length;
          if (job.done < job.found.length) this.#waiting.push(job);
          else job.resolve(job.found);
        }
      } catch (error) {
        // If opening has failed, the next request tries again.
        this.#model = null;
        for (const job of jobs) job.reject(error);
      }
    }
    this.#running = false;
  }

  /** The samples, padded with silence to whole frames. */
  #whole(samples: Float32Array, index: number): Float32Array {
    const length = Math.ceil(samples.length / sileroFrame) * sileroFrame;
    if (length === samples.length) return samples;
    this.#padded[index] ??= new Float32Array(maxFrames * sileroFrame);
    const whole = this.#padded[index].subarray(0, length);
    whole.set(samples);
    return whole.fill(0, samples.length);
  }
}

const runner = new Runner();

/**
 * A detector for one recording. `probabilities` throws OneheadError: ADDON_UNAVAILABLE, MODEL_INVALID, OUT_OF_MEMORY.
 */
export function openSilero(): VoiceDetector {
  const stream: Stream = { state: new Float32Array(stateSize) };
  return {
    frame: sileroFrame,
    probabilities: (samples) => runner.run(stream, samples),
    close() {},
  };
}

/**
 * Returns the probability of speech in each frame of 512 samples (32 ms at 16 kHz) of a separate piece of audio. The
 * last frame is padded with silence. Takes about 5 µs of another thread for each frame. The samples must not change
 * until the promise resolves.
 */
export function speechProbabilities(samples: Float32Array): Promise<Float32Array> {
  return runner.run({ state: new Float32Array(stateSize) }, samples);
}
