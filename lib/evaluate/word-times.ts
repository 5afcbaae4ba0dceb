/** Computes the errors of word times against a reference. */
import type { TimedWord } from './alignments.js';
import { type NormalizerName, normalizers } from './normalize.js';

/**
 * The errors of a word that is in both texts, in seconds: positive if it starts or ends too late, negative if too
 * early, null if the other text has no word boundary there.
 */
export interface WordTimeError {
  word: string;
  start: number | null;
  end: number | null;
}

/** Errors of starts or of ends. Means are NaN if there are no errors. */
export interface TimeErrors {
  count: number;
  /** Mean of the signed errors, seconds. */
  bias: number;
  /** Mean of the absolute errors, seconds. */
  mean: number;
  /** The shares with errors of at most 50, 100 and 200 ms. */
  within50: number;
  within: number;
  within200: number;
}

export interface WordTimes {
  /** Words of the reference, and those of them that were found in the transcription. */
  words: number;
  matched: number;
  starts: TimeErrors;
  ends: TimeErrors;
}

/** A part of a word. Parts are compared because texts divide words differently ('cold-hearted', 'don't', Japanese). */
interface Token {
  text: string;
  word: number;
  first: boolean;
  last: boolean;
}

const spaceless =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Myanmar}]/u;

function tokensOf(words: readonly TimedWord[], normalize: (text: string) => string): Token[] {
  return words.flatMap(({ word }, index) => {
    const parts = normalize(word)
      .split(/\s+/)
      .flatMap((part) => (spaceless.test(part) ? [...part] : [part]))
      .filter((part) => part !== '');
    return parts.map((text, i) => ({ text, word: index, first: i === 0, last: i === parts.length - 1 }));
  });
}

/**
 * Aligns the texts by minimum edit distance and returns the pairs of equal tokens. Among alignments of equal distance
 * it takes the one whose pairs are closest in time. Needs a byte for each possible pair: 100 MB for texts of an hour.
 */
function matches(
  reference: readonly Token[],
  heard: readonly Token[],
  distance: (a: Token, b: Token) => number,
): [Token, Token][] {
  const width = heard.length + 1;
  const ways = new Uint8Array((reference.length + 1) * width); // 0: both tokens, 1: only the reference's, 2: only the heard one
  let before = Float64Array.from({ length: width }, (_, i) => i);
  ways.fill(2, 1, width);
  let now = new Float64Array(width);
  reference.forEach((token, i) => {
    const row = (i + 1) * width;
    now[0] = i + 1;
    ways[row] = 1;
    for (let j = 1; j < width; ++j) {
      const other = heard[j - 1];
      // The weight of seconds is so small that their sum stays below one error.
      const both = before[j - 1] + (token.text === other.text ? 1e-7 * Math.min(distance(token, other), 10) : 1);
      const [one, two] = [before[j] + 1, now[j - 1] + 1];
      const best = Math.min(both, one, two);
      now[j] = best;
      ways[row + j] = best === both ? 0 : best === one ? 1 : 2;
    }
    [before, now] = [now, before];
  });
  const pairs: [Token, Token][] = [];
  for (let i = reference.length, j = heard.length; i > 0 || j > 0; ) {
    const way = ways[i * width + j];
    if (way === 0 && reference[i - 1].text === heard[j - 1].text) pairs.push([reference[i - 1], heard[j - 1]]);
    if (way !== 2) --i;
    if (way !== 1) --j;
  }
  return pairs.reverse();
}

/** The time errors of each word that is in both texts after normalization. */
export function wordTimeErrors(
  reference: readonly TimedWord[],
  words: readonly TimedWord[],
  normalizer: NormalizerName = 'basic',
): WordTimeError[] {
  const normalize = normalizers[normalizer];
  const middle = ({ start, end }: TimedWord) => (start + end) / 2;
  const pairs = matches(tokensOf(reference, normalize), tokensOf(words, normalize), (a, b) =>
    Math.abs(middle(reference[a.word]) - middle(words[b.word])),
  );
  const errors = new Map<number, WordTimeError>();
  for (const [a, b] of pairs) {
    const [wanted, got] = [reference[a.word], words[b.word]];
    const error = errors.get(a.word) ?? { word: wanted.word, start: null, end: null };
    errors.set(a.word, error);
    if (a.first && b.first) error.start = got.start - wanted.start;
    if (a.last && b.last) error.end = got.end - wanted.end;
  }
  return [...errors.values()];
}

function summary(errors: readonly (number | null)[]): TimeErrors {
  const known = errors.filter((error) => error !== null);
  const mean = (value: (error: number) => number) => known.reduce((sum, error) => sum + value(error), 0) / known.length;
  // Times are rounded to hundredths, so an error of exactly 100 ms counts as within.
  const within = (limit: number) => mean((error) => Number(Math.abs(error) <= limit + 1e-9));
  return {
    count: known.length,
    bias: mean((error) => error),
    mean: mean(Math.abs),
    within50: within(0.05),
    within: within(0.1),
    within200: within(0.2),
  };
}

/** Summarizes errors. `words` is the number of reference words, found or not. */
export function summarizeWordTimes(errors: readonly WordTimeError[], words: number): WordTimes {
  return {
    words,
    matched: errors.length,
    starts: summary(errors.map(({ start }) => start)),
    ends: summary(errors.map(({ end }) => end)),
  };
}
