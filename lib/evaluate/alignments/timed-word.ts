/** Types shared by the readers of alignments. */
import { OneheadError } from '../../errors.js';

/** A word and its times, in seconds from the start of the recording. */
export interface TimedWord {
  word: string;
  start: number;
  end: number;
}

export interface AlignmentOptions {
  /** The TextGrid tier of words. By default the one named "words", or the only one. */
  tier?: string;
  /** The recording whose words are read from a CTM file of several: its name without folder and extension. */
  recording?: string;
  /** If true, a CTM file of a single recording is only read if that is `recording`. */
  named?: boolean;
}

export const invalidAlignment = (message: string) => new OneheadError('INVALID_ARGUMENT', message);
