/**
 * Short windows (`audioContext: 'fit'`): only the part of a window with sound is encoded, and the text is checked for
 * signs that this was too short.
 */
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { windowSamples } from '../model/features.js';
import type { ModelWindow } from '../model/search.js';
import { type SearchAttempt, isDoubtful } from './fallback.js';
import type { Decoding } from './resolve.js';

/**
 * The number of lengths that a window can be cut to. There are few, so that few programs serve all and windows of one
 * length are encoded together. Lengths are multiples of eight positions, which suits the kernels; a step is 128 of
 * Whisper's 1,500 positions, or 2.56 s.
 */
const lengths = 12;
const stepOf = (positions: number) => 8 * Math.ceil(positions / lengths / 8);
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
 * behind it. Null where that is as long as the window.
 */
export function shortWindow(
  { config, preprocessor }: Pick<Checkpoint, 'config' | 'preprocessor'>,
  window: ModelWindow,
  frames: number | undefined,
  margin: number,
): ShortWindow | null {
  if ('encoded' in window || frames === undefined) return null;
  const perSecond = preprocessor.sampleRate / preprocessor.hop / 2;
  const wanted = Math.max(1, Math.ceil(frames + margin * perSecond));
  const step = stepOf(config.sourcePositions);
  const positions = Math.ceil(wanted / step) * step;
  if (positions >= config.sourcePositions) return null;
  return {
    window: { ...window, samples: window.samples.subarray(0, windowSamples(preprocessor, positions)) },
    longest: Math.ceil(tokensAtOnce + (tokensPerSecond * frames) / perSecond),
  };
}

/** Thresholds for a short window where the caller's own are 'none': openai/whisper's defaults. */
const usualThresholds = { compressionRatioThreshold: 2.4, logProbabilityThreshold: -1 };

/**
 * True if the text of a short window is plausible: it ended by itself (unless the caller bounded it), does not repeat
 * itself, and is likely enough.
 */
export function isTrusted(attempt: SearchAttempt, bounded: boolean, decoding: Decoding): boolean {
  const limits = {
    compressionRatioThreshold: decoding.compressionRatioThreshold ?? usualThresholds.compressionRatioThreshold,
    logProbabilityThreshold: decoding.logProbabilityThreshold ?? usualThresholds.logProbabilityThreshold,
  };
  return !(bounded && !attempt.ended) && !isDoubtful(attempt, limits);
}
