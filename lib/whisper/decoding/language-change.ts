/**
 * Recordings in more than one language: detects whether a window, or a part of its text, is in another language than
 * expected.
 */
import type { EncodedWindow } from '../../engine/tasks.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { Search, SearchResult } from '../model/search.js';
import { compressionRatio } from './compression.js';
import type { SearchAttempt } from './fallback.js';
import { windowLanguages } from './window-languages.js';

/**
 * A part is in another language if that one is at least as probable as the first number, and the expected one less
 * probable than the second.
 */
const [likely, unlikely] = [0.7, 0.1];
/** If the expected language has at least this probability in a window, the whole window is in that language. */
const certain = 0.95;
/** The minimum seconds of audio for which a language is detected. */
const minimumSeconds = 1;

/** Languages that Whisper confuses, since they sound alike. Changes between them are ignored. */
const confused = [
  'hi ur',
  'no nn da',
  'hr bs sr sl',
  'id ms jw su',
  'pt gl es ca oc',
  'zh yue',
  'ru be uk',
  'cs sk',
  'bg mk',
  'nl af',
  'de lb yi',
  'tr az tk',
  'tt ba kk',
  'fa tg',
  'it la',
  'is fo',
].map((codes) => codes.split(' '));

/** Returns the language that is clearly more probable than `expected`; null if there is none. */
export function otherLanguage(probabilities: ReadonlyMap<string, number>, expected: string): string | null {
  const [language, probability] = likeliestLanguage(probabilities);
  const isClear = probability >= likely && (probabilities.get(expected) ?? 0) < unlikely;
  if (language === expected || !isClear) return null;
  return confused.some((codes) => codes.includes(language) && codes.includes(expected)) ? null : language;
}

/** A part of a window's text and its audio, in seconds from the start of the window. */
export interface TextPart {
  start: number;
  end: number;
  tokens: readonly number[];
}

/** The position in a window's text where another language begins. */
export interface LanguageChange {
  /** Seconds from the start of the window. */
  at: number;
  /** The number of tokens before the change. */
  tokens: number;
  language: string;
}

/** A window that is checked for a change of language. */
export interface LanguageWindow {
  window: EncodedWindow<Search, SearchResult>;
  checkpoint: Checkpoint;
  /** The probability of each language in the whole window. */
  probabilities: ReadonlyMap<string, number>;
  /** The language in which the window was decoded. */
  expected: string;
  /** The candidate languages. Default: all. */
  among?: readonly string[];
}

/**
 * Finds the position where the text changes to another language: 0 if the text begins in it, null if there is no
 * change. `failed` is true if the text fails the thresholds or cannot be split into parts.
 */
export async function languageChange(
  { window, checkpoint, probabilities, expected, among }: LanguageWindow,
  parts: readonly TextPart[],
  failed: boolean,
): Promise<LanguageChange | null> {
  if (!failed && (probabilities.get(expected) ?? 0) >= certain) return null;
  const { config, preprocessor } = checkpoint;
  const perSecond = preprocessor.sampleRate / preprocessor.hop / 2;
  const positions = Math.min(window.slot.positions, config.sourcePositions);
  // The decoder attends only to the positions of each part, so the window is not encoded again.
  const partProbabilities = await Promise.all(
    parts.map(async ({ start, end }) => {
      const begin = Math.min(Math.round(start * perSecond), positions);
      const count = Math.min(Math.round(end * perSecond), positions) - begin;
      if (count < minimumSeconds * perSecond) return null;
      return windowLanguages(window, checkpoint, { among, part: { begin, positions: count } });
    }),
  );
  const languages = partProbabilities.map((part) => part && otherLanguage(part, expected));
  let first = languages.findIndex((language) => language !== null);
  if (first < 0) {
    const windowLanguage = otherLanguage(probabilities, expected);
    const applies = windowLanguage !== null && (failed || parts.length === 0);
    return applies ? { at: 0, tokens: 0, language: windowLanguage } : null;
  }
  const language = languages[first]!;
  // Directly preceding parts in which the expected language is improbable are in the other language too.
  const isImprobable = (part: Map<string, number> | null) => part !== null && (part.get(expected) ?? 0) < unlikely;
  while (first > 0 && isImprobable(partProbabilities[first - 1])) first -= 1;
  const tokens = parts.slice(0, first).reduce((count, part) => count + part.tokens.length, 0);
  return { at: first === 0 ? 0 : parts[first].start, tokens, language };
}

/** Returns the part of an attempt before a change of language. */
export function attemptBefore<T extends SearchAttempt>(
  attempt: T,
  { tokens: count }: LanguageChange,
  textOf: (tokens: readonly number[]) => string,
): T {
  // Tokens of the prefix have no log-probabilities.
  const prefix = attempt.tokens.length - attempt.logProbabilities.length + Number(attempt.ended);
  const generated = Math.max(0, count - prefix);
  const tokens = attempt.tokens.slice(0, count);
  const logProbabilities = attempt.logProbabilities.slice(0, generated);
  const sum = logProbabilities.reduce((a, b) => a + b, 0);
  return {
    ...attempt,
    tokens,
    logProbabilities,
    sum,
    ended: false,
    averageLogProbability: sum / (generated + 1),
    compressionRatio: compressionRatio(textOf(tokens).trim()),
    ...(attempt.top && { top: attempt.top.slice(0, generated) }),
    ...(attempt.times && { times: attempt.times.slice(0, count + 1) }),
    ...(attempt.ends && { ends: attempt.ends.slice(0, count) }),
  };
}
