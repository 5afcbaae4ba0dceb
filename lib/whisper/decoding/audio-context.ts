/**
 * Short windows (`audioContext: 'fit'`): only the part of a window with sound is encoded, and the text is checked for
 * signs that this was too short.
 */
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { windowSamples } from '../model/features.js';
import type { ModelWindow } from '../model/search.js';
import { isDoubtful, type SearchAttempt, type Thresholds } from './fallback.js';
import type { Decoding } from './resolve.js';

/**
 * The number of lengths that a window can be cut to. There are few, so that few programs serve all. Lengths are
 * multiples of eight positions, which suits the kernels; a step is 64 of Whisper's 1,500 positions, or 1.28 s. Where
 * windows of one length are encoded together, on a GPU, there are fewer lengths, so that more windows share one.
 */
const [lengths, sharedLengths] = [24, 12];
const stepOf = (positions: number, count: number) => 8 * Math.ceil(positions / count / 8);
/** The most tokens of plausible speech: for each second of sound, and in addition. A longer text repeats itself. */
const [tokensPerSecond, tokensAtOnce] = [20, 32];

/** The encoded beginning of a window, which holds all of its sound. */
export interface ShortWindow {
  window: ModelWindow;
  /** The most tokens of its text. */
  longest: number;
}

/**
 * Returns the beginning of a window whose first `frames` audio positions have sound, with `margin` seconds of silence
 * behind it. Null where that is as long as the window. `isShared`: windows of one length are encoded together.
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
  const wanted = Math.max(1, Math.ceil(frames + margin * perSecond));
  const step = stepOf(config.sourcePositions, isShared ? sharedLengths : lengths);
  const positions = Math.ceil(wanted / step) * step;
  if (positions >= config.sourcePositions) return null;
  return {
    window: { ...window, samples: window.samples.subarray(0, windowSamples(preprocessor, positions)) },
    longest: Math.ceil(tokensAtOnce + (tokensPerSecond * frames) / perSecond),
  };
}

/** Thresholds for a second decoding where the caller's own are 'none': openai/whisper's defaults. */
export const thresholdsOf = ({ compressionRatioThreshold, logProbabilityThreshold }: Thresholds): Thresholds => ({
  compressionRatioThreshold: compressionRatioThreshold ?? 2.4,
  logProbabilityThreshold: logProbabilityThreshold ?? -1,
});

/**
 * The highest compression ratio of a short window's text. Short windows tempt the model to write a sentence two or
 * three times. Such a text may be below the usual threshold, while texts of up to 20 s of speech have 1.6 at most.
 */
const mostCompression = 1.8;

/**
 * True if the text of a short window is plausible: it ended by itself (unless the caller bounded it), does not repeat
 * itself, and is likely enough.
 */
export function isTrusted(attempt: SearchAttempt, bounded: boolean, decoding: Decoding): boolean {
  const thresholds = thresholdsOf(decoding);
  const compressionRatioThreshold = Math.min(thresholds.compressionRatioThreshold!, mostCompression);
  return !(bounded && !attempt.ended) && !isDoubtful(attempt, { ...thresholds, compressionRatioThreshold });
}
