/** Temperature fallback: openai/whisper's decode_with_fallback. */
import type { Written } from '../../engine/runtime.js';
import type { EncodedWindow, SearchOptions } from '../../engine/tasks.js';
import { OneheadError } from '../../errors.js';
import { likeliest, type Search, type SearchResult } from '../model/search.js';
import { compressionRatio } from './compression.js';
import { behindGiven, type GivenTokens, withGiven } from './given-tokens.js';
import { foundSoFar, isEndless, leastRepeated, Repetition } from './repetition.js';
import type { Decoding } from './resolve.js';

/** The text of a window at one temperature. */
export interface SearchAttempt extends SearchResult {
  temperature: number;
  /** Mean log-probability of the tokens and the end token, as openai/whisper counts it. */
  averageLogProbability: number;
  compressionRatio: number;
  /** True if the voice detector hears nobody, and the model is not certain enough of the opposite. */
  silent?: boolean;
}

/** Limits that a text must keep; null: none. */
export type Thresholds = Pick<Decoding, 'compressionRatioThreshold' | 'logProbabilityThreshold'>;

/** True if a text repeats itself or is too unlikely. */
export function isDoubtful(
  { compressionRatio, averageLogProbability }: Pick<SearchAttempt, 'compressionRatio' | 'averageLogProbability'>,
  { compressionRatioThreshold, logProbabilityThreshold }: Thresholds,
): boolean {
  const repetitive = compressionRatioThreshold !== null && compressionRatio > compressionRatioThreshold;
  const improbable = logProbabilityThreshold !== null && averageLogProbability < logProbabilityThreshold;
  return repetitive || improbable;
}

/** True if the next temperature is to be tried. */
export function needsFallback(
  attempt: Pick<SearchAttempt, 'compressionRatio' | 'averageLogProbability' | 'noSpeechProbability'>,
  limits: Thresholds & Pick<Decoding, 'noSpeechThreshold'>,
): boolean {
  return !isSilent(attempt, limits) && isDoubtful(attempt, limits);
}

/** True if silence is probable and the text is not. Such a window is not decoded again. */
function isSilent(
  { noSpeechProbability, averageLogProbability }: Pick<SearchAttempt, 'averageLogProbability' | 'noSpeechProbability'>,
  { logProbabilityThreshold, noSpeechThreshold }: Pick<Decoding, 'logProbabilityThreshold' | 'noSpeechThreshold'>,
): boolean {
  return (
    noSpeechThreshold !== null &&
    logProbabilityThreshold !== null &&
    noSpeechProbability > noSpeechThreshold &&
    averageLogProbability < logProbabilityThreshold
  );
}

/** The searches for one temperature: one beam search, or `bestOf` samples. */
export function searchesAt(
  temperature: number,
  turn: number,
  begin: WindowBegin,
  seed: number,
  decoding: Decoding,
): Search[] {
  const { beamSize, bestOf, patience, lengthPenalty, repetitionPenalty, noRepeatNgramSize, top, words, suppressed } =
    decoding;
  const sequences = temperature === 0 ? 1 : bestOf;
  const beams = temperature === 0 ? beamSize : 1;
  const { draft, ...plain } = begin;
  // Neighbouring windows and temperatures get seeds far apart (the factors are primes); samples get neighbouring seeds,
  // since the noise hashes the seed.
  const first = (decoding.seed + 7919 * turn + 104729 * seed) * bestOf;
  return Array.from({ length: sequences }, (_, sequence) => ({
    ...(beams === 1 ? begin : plain),
    beams,
    temperature,
    seed: (first + sequence) | 0,
    patience,
    lengthPenalty,
    repetitionPenalty,
    noRepeatNgramSize,
    suppressed,
    top,
    words,
  }));
}

/**
 * Refuses probabilities that are NaN: the text would be empty, like that of silence. Throws OneheadError MODEL_INVALID.
 */
export function checkFinite({ logProbabilities, noSpeechProbability }: SearchResult): void {
  if ([...logProbabilities, noSpeechProbability].every(Number.isFinite)) return;
  throw new OneheadError(
    'MODEL_INVALID',
    "The model's numbers overflow, so no text can come of them; load it with dtype 'float32', or, where that does not help, export it again.",
  );
}

/** The start of a window's searches, which does not depend on the temperature. */
export type WindowBegin = Pick<
  Search,
  'prompt' | 'prefix' | 'draft' | 'startIndex' | 'minimum' | 'maximum' | 'timestamps' | 'frames' | 'startLogits'
>;

/** Callbacks while a window is searched. */
export interface FallbackCalls {
  onTokens?: (tokens: number[]) => void;
  onFallback?: () => void;
  /** Decides whether the next temperature is tried after a text has failed. It is tried unless this returns false. */
  tryNextTemperature?: (attempt: SearchAttempt) => boolean;
  /** The part of the text that the caller has already published. */
  given?: GivenTokens;
}

/**
 * Searches a window, and repeats it at the next temperature while the text fails the thresholds. `seed` is the window's
 * own.
 */
export async function decodeWithFallback(
  window: EncodedWindow<Search, SearchResult>,
  begin: WindowBegin,
  seed: number,
  decoding: Decoding,
  textOf: (tokens: readonly number[]) => string,
  { onTokens, onFallback, tryNextTemperature, given }: FallbackCalls = {},
): Promise<SearchAttempt> {
  const { temperatures, compressionRatioThreshold } = decoding;
  for (const [turn, temperature] of temperatures.entries()) {
    const prefix = begin.prefix?.length ?? 0;
    const own = behindGiven(begin, given);
    const before = own === begin ? [] : [...given!.logProbabilities];
    const searches = searchesAt(temperature, turn, own, seed, decoding);
    const isLast = turn === temperatures.length - 1;
    // With several candidates it is not known which will win.
    const alone = searches.length === 1 && searches[0].beams === 1;
    const attemptOf = (found: SearchResult): SearchAttempt => ({
      ...found,
      temperature,
      averageLogProbability: found.sum / (found.tokens.length - prefix + 1),
      compressionRatio: compressionRatio(textOf(found.tokens).trim()),
    });
    const show: SearchOptions['onTokens'] = (tokens, written) => {
      onTokens?.(tokens);
      if (alone) given?.show({ ...written, logProbabilities: [...before, ...written.logProbabilities] });
    };
    /** Ends a search that repeats itself, if its text would not be kept anyway. */
    const endRepetition = (written: Written) => {
      const found = foundSoFar(written);
      const attempt = attemptOf(found);
      if (!isEndless(attempt.compressionRatio, compressionRatioThreshold!)) return;
      if (needsFallback(attempt, decoding) && tryNextTemperature?.(attempt) !== false) throw new Repetition(found);
    };
    /** Each search takes rows as they come free. The text that is reported is the first one's. */
    const searchOne = async (search: Search, index: number): Promise<SearchResult> => {
      const isShown = index === 0 && (onTokens !== undefined || (given !== undefined && alone));
      const isChecked = !isLast && search.beams === 1 && compressionRatioThreshold !== null;
      if (!isShown && !isChecked) return window.search(search);
      const watch: SearchOptions['onTokens'] = (tokens, written) => {
        if (isShown) show(tokens, written);
        if (isChecked && written.logProbabilities.length >= leastRepeated) endRepetition(written);
      };
      try {
        return await window.search(search, { onTokens: watch, watchFrom: isShown ? 0 : leastRepeated });
      } catch (error) {
        if (error instanceof Repetition) return error.found;
        throw error;
      }
    };
    const all = await Promise.all(searches.map(searchOne));
    const found = all.map((one) => withGiven(one, prefix, own.prefix ?? [], before));
    for (const one of found) checkFinite(one);
    const attempt = attemptOf(likeliest(found, decoding.lengthPenalty));
    if (isLast || !needsFallback(attempt, decoding) || tryNextTemperature?.(attempt) === false) return attempt;
    onFallback?.();
  }
  throw new Error('There are no temperatures.');
}
