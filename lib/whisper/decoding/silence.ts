/** Decides whether a window has speech, by the model's probabilities and a voice detector. */
import type { Voice } from '../../vad/voice.js';
import type { SearchAttempt } from './fallback.js';
import type { Decoding } from './resolve.js';

type Judged = Pick<SearchAttempt, 'averageLogProbability' | 'noSpeechProbability'>;

/**
 * The detector has heard somebody from this many seconds in one stretch on. A short word has 0.2 s. Singing is often
 * improbable to the detector, but long. Music without singing is taken for a voice for up to 0.15 s here and there.
 */
const leastStretch = 0.16;
const leastFaint = 1;
const faint = 0.2;
/** Above this probability of silence, a window without detected voice is not decoded. */
export const surelyHeard = 0.2;
/** Below this mean log-probability, the text of a window without detected voice is not believed. */
const leastBelievable = -0.7;

/** True if the detector hears nobody in the window. */
export function isUnheard(voice: Voice): boolean {
  return voice.longest() < leastStretch && voice.seconds(faint) < leastFaint;
}

/** True if the text of a window without detected voice is not certain enough to be believed. */
export function isUnbelievable(
  { noSpeechProbability, averageLogProbability, compressionRatio }: Judged & Pick<SearchAttempt, 'compressionRatio'>,
  { compressionRatioThreshold }: Pick<Decoding, 'compressionRatioThreshold'>,
): boolean {
  return (
    noSpeechProbability > surelyHeard ||
    averageLogProbability < leastBelievable ||
    (compressionRatioThreshold !== null && compressionRatio > compressionRatioThreshold)
  );
}

/**
 * True if a window's text is left out as silence by openai/whisper's rule: silence is probable, and the text is not.
 */
export function isSkipped(
  { noSpeechProbability, averageLogProbability, silent }: Judged & Pick<SearchAttempt, 'silent'>,
  { logProbabilityThreshold, noSpeechThreshold }: Pick<Decoding, 'logProbabilityThreshold' | 'noSpeechThreshold'>,
): boolean {
  if (silent) return true;
  if (noSpeechThreshold === null || noSpeechProbability <= noSpeechThreshold) return false;
  return logProbabilityThreshold === null || averageLogProbability <= logProbabilityThreshold;
}
