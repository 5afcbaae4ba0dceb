/** Decides whether a window contains speech, from the model's probabilities and a voice detector. */
import type { Voice } from '../../vad/voice.js';
import type { SearchAttempt } from './fallback.js';
import type { Decoding } from './resolve.js';

type Probabilities = Pick<SearchAttempt, 'averageLogProbability' | 'noSpeechProbability'>;

/**
 * The minimum seconds of a stretch of speech. A short word takes 0.2 s. Music without singing is sometimes detected as
 * speech for up to 0.15 s.
 */
const minimumStretch = 0.16;
/**
 * The minimum seconds of faint speech, and the probability from which a frame is faint speech. Singing often has a low
 * probability of speech, but lasts.
 */
const [minimumFaintSpeech, faintProbability] = [1, 0.2];
/** If the detector finds no speech, a window with a higher no-speech probability is not decoded. */
export const maximumNoSpeech = 0.2;
/** If the detector finds no speech, a text with a lower mean log-probability is dropped. */
const minimumLogProbability = -0.7;

/** True if the detector finds speech in the window. */
export function hasVoice(voice: Voice): boolean {
  return voice.longest() >= minimumStretch || voice.seconds(faintProbability) >= minimumFaintSpeech;
}

/** True if the text of a window in which the detector finds no speech is too uncertain to be kept. */
export function isUncertain(
  {
    noSpeechProbability,
    averageLogProbability,
    compressionRatio,
  }: Probabilities & Pick<SearchAttempt, 'compressionRatio'>,
  { compressionRatioThreshold }: Pick<Decoding, 'compressionRatioThreshold'>,
): boolean {
  return (
    noSpeechProbability > maximumNoSpeech ||
    averageLogProbability < minimumLogProbability ||
    (compressionRatioThreshold !== null && compressionRatio > compressionRatioThreshold)
  );
}

/**
 * True if a window's text is dropped as silence: by the voice detector, or by openai/whisper's rule that the no-speech
 * probability is high and the text improbable.
 */
export function isSkipped(
  { noSpeechProbability, averageLogProbability, silent }: Probabilities & Pick<SearchAttempt, 'silent'>,
  { logProbabilityThreshold, noSpeechThreshold }: Pick<Decoding, 'logProbabilityThreshold' | 'noSpeechThreshold'>,
): boolean {
  if (silent) return true;
  if (noSpeechThreshold === null || noSpeechProbability <= noSpeechThreshold) return false;
  return logProbabilityThreshold === null || averageLogProbability <= logProbabilityThreshold;
}
