/**
 * Silero's voice detector, computed by the addon on the threads that Node.js has for such work, never on the event
 * loop.
 */
import { type NativeVoiceModel, native } from '../device/native.js';
import { OneheadError } from '../errors.js';
import { readSileroWeights } from './silero-weights.js';
import type { VoiceDetector } from './voice-detector.js';

/** Samples of a frame, at 16 kHz. */
export const sileroFrame = 512;
/** Numbers that are kept between a recording's frames. */
const stateSize = 320;
/** Of a run, so that a long recording holds up no other for more than some milliseconds: 4 s of each of so many. */
const mostFrames = 128;
const mostStreams = 32;

interface Stream {
  state: Float32Array;
}

interface Job {
  stream: Stream;
  samples: Float32Array;
  found: Float32Array;
  /** Frames that are done. */
  done: number;
  resolve(found: Float32Array): void;
  reject(error: unknown): void;
}

/** Runs of all recordings of the process: those that wait at the same time are computed side by side. */
class Runner {
  #model: Promise<NativeVoiceModel> | null = null;
  readonly #waiting: Job[] = [];
  #running = false;
  /** Where the last frames of recordings are filled up: the addon copies what it is given. */
  readonly #filledUp: Float32Array[] = [];

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
    const { VoiceModel } = native();
    if (VoiceModel) return new VoiceModel(weights);
    throw new OneheadError(
      'ADDON_UNAVAILABLE',
      "onehead's native addon is older than the package and has no voice detector; build it again with `npm run build:native`.",
    );
  }

  async #work(): Promise<void> {
    this.#running = true;
    // What is asked for in the same turn goes together.
    await undefined;
    while (this.#waiting.length > 0) {
      const jobs = this.#waiting.splice(0, mostStreams);
      try {
        this.#model ??= this.#open();
        const model = await this.#model;
        const results = await model.run(
          jobs.map(({ stream, samples, done }, index) => [
            stream.state,
            this.#whole(samples.subarray(done * sileroFrame, (done + mostFrames) * sileroFrame), index),
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
        // What could not be opened is tried again by the next.
        this.#model = null;
        for (const job of jobs) job.reject(error);
      }
    }
    this.#running = false;
  }

  /** The samples, with silence up to a whole frame. */
  #whole(samples: Float32Array, index: number): Float32Array {
    const length = Math.ceil(samples.length / sileroFrame) * sileroFrame;
    if (length === samples.length) return samples;
    this.#filledUp[index] ??= new Float32Array(mostFrames * sileroFrame);
    const whole = this.#filledUp[index].subarray(0, length);
    whole.set(samples);
    return whole.fill(0, samples.length);
  }
}

const runner = new Runner();

/**
 * A detector for one recording. Its `probabilities` throw OneheadError: ADDON_UNAVAILABLE, MODEL_INVALID,
 * OUT_OF_MEMORY.
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
 * How probable speech is in each frame of 512 samples (32 ms at 16 kHz) of a piece of audio by itself; the last may be
 * a part of one, which silence fills. Takes about 5 µs of another thread a frame. The samples must stay as they are
 * until it is known.
 */
export function speechProbabilities(samples: Float32Array): Promise<Float32Array> {
  return runner.run({ state: new Float32Array(stateSize) }, samples);
}
