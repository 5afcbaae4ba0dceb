/**
 * Short windows (`audioContext: 'fit'`): only the part of a window with sound is encoded, and the text is accepted only
 * if it is plausible.
 */
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { windowSamples } from '../model/features.js';
import type { ModelWindow } from '../model/search.js';
import { isDoubtful, type SearchAttempt, type Thresholds } from './fallback.js';
import type { Decoding } from './resolve.js';

/**
 * The number of possible lengths of a window; the second number is for devices that encode windows of equal length
 * together, so that more windows have equal lengths. There are few, so that few programs are recorded. Lengths are
 * multiples of 8 positions, which suits the kernels: with 24 lengths, multiples of 64 of Whisper's 1,500 positions, or
 * 1.28 s.
 */
const [lengths, sharedLengths] = [24, 12];
const stepOf = (positions: number, count: number) => 8 * Math.ceil(positions / count / 8);
/**
 * The maximum number of tokens of plausible speech: tokens for each second of sound, and tokens in addition. A longer
 * text repeats itself.
 */
const [tokensPerSecond, additionalTokens] = [20, 32];

/** The beginning of a window, with all of its sound. */
export interface ShortWindow {
  window: ModelWindow;
  /** The maximum number of tokens of its text. */
  maximumTokens: number;
}

/**
 * Returns the beginning of a window whose first `frames` audio positions have sound, with `margin` seconds of silence
 * after it; null if it is as long as the window. `isShared` is true if windows of equal length are encoded together.
 */
export function shortWindow(
  { config, preprocessor }: Pick<Checkpoint, 'config' | 'preprocessor'>,
  window: ModelWindow,
  frames: number | undefined,
  margin: number,
  isShared = true,
): ShortWindow | null {
  if ('encoded' in window || frames === undefined) return null;
  const perSecond = preprocessor.sampleRate / preprocessor.hop / 2;
  const minimum = Math.max(1, Math.ceil(frames + margin * perSecond));
  const step = stepOf(config.sourcePositions, isShared ? sharedLengths : lengths);
  const positions = Math.ceil(minimum / step) * step;
  if (positions >= config.sourcePositions) return null;
  return {
    window: {
      ...window,
      samples: window.samples.subarray(0, windowSamples(preprocessor, positions)),
      soundFrames: undefined,
    },
    maximumTokens: Math.ceil(additionalTokens + (tokensPerSecond * frames) / perSecond),
  };
}

/** Thresholds for optional decodings, which need some: openai/whisper's defaults replace 'none'. */
export const strictThresholds = ({ compressionRatioThreshold, logProbabilityThreshold }: Thresholds): Thresholds => ({
  compressionRatioThreshold: compressionRatioThreshold ?? 2.4,
  logProbabilityThreshold: logProbabilityThreshold ?? -1,
});

/**
 * The maximum compression ratio of a short window's text. For short windows the model sometimes writes a sentence two
 * or three times. The ratio of such a text may be below the default threshold, but texts of up to 20 s of speech have
 * at most 1.6.
 */
const maximumCompressionRatio = 1.8;

/**
 * True if the text of a short window is plausible: probable, not repetitive, and ended by the end token if it was
 * `bounded`, that is, limited to `maximumTokens`.
 */
export function isPlausible(attempt: SearchAttempt, bounded: boolean, decoding: Decoding): boolean {
  const thresholds = strictThresholds(decoding);
  const compressionRatioThreshold = Math.min(thresholds.compressionRatioThreshold!, maximumCompressionRatio);
  return !(bounded && !attempt.ended) && !isDoubtful(attempt, { ...thresholds, compressionRatioThreshold });
}
