/** How far words' times are from those of an alignment. */
import type { TimedWord } from './alignments.js';
import { normalizeBasic } from './normalize.js';

/** Seconds by which a word that both have begins and ends too late; negative: too early. */
export interface WordTimeError {
  word: string;
  start: number;
  end: number;
}

/** Of starts, or of ends. */
export interface TimeErrors {
  /** Mean of the signed errors, seconds. */
  bias: number;
  /** Mean of their sizes, seconds. */
  mean: number;
  /** Share that is at most 100 ms off. */
  within: number;
}

export interface WordTimes {
  /** Words of the alignments, and those of them that were found in the text. */
  words: number;
  matched: number;
  starts: TimeErrors;
  ends: TimeErrors;
}

/** Pairs of places of the longest common subsequence, in order. */
export function matchWords(reference: readonly string[], hypothesis: readonly string[]): [number, number][] {
  const width = hypothesis.length + 1;
  const lengths = Array.from({ length: reference.length + 1 }, () => new Uint32Array(width));
  for (let i = reference.length - 1; i >= 0; --i) {
    for (let j = hypothesis.length - 1; j >= 0; --j) {
      const same = reference[i] === hypothesis[j];
      lengths[i][j] = same ? lengths[i + 1][j + 1] + 1 : Math.max(lengths[i + 1][j], lengths[i][j + 1]);
    }
  }
  const pairs: [number, number][] = [];
  for (let i = 0, j = 0; i < reference.length && j < hypothesis.length; ) {
    if (reference[i] === hypothesis[j]) pairs.push([i++, j++]);
    else if (lengths[i + 1][j] >= lengths[i][j + 1]) ++i;
    else ++j;
  }
  return pairs;
}

const letters = ({ word }: { word: string }): string => normalizeBasic(word).replace(/\s+/g, '');

/** The errors of each word that stands in both, compared without case and punctuation. */
export function wordTimeErrors(reference: readonly TimedWord[], words: readonly TimedWord[]): WordTimeError[] {
  const said = words.filter((word) => letters(word) !== '');
  return matchWords(reference.map(letters), said.map(letters)).map(([i, j]) => ({
    word: reference[i].word,
    start: said[j].start - reference[i].start,
    end: said[j].end - reference[i].end,
  }));
}

function summary(errors: readonly number[]): TimeErrors {
  const mean = (values: readonly number[]) => values.reduce((sum, value) => sum + value, 0) / values.length;
  const sizes = errors.map(Math.abs);
  // Times are written in hundredths: what is 100 ms off to the digit counts as within.
  return { bias: mean(errors), mean: mean(sizes), within: mean(sizes.map((size) => Number(size <= 0.1 + 1e-9))) };
}

/** `words`: of the alignments, found or not. Without any errors the means are not a number. */
export function summarizeWordTimes(errors: readonly WordTimeError[], words: number): WordTimes {
  return {
    words,
    matched: errors.length,
    starts: summary(errors.map(({ start }) => start)),
    ends: summary(errors.map(({ end }) => end)),
  };
}
