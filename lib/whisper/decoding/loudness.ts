/** The probability of speech in each frame from its loudness, for the alignment of words. */
import type { PreprocessorConfig } from '../checkpoint/config.js';

/** The maximum range from quiet to loud, in decibels. A greater one means digital silence. */
const maximumRange = 50;
/**
 * From this range on, in decibels, loudness has its full weight. Below, in noise, the weight decreases with the square
 * of the range.
 */
const fullWeightRange = 25;
/** Centre and width of the sigmoid, on a scale from quiet (0) to loud (1). */
const [centre, width] = [0.2, 0.12];
/** The probability of speech if loudness has no weight. */
export const neutralProbability = 0.7;
const neutralLogOdds = Math.log(neutralProbability / (1 - neutralProbability));

const quantile = (values: Float64Array, share: number): number =>
  Float64Array.from(values).sort()[Math.round(share * (values.length - 1))];

/**
 * Returns the probability, from 0.01 to 0.99, that each of `frames` audio positions (20 ms) of a window is not a pause.
 * Levels are relative to the window's 10% and 95% quantiles. `samples` are those of `windowSamples`, which begin half a
 * Fourier transform before the first frame.
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
  const loud = quantile(levels, 0.95);
  const quiet = Math.max(quantile(levels, 0.1), loud - maximumRange);
  const range = Math.max(loud - quiet, 1);
  const weight = Math.min(1, (range / fullWeightRange) ** 2);
  return levels.map((level) => {
    const logOdds = ((level - quiet) / range - centre) / width;
    const probability = 1 / (1 + Math.exp(-(weight * logOdds + (1 - weight) * neutralLogOdds)));
    return Math.min(0.99, Math.max(0.01, probability));
  });
}
