/** Whether anybody speaks in a window: what the model says of it, and what a voice detector hears. */
import type { Voice } from '../../vad/voice.js';
import type { Attempt } from './fallback.js';
import type { Decoding } from './resolve.js';

type Judged = Pick<Attempt, 'averageLogProbability' | 'noSpeechProbability'>;

/**
 * Seconds of one stretch of speech, or of what may be some, from which on the detector has heard somebody. A short word
 * has 0.2 s; singing is often improbable to the detector, but for long; of music without song it takes 0.15 s here and
 * there for a voice.
 */
const leastStretch = 0.16;
const leastFaint = 1;
const faint = 0.2;
/** Where the detector hears nobody, a window in which silence is more probable than this is not decoded. */
export const surelyHeard = 0.2;
/** Nor is a text believed there that has a lower mean log-probability than this. */
const leastBelievable = -0.7;

/** True when the detector hears nobody in the window. */
export function isUnheard(voice: Voice): boolean {
  return voice.longest() < leastStretch && voice.seconds(faint) < leastFaint;
}

/** True where the model must be nearly certain that somebody speaks, since the detector hears nobody, and is not. */
export function isUnbelievable(
  { noSpeechProbability, averageLogProbability, compressionRatio }: Judged & Pick<Attempt, 'compressionRatio'>,
  { compressionRatioThreshold }: Pick<Decoding, 'compressionRatioThreshold'>,
): boolean {
  return (
    noSpeechProbability > surelyHeard ||
    averageLogProbability < leastBelievable ||
    (compressionRatioThreshold !== null && compressionRatio > compressionRatioThreshold)
  );
}

/**
 * True when a window's text is to be left out as silence, by openai/whisper's rule: silence is probable, and the text
 * is not.
 */
export function isSkipped(
  { noSpeechProbability, averageLogProbability, silent }: Judged & Pick<Attempt, 'silent'>,
  { logProbabilityThreshold, noSpeechThreshold }: Pick<Decoding, 'logProbabilityThreshold' | 'noSpeechThreshold'>,
): boolean {
  if (silent) return true;
  if (noSpeechThreshold === null || noSpeechProbability <= noSpeechThreshold) return false;
  return logProbabilityThreshold === null || averageLogProbability <= logProbabilityThreshold;
}
