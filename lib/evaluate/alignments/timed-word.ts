/** Shared by the readers of alignments. */
import { OneheadError } from '../../errors.js';

/** A word and when it was said, in seconds from the recording's start. */
export interface TimedWord {
  word: string;
  start: number;
  end: number;
}

export interface AlignmentOptions {
  /** The tier of a TextGrid that holds words; the one named words, or the only one, where it is not given. */
  tier?: string;
  /** The recording whose words are wanted where a CTM file has several: its name without folder and ending. */
  recording?: string;
  /** True where a file that has one recording's words under another name is not meant. */
  named?: boolean;
}

export const invalidAlignment = (sentence: string) => new OneheadError('INVALID_ARGUMENT', sentence);
