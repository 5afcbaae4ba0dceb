/**
 * Recordings in more than one language: whether a window, or a part of its text, is in another one than was found
 * before.
 */
import type { EncodedWindow } from '../../engine/tasks.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { Found, Search } from '../model/search.js';
import { compressionRatio } from './compression.js';
import type { Attempt } from './fallback.js';
import { windowLanguages } from './window-languages.js';

/** Another language is one of at least this probability, while the one that was expected has less than that. */
const [likely, unlikely] = [0.7, 0.1];
/** A window whose language is surer than this is in that language throughout. */
const sure = 0.95;
/** Seconds of sound that a language can be told of. */
const tellingSeconds = 1;

/**
 * Languages that Whisper takes for one another, since they are spoken alike: a recording in one of them is not taken
 * for one in two.
 */
const alike = [
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

/** The language that `probabilities` clearly tell of instead of `expected`; null where they do not. */
export function otherLanguage(probabilities: ReadonlyMap<string, number>, expected: string): string | null {
  const [found, probability] = likeliestLanguage(probabilities);
  const clear = probability >= likely && (probabilities.get(expected) ?? 0) < unlikely;
  if (found === expected || !clear) return null;
  return alike.some((codes) => codes.includes(found) && codes.includes(expected)) ? null : found;
}

/** A part of a window's text: its tokens, and where they are heard, in seconds from the window's start. */
export interface TextPart {
  start: number;
  end: number;
  tokens: readonly number[];
}

/** Where in a window's text another language begins. */
export interface LanguageChange {
  /** Seconds from the window's start. */
  at: number;
  /** Tokens before it. */
  tokens: number;
  language: string;
}

/** What is looked at for a change of language. */
export interface LanguageWindow {
  window: EncodedWindow<Search, Found>;
  checkpoint: Checkpoint;
  /** How probable each language is in the whole of it. */
  probabilities: ReadonlyMap<string, number>;
  /** The language of the text. */
  expected: string;
  /** The languages that come into question; all unless given. */
  among?: readonly string[];
}

/** Finds where the text turns to another language: at 0 where it begins with it. Null where it does not. */
export async function languageChange(
  { window, checkpoint, probabilities, expected, among }: LanguageWindow,
  parts: readonly TextPart[],
  failed: boolean,
): Promise<LanguageChange | null> {
  if (!failed && (probabilities.get(expected) ?? 0) >= sure) return null;
  const { config, preprocessor } = checkpoint;
  const perSecond = preprocessor.sampleRate / preprocessor.hop / 2;
  const positions = Math.min(window.slot.positions, config.sourcePositions);
  // The decoder hears a part's own positions alone, so the window need not be encoded again.
  const found = await Promise.all(
    parts.map(async ({ start, end }) => {
      const begin = Math.min(Math.round(start * perSecond), positions);
      const count = Math.min(Math.round(end * perSecond), positions) - begin;
      if (count < tellingSeconds * perSecond) return null;
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
  // What comes before and is certainly not in the expected language belongs to the other one.
  while (first > 0 && found[first - 1] && (found[first - 1]!.get(expected) ?? 0) < unlikely) first -= 1;
  const tokens = parts.slice(0, first).reduce((count, part) => count + part.tokens.length, 0);
  return { at: first === 0 ? 0 : parts[first].start, tokens, language };
}

/** What of an attempt comes before a change of language. */
export function before<T extends Attempt>(
  attempt: T,
  { tokens: count }: LanguageChange,
  textOf: (tokens: readonly number[]) => string,
): T {
  // Tokens that the text was told to begin with have no probabilities.
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
