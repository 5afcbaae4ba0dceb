/** The language of a stream: detected from its first speech, and checked at the start of each turn. */
import { otherLanguage } from '../decoding/language-change.js';

/** The minimum probability at which a detected language is kept: from a second of speech on, and from three. */
const [likely, plausible] = [0.7, 0.5];
const [shortSeconds, languageSeconds] = [1, 3];
/** Seconds of a turn's audio at which its language is checked first, and after which it is not checked again. */
const [firstSeconds, lastSeconds] = [1, 4];
/** Seconds of a turn's audio after which text is confirmed although the language is uncertain. */
const waitSeconds = languageSeconds;
/** The stream's language is kept if it has at least this probability. */
const possible = 0.1;
/** Seconds of a whole turn for which one check is enough. */
const turnSeconds = 1.5;

/** True if a language that was detected in `seconds` of audio can be kept. */
export const canKeep = (probability: number, seconds: number): boolean =>
  seconds >= shortSeconds && probability >= (seconds >= languageSeconds ? plausible : likely);

/** True if text is confirmed although no detected language can be kept. */
export const mustChoose = (seconds: number): boolean => seconds >= languageSeconds;

/** Checks whether a turn is in another language than the stream so far. */
export class TurnLanguage {
  /** The language of the last check, if it was clearly another one. */
  #other: string | null = null;
  #settled = false;

  /** True if a check is due, given the seconds of the turn's audio so far. */
  isDue(seconds: number): boolean {
    return !this.#settled && seconds >= firstSeconds;
  }

  /**
   * Returns the turn's language, or null while it is uncertain. Two successive checks must find the same other
   * language, since from the beginning of a sentence Whisper may detect any.
   */
  check(probabilities: ReadonlyMap<string, number>, expected: string, seconds: number, isLast: boolean): string | null {
    const other = otherLanguage(probabilities, expected);
    const isEnough = isLast && seconds >= turnSeconds && this.#other === null;
    const changes = other !== null && (other === this.#other || isEnough);
    this.#other = other;
    const isPossible = (probabilities.get(expected) ?? 0) >= possible;
    this.#settled = changes || isPossible || isLast || seconds >= lastSeconds;
    if (changes) return other;
    return this.#settled || seconds >= waitSeconds ? expected : null;
  }
}
