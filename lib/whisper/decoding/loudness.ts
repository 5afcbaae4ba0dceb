/** Where a window is loud enough for speech, as the alignment of words hears it. */
import type { PreprocessorConfig } from '../checkpoint/config.js';

/** Decibels between quiet and loud at most: more is silence that was made. */
const most = 50;
/**
 * Where quiet and loud are so many decibels apart, or more, loudness is believed; where less, in noise, by the square
 * of the share.
 */
const trusted = 25;
/** Between quiet (0) and loud (1): where a frame is as likely speech as not, and how sharply that changes. */
const [middle, width] = [0.2, 0.12];
/** The probability that a frame is no pause where loudness does not tell. */
export const unknown = 0.7;
const unknownOdds = Math.log(unknown / (1 - unknown));

const sorted = (values: Float64Array, share: number): number =>
  Float64Array.from(values).sort()[Math.round(share * (values.length - 1))];

/**
 * The probability that each of `frames` audio positions of a window (20 ms) is no pause. A window is measured against
 * itself: its quietest tenth and its loudest twentieth. `samples` are a window's as it is encoded, which begin half a
 * Fourier transform before its first frame.
 */
export function loudness(samples: Float32Array, frames: number, { hop, fftSize }: PreprocessorConfig): Float64Array {
  const [step, first] = [2 * hop, fftSize / 2];
  const levels = Float64Array.from({ length: frames }, (_, frame) => {
    const from = Math.max(0, first + frame * step - step / 4);
    const to = Math.min(samples.length, first + (frame + 1) * step + step / 4);
    let power = 0;
    for (let i = from; i < to; ++i) power += samples[i] * samples[i];
    return 10 * Math.log10(power / Math.max(1, to - from) + 1e-10);
  });
  const loud = sorted(levels, 0.95);
  const quiet = Math.max(sorted(levels, 0.1), loud - most);
  const range = Math.max(loud - quiet, 1);
  const trust = Math.min(1, (range / trusted) ** 2);
  return levels.map((level) => {
    const odds = ((level - quiet) / range - middle) / width;
    const probability = 1 / (1 + Math.exp(-(trust * odds + (1 - trust) * unknownOdds)));
    return Math.min(0.99, Math.max(0.01, probability));
  });
}
