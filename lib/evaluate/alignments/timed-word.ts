/** Types that the readers of alignments share. */
import { OneheadError } from '../../errors.js';

/** A word and when it was said, in seconds from the recording's start. */
export interface TimedWord {
  word: string;
  start: number;
  end: number;
}

export interface AlignmentOptions {
  /** The TextGrid tier of words. By default the one named "words", or the only one. */
  tier?: string;
  /** The recording whose words are read from a CTM file of several: its name without folder and ending. */
  recording?: string;
  /** True if a file of one recording is only read for the recording of that name. */
  named?: boolean;
}

export const invalidAlignment = (sentence: string) => new OneheadError('INVALID_ARGUMENT', sentence);
