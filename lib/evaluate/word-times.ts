/** Computes the errors of word times against a reference. */
import type { TimedWord } from './alignments.js';
import { type NormalizerName, normalizers } from './normalize.js';

/**
 * The errors of a word that is in both texts, in seconds: positive if it starts or ends too late, negative if too
 * early, null if the transcription has no word boundary there.
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
  /** The shares of errors of at most 50, 100 and 200 ms. */
  within50: number;
  within: number;
  within200: number;
}

export interface WordTimes {
  /** The number of reference words, and of those among them that were found in the transcription. */
  words: number;
  matched: number;
  starts: TimeErrors;
  ends: TimeErrors;
}

/**
 * A part of a word after normalization. Parts are compared, since reference and transcription may divide words
 * differently ('cold-hearted', 'don't', Japanese).
 */
interface Token {
  text: string;
  word: number;
  first: boolean;
  last: boolean;
}

/** Scripts without spaces between words. */
const spacelessScripts =
  /[\p{Script=Han}\p{Script=Hiragana}\p{Script=Katakana}\p{Script=Thai}\p{Script=Lao}\p{Script=Myanmar}]/u;

function tokensOf(words: readonly TimedWord[], normalize: (text: string) => string): Token[] {
  return words.flatMap(({ word }, index) => {
    const parts = normalize(word)
      .split(/\s+/)
      .flatMap((part) => (spacelessScripts.test(part) ? [...part] : [part]))
      .filter((part) => part !== '');
    return parts.map((text, i) => ({ text, word: index, first: i === 0, last: i === parts.length - 1 }));
  });
}

/** The last step of an alignment: a pair of tokens, a token of the reference only, or one of the hypothesis only. */
const [pairStep, referenceStep, hypothesisStep] = [0, 1, 2];

/**
 * Aligns two texts by minimum edit distance, and returns the pairs of equal tokens. Among several alignments it chooses
 * the one whose pairs are closest in time. `distance` is in seconds. Needs a byte for each possible pair: 100 MB for
 * texts of an hour.
 */
function align(
  reference: readonly Token[],
  hypothesis: readonly Token[],
  distance: (a: Token, b: Token) => number,
): [Token, Token][] {
  const width = hypothesis.length + 1;
  const steps = new Uint8Array((reference.length + 1) * width);
  let previous = Float64Array.from({ length: width }, (_, i) => i);
  steps.fill(hypothesisStep, 1, width);
  let current = new Float64Array(width);
  reference.forEach((token, i) => {
    const row = (i + 1) * width;
    current[0] = i + 1;
    steps[row] = referenceStep;
    for (let j = 1; j < width; ++j) {
      const other = hypothesis[j - 1];
      // The weight of time is so small that all distances together are less than one error.
      const pair = previous[j - 1] + (token.text === other.text ? 1e-7 * Math.min(distance(token, other), 10) : 1);
      const [deletion, insertion] = [previous[j] + 1, current[j - 1] + 1];
      const best = Math.min(pair, deletion, insertion);
      current[j] = best;
      steps[row + j] = best === pair ? pairStep : best === deletion ? referenceStep : hypothesisStep;
    }
    [previous, current] = [current, previous];
  });
  const pairs: [Token, Token][] = [];
  for (let i = reference.length, j = hypothesis.length; i > 0 || j > 0; ) {
    const step = steps[i * width + j];
    if (step === pairStep && reference[i - 1].text === hypothesis[j - 1].text) {
      pairs.push([reference[i - 1], hypothesis[j - 1]]);
    }
    if (step !== hypothesisStep) --i;
    if (step !== referenceStep) --j;
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
  const pairs = align(tokensOf(reference, normalize), tokensOf(words, normalize), (a, b) =>
    Math.abs(middle(reference[a.word]) - middle(words[b.word])),
  );
  const errors = new Map<number, WordTimeError>();
  for (const [a, b] of pairs) {
    const [expected, actual] = [reference[a.word], words[b.word]];
    const error = errors.get(a.word) ?? { word: expected.word, start: null, end: null };
    errors.set(a.word, error);
    if (a.first && b.first) error.start = actual.start - expected.start;
    if (a.last && b.last) error.end = actual.end - expected.end;
  }
  return [...errors.values()];
}

function summary(errors: readonly (number | null)[]): TimeErrors {
  const known = errors.filter((error) => error !== null);
  const mean = (value: (error: number) => number) => known.reduce((sum, error) => sum + value(error), 0) / known.length;
  // Times are multiples of 10 ms, so the tolerance includes errors that equal the limit.
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
