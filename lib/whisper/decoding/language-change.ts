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
 * A part is in another language if that one is at least this probable, and the expected one less probable than the
 * second number.
 */
const [likely, unlikely] = [0.7, 0.1];
/** Above this probability of its language, a window is in that language throughout. */
const sure = 0.95;
/** The least seconds of sound in which a language can be detected. */
const minimumSeconds = 1;

/** Languages that Whisper confuses, since they sound alike. A change between them is not believed. */
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

/** The language that `probabilities` clearly favour over `expected`; null if there is none. */
export function otherLanguage(probabilities: ReadonlyMap<string, number>, expected: string): string | null {
  const [found, probability] = likeliestLanguage(probabilities);
  const clear = probability >= likely && (probabilities.get(expected) ?? 0) < unlikely;
  if (found === expected || !clear) return null;
  return confused.some((codes) => codes.includes(found) && codes.includes(expected)) ? null : found;
}

/** A part of a window's text: its tokens, and where they are heard, in seconds from the window's start. */
export interface TextPart {
  start: number;
  end: number;
  tokens: readonly number[];
}

/** The place in a window's text where another language begins. */
export interface LanguageChange {
  /** Seconds from the window's start. */
  at: number;
  /** Tokens before it. */
  tokens: number;
  language: string;
}

/** The window that is checked for a change of language. */
export interface LanguageWindow {
  window: EncodedWindow<Search, SearchResult>;
  checkpoint: Checkpoint;
  /** The probability of each language in the whole window. */
  probabilities: ReadonlyMap<string, number>;
  /** The language of the text. */
  expected: string;
  /** The candidate languages; all unless given. */
  among?: readonly string[];
}

/** Finds where the text changes to another language: 0 if it begins with it, null if it does not change. */
export async function languageChange(
  { window, checkpoint, probabilities, expected, among }: LanguageWindow,
  parts: readonly TextPart[],
  failed: boolean,
): Promise<LanguageChange | null> {
  if (!failed && (probabilities.get(expected) ?? 0) >= sure) return null;
  const { config, preprocessor } = checkpoint;
  const perSecond = preprocessor.sampleRate / preprocessor.hop / 2;
  const positions = Math.min(window.slot.positions, config.sourcePositions);
  // The decoder attends only to the part's own positions, so the window is not encoded again.
  const found = await Promise.all(
    parts.map(async ({ start, end }) => {
      const begin = Math.min(Math.round(start * perSecond), positions);
      const count = Math.min(Math.round(end * perSecond), positions) - begin;
      if (count < minimumSeconds * perSecond) return null;
      return windowLanguages(window, checkpoint, { among, part: { begin, positions: count } });
    }),
  );
  const others = found.map((one) => one && otherLanguage(one, expected));
  let first = others.findIndex((one) => one !== null);
  if (first < 0) {
    const whole = otherLanguage(probabilities, expected);
    return whole !== null && (failed || parts.length === 0) ? { at: 0, tokens: 0, language: whole } : null;
  }
  const language = others[first]!;
  // Earlier parts that are certainly not in the expected language belong to the other one.
  while (first > 0 && found[first - 1] && (found[first - 1]!.get(expected) ?? 0) < unlikely) first -= 1;
  const tokens = parts.slice(0, first).reduce((count, part) => count + part.tokens.length, 0);
  return { at: first === 0 ? 0 : parts[first].start, tokens, language };
}

/** The part of an attempt before a change of language. */
export function attemptBefore<T extends SearchAttempt>(
  attempt: T,
  { tokens: count }: LanguageChange,
  textOf: (tokens: readonly number[]) => string,
): T {
  // Tokens of the prefix have no probabilities.
  const given = attempt.tokens.length - attempt.logProbabilities.length + Number(attempt.ended);
  const generated = Math.max(0, count - given);
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
