/** The events of a live stream. Times are seconds from the first sample that was pushed. */
import type { OneheadError } from '../../errors.js';
import type { Word } from '../transcription/types.js';

interface OfTurn {
  /** Turns are numbered from 0. */
  turn: number;
}

/** Somebody begins to speak. */
export interface SpeechStarted extends OfTurn {
  type: 'speech-started';
  start: number;
}

/** The speech of a turn has ended; its `final` follows. */
export interface SpeechStopped extends OfTurn {
  type: 'speech-stopped';
  end: number;
}

/** Tokens of a text and the log-probability of each, where `tokenLogProbabilities` asks for them. */
export interface TokenScores {
  tokens?: number[];
  logprobs?: number[];
}

/** Text that is sure: it follows what was confirmed of the turn before, and is never taken back. */
export interface Confirmed extends OfTurn, TokenScores {
  type: 'confirmed';
  text: string;
  words: Word[];
  /** Seconds of audio that had been pushed behind what this was found in. */
  lag: number;
}

/** The text that probably follows the confirmed text; the next hypothesis replaces it. */
export interface Hypothesis extends OfTurn {
  type: 'partial';
  text: string;
  words: Word[];
  lag: number;
}

/** A whole turn. Its text is all that was confirmed of it. */
export interface Final extends OfTurn, TokenScores {
  type: 'final';
  start: number;
  end: number;
  text: string;
  words: Word[];
  /** A code, such as 'en'; null where the model knows no languages. */
  language: string | null;
  lag: number;
}

/** A turn that could not be decoded further. `text` is what was confirmed of it. */
export interface Failed extends OfTurn {
  type: 'failed';
  text: string;
  error: OneheadError;
}

/** Audio that was given up, since the device was too slow for it. */
export interface Lost {
  type: 'lost';
  start: number;
  end: number;
}

export type LiveEvent = SpeechStarted | SpeechStopped | Confirmed | Hypothesis | Final | Failed | Lost;
