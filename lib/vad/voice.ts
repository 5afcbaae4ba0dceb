/** The result of voice detection for one piece of audio. */
import { sileroFrame, speechProbabilities } from './silero.js';

const sampleRate = 16000;
const frameSeconds = sileroFrame / sampleRate;
/** Probability from which a frame continues speech: Silero's threshold of 0.5 less its hysteresis of 0.15. */
const spoken = 0.35;
/**
 * Audio whose louder frames are below this level (root mean square) is also analyzed amplified: the detector was
 * trained on louder speech.
 */
const quiet = 0.003;
/** The level to which quiet audio is amplified, and the maximum gain. */
const usualLevel = 0.1;
const maxGain = 1000;

export class Voice {
  /** The probability of speech in each frame of 32 ms. */
  readonly probabilities: Float32Array;

  constructor(probabilities: Float32Array) {
    this.probabilities = probabilities;
  }

  #between(begin: number, end: number): Float32Array {
    return this.probabilities.subarray(Math.max(0, Math.floor(begin / frameSeconds)), Math.ceil(end / frameSeconds));
  }

  /** Seconds of frames with at least this probability, between two times of the piece. */
  seconds(probability: number, begin = 0, end = Number.POSITIVE_INFINITY): number {
    return this.#between(begin, end).reduce((sum, one) => sum + Number(one >= probability), 0) * frameSeconds;
  }

  /** Seconds of the longest stretch of speech between two times of the piece. */
  longest(begin = 0, end = Number.POSITIVE_INFINITY): number {
    let most = 0;
    let run = 0;
    for (const probability of this.#between(begin, end)) {
      run = probability >= spoken ? run + 1 : 0;
      most = Math.max(most, run);
    }
    return most * frameSeconds;
  }
}

/** The 95th percentile of the frames' root mean square. */
function levelOf(samples: Float32Array): number {
  const frames = Math.max(1, Math.floor(samples.length / sileroFrame));
  const energies = new Float64Array(frames);
  for (let frame = 0, at = 0; frame < frames; ++frame) {
    const end = Math.min(at + sileroFrame, samples.length);
    let energy = 0;
    for (; at < end; ++at) energy += samples[at] * samples[at];
    energies[frame] = energy;
  }
  energies.sort();
  return Math.sqrt(energies[Math.floor(0.95 * frames)] / sileroFrame);
}

/**
 * Analyzes a separate piece of audio at 16 kHz. The samples must not change until the promise resolves. Takes a few
 * milliseconds on another thread for 30 s.
 */
export async function listen(samples: Float32Array): Promise<Voice> {
  const level = levelOf(samples);
  const gain = level > 0 && level < quiet ? Math.min(maxGain, usualLevel / level) : null;
  const [plain, amplified] = await Promise.all([
    speechProbabilities(samples),
    gain === null ? null : speechProbabilities(samples.map((sample) => sample * gain)),
  ]);
  return new Voice(amplified ? plain.map((probability, i) => Math.max(probability, amplified[i])) : plain);
}
