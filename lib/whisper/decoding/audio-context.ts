/**
 * Windows with less sound than they have room for: encoded as far as their sound goes, and how a text tells that this
 * was too short.
 */
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { windowSamples } from '../model/features.js';
import type { ModelWindow } from '../model/search.js';
import { type Attempt, isDoubtful } from './fallback.js';
import type { Decoding } from './resolve.js';

/**
 * Lengths that a window can be cut to: few, so that few programs serve all and windows that are alike are encoded
 * together. Eights suit the kernels; of Whisper's 1,500 positions a step is 128, or 2.56 s.
 */
const lengths = 12;
const stepOf = (positions: number) => 8 * Math.ceil(positions / lengths / 8);
/** Tokens that nobody says in a second of sound, and in no time at all: a longer text goes round in circles. */
const [tokensPerSecond, tokensAtOnce] = [20, 32];

/** A window's beginning, in which all of its sound is. */
export interface ShortWindow {
  window: ModelWindow;
  /** Tokens of its text at most. */
  longest: number;
}

/**
 * The beginning of a window that has sound in its first `frames` audio positions alone, with `margin` seconds of
 * silence behind it. Null where that is as long as the window.
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

/** What the text of a short window must pass where the caller's own thresholds are 'none': openai/whisper's. */
const usualThresholds = { compressionRatioThreshold: 2.4, logProbabilityThreshold: -1 };

/**
 * Whether a short window's text is to be trusted: it ended by itself unless somebody else bounded it, it does not
 * repeat itself, and it is likely enough.
 */
export function isTrusted(attempt: Attempt, bounded: boolean, decoding: Decoding): boolean {
  const limits = {
    compressionRatioThreshold: decoding.compressionRatioThreshold ?? usualThresholds.compressionRatioThreshold,
    logProbabilityThreshold: decoding.logProbabilityThreshold ?? usualThresholds.logProbabilityThreshold,
  };
  return !(bounded && !attempt.ended) && !isDoubtful(attempt, limits);
}
