/** The events of a live stream. Times are seconds from the first pushed sample. */
import type { OneheadError } from '../../errors.js';
import type { Word } from '../transcription/types.js';

interface OfTurn {
  /** Turns are numbered from 0. */
  turn: number;
}

/** Somebody starts to speak. */
export interface SpeechStarted extends OfTurn {
  type: 'speech-started';
  start: number;
}

/** The speech of a turn has ended; its `final` follows. */
export interface SpeechStopped extends OfTurn {
  type: 'speech-stopped';
  end: number;
}

/** A text's tokens and their log-probabilities, if `tokenLogProbabilities` is set. */
export interface TokenScores {
  tokens?: number[];
  logprobs?: number[];
}

/** Final text: it follows the confirmed text of the turn, and is never taken back. */
export interface Confirmed extends OfTurn, TokenScores {
  type: 'confirmed';
  text: string;
  words: Word[];
  /** Seconds of audio pushed after the audio that was decoded for this. */
  lag: number;
}

/** The text that probably follows the confirmed text; the next hypothesis replaces it. */
export interface Hypothesis extends OfTurn {
  type: 'partial';
  text: string;
  words: Word[];
  lag: number;
}

/** A whole turn. Its text is all its confirmed text. */
export interface Final extends OfTurn, TokenScores {
  type: 'final';
  start: number;
  end: number;
  text: string;
  words: Word[];
  /** A code, such as 'en'; null if the model is not multilingual. */
  language: string | null;
  lag: number;
}

/** A turn that could not be decoded further. `text` is its confirmed text. */
export interface Failed extends OfTurn {
  type: 'failed';
  text: string;
  error: OneheadError;
}

/** Audio that was dropped because the device is too slow. */
export interface Lost {
  type: 'lost';
  start: number;
  end: number;
}

export type LiveEvent = SpeechStarted | SpeechStopped | Confirmed | Hypothesis | Final | Failed | Lost;
