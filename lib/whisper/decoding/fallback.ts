/** Temperature fallback: openai/whisper's decode_with_fallback. */
import type { Written } from '../../engine/runtime.js';
import type { EncodedWindow, SearchOptions } from '../../engine/tasks.js';
import { OneheadError } from '../../errors.js';
import { likeliest, type Search, type SearchResult } from '../model/search.js';
import { compressionRatio } from './compression.js';
import { afterPublished, type PublishedText, withPublished } from './published-text.js';
import { isLooping, minimumLoopTokens, partialResult } from './repetition.js';
import type { Decoding } from './resolve.js';

/** The text of a window at one temperature. */
export interface SearchAttempt extends SearchResult {
  temperature: number;
  /** Mean log-probability of the tokens and the end token, as computed by openai/whisper. */
  averageLogProbability: number;
  compressionRatio: number;
  /** True if the voice detector finds no speech and the model's text is not certain enough. */
  silent?: boolean;
}

/** Thresholds that a text must pass; null for none. */
export type Thresholds = Pick<Decoding, 'compressionRatioThreshold' | 'logProbabilityThreshold'>;

/** True if a text is repetitive or too improbable. */
export function isDoubtful(
  { compressionRatio, averageLogProbability }: Pick<SearchAttempt, 'compressionRatio' | 'averageLogProbability'>,
  { compressionRatioThreshold, logProbabilityThreshold }: Thresholds,
): boolean {
  const repetitive = compressionRatioThreshold !== null && compressionRatio > compressionRatioThreshold;
  const improbable = logProbabilityThreshold !== null && averageLogProbability < logProbabilityThreshold;
  return repetitive || improbable;
}

/** True if the window should be decoded again at the next temperature. */
export function needsFallback(
  attempt: Pick<SearchAttempt, 'compressionRatio' | 'averageLogProbability' | 'noSpeechProbability'>,
  thresholds: Thresholds & Pick<Decoding, 'noSpeechThreshold'>,
): boolean {
  return !isSilent(attempt, thresholds) && isDoubtful(attempt, thresholds);
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
function searchesAt(
  temperature: number,
  temperatureIndex: number,
  begin: WindowBegin,
  seed: number,
  decoding: Decoding,
): Search[] {
  const { beamSize, bestOf, patience, lengthPenalty, repetitionPenalty, noRepeatNgramSize, top, words, suppressed } =
    decoding;
  const sequences = temperature === 0 ? 1 : bestOf;
  const beams = temperature === 0 ? beamSize : 1;
  const { draft, ...plain } = begin;
  // Samples have successive seeds, which are independent, since noise is a hash of the seed. The prime factors separate
  // the seeds of windows and temperatures.
  const first = (decoding.seed + 7919 * temperatureIndex + 104729 * seed) * bestOf;
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
 * Throws OneheadError MODEL_INVALID if probabilities are not finite. Otherwise the text would be empty, as for silence.
 */
export function checkFinite({ logProbabilities, noSpeechProbability }: SearchResult): void {
  if ([...logProbabilities, noSpeechProbability].every(Number.isFinite)) return;
  throw new OneheadError(
    'MODEL_INVALID',
    "The model's numbers overflow, so it gives no text; load it with dtype 'float32', or, if that does not help, export " +
      'it again.',
  );
}

/** The part of a window's searches that does not depend on the temperature. */
export type WindowBegin = Pick<
  Search,
  'prompt' | 'prefix' | 'draft' | 'startIndex' | 'minimum' | 'maximum' | 'timestamps' | 'frames' | 'startLogits'
>;

/** Callbacks of decoding a window. */
export interface FallbackCalls {
  onTokens?: (tokens: number[]) => void;
  onFallback?: () => void;
  /** Returns false if the next temperature should not be tried after a text has failed. */
  tryNextTemperature?: (attempt: SearchAttempt) => boolean;
  /** The part of the text that has been published. */
  published?: PublishedText;
}

/**
 * Decodes a window at the first temperature, and at the next one as long as the text fails the thresholds. `seed`
 * differs between windows, so that their samples do. Throws OneheadError MODEL_INVALID.
 */
export async function decodeWithFallback(
  window: EncodedWindow<Search, SearchResult>,
  begin: WindowBegin,
  seed: number,
  decoding: Decoding,
  textOf: (tokens: readonly number[]) => string,
  { onTokens, onFallback, tryNextTemperature, published }: FallbackCalls = {},
): Promise<SearchAttempt> {
  const { temperatures, compressionRatioThreshold } = decoding;
  for (const [index, temperature] of temperatures.entries()) {
    const prefix = begin.prefix?.length ?? 0;
    const searchBegin = afterPublished(begin, published);
    const publishedLogs = searchBegin === begin ? [] : [...published!.logProbabilities];
    const searches = searchesAt(temperature, index, searchBegin, seed, decoding);
    const isLast = index === temperatures.length - 1;
    // Of several candidates, the best one is not known before the end.
    const isSingle = searches.length === 1 && searches[0].beams === 1;
    const attemptOf = (result: SearchResult): SearchAttempt => ({
      ...result,
      temperature,
      averageLogProbability: result.sum / (result.tokens.length - prefix + 1),
      compressionRatio: compressionRatio(textOf(result.tokens).trim()),
    });
    const show: SearchOptions<SearchResult>['onTokens'] = (tokens, written) => {
      onTokens?.(tokens);
      if (!isSingle) return;
      published?.show({ ...written, logProbabilities: [...publishedLogs, ...written.logProbabilities] });
    };
    /** Ends a search whose text repeats itself, if the next temperature would be tried after it. */
    const untilRepetition = (written: Written): SearchResult | undefined => {
      if (written.logProbabilities.length < minimumLoopTokens) return undefined;
      const result = partialResult(written);
      const attempt = attemptOf(result);
      if (!isLooping(attempt.compressionRatio, compressionRatioThreshold!)) return undefined;
      return needsFallback(attempt, decoding) && tryNextTemperature?.(attempt) !== false ? result : undefined;
    };
    /** Runs a search. Only the text of the first one is reported while it grows. */
    const runSearch = (search: Search, searchIndex: number): Promise<SearchResult> => {
      const isShown = searchIndex === 0 && (onTokens !== undefined || (published !== undefined && isSingle));
      const isChecked = !isLast && search.beams === 1 && compressionRatioThreshold !== null;
      if (!isShown && !isChecked) return window.search(search);
      return window.search(search, {
        ...(isShown && { onTokens: show }),
        ...(isChecked && { until: untilRepetition }),
        watchFrom: isShown ? 0 : minimumLoopTokens,
      });
    };
    const results = (await Promise.all(searches.map(runSearch))).map((result) =>
      withPublished(result, prefix, searchBegin.prefix ?? [], publishedLogs),
    );
    for (const result of results) checkFinite(result);
    const attempt = attemptOf(likeliest(results, decoding.lengthPenalty));
    if (isLast || !needsFallback(attempt, decoding) || tryNextTemperature?.(attempt) === false) return attempt;
    onFallback?.();
  }
  throw new Error('There are no temperatures.');
}
