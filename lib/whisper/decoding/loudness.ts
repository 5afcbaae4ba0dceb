/** The probability of speech in each frame by its loudness, for the alignment of words. */
import type { PreprocessorConfig } from '../checkpoint/config.js';

/** The most decibels between quiet and loud. More means digital silence. */
const most = 50;
/**
 * From this many decibels between quiet and loud on, loudness is fully trusted. Below, in noise, trust falls with the
 * square of the ratio.
 */
const trusted = 25;
/**
 * On the scale from quiet (0) to loud (1): the level at which a frame is as likely speech as not, and the width of the
 * sigmoid.
 */
const [middle, width] = [0.2, 0.12];
/** The probability of speech in a frame about which loudness says nothing. */
export const unknown = 0.7;
const unknownOdds = Math.log(unknown / (1 - unknown));

const sorted = (values: Float64Array, share: number): number =>
  Float64Array.from(values).sort()[Math.round(share * (values.length - 1))];

/**
 * Returns the probability that each of `frames` audio positions of a window (20 ms) is not a pause. Levels are relative
 * to the window: its quietest tenth and its loudest twentieth. `samples` are a window's as it is encoded, which begin
 * half a Fourier transform before its first frame.
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
