/** The voice that a detector hears in one piece of audio. */
import { sileroFrame, speechProbabilities } from './silero.js';

const sampleRate = 16000;
const frameSeconds = sileroFrame / sampleRate;
/** Frames of this probability go on with speech: Silero's threshold, less what it allows to speech that has begun. */
const spoken = 0.35;
/**
 * Sound whose louder frames are below this (root mean square) is heard amplified too: the detector was trained on
 * louder speech.
 */
const quiet = 0.003;
/** The level that quiet sound is amplified to, and the greatest factor. */
const usualLevel = 0.1;
const mostGain = 1000;

export class Voice {
  /** The probability of speech in each frame of 32 ms. */
  readonly probabilities: Float32Array;

  constructor(probabilities: Float32Array) {
    this.probabilities = probabilities;
  }

  #between(begin: number, end: number): Float32Array {
    return this.probabilities.subarray(Math.max(0, Math.floor(begin / frameSeconds)), Math.ceil(end / frameSeconds));
  }

  /** Seconds, between two seconds of the piece, in which speech has this probability or more. */
  seconds(probability: number, begin = 0, end = Number.POSITIVE_INFINITY): number {
    return this.#between(begin, end).reduce((sum, one) => sum + Number(one >= probability), 0) * frameSeconds;
  }

  /** Seconds of the longest stretch of speech between two seconds of the piece. */
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

/** Root mean square of a frame that a twentieth of all are louder than. */
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
 * Listens to a piece of audio at 16 kHz, by itself. The samples must stay as they are until it has. Takes a few
 * milliseconds of another thread for 30 s.
 */
export async function listen(samples: Float32Array): Promise<Voice> {
  const level = levelOf(samples);
  const gain = level > 0 && level < quiet ? Math.min(mostGain, usualLevel / level) : null;
  const [plain, amplified] = await Promise.all([
    speechProbabilities(samples),
    gain === null ? null : speechProbabilities(samples.map((sample) => sample * gain)),
  ]);
  return new Voice(amplified ? plain.map((probability, i) => Math.max(probability, amplified[i])) : plain);
}
