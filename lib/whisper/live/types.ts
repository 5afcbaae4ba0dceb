/** The events of a live stream. Times are seconds from the first pushed sample. */
import type { OneheadError } from '../../errors.js';
import type { Word } from '../transcription/types.js';

interface TurnEvent {
  /** The number of the turn, from 0. */
  turn: number;
}

/** Speech begins. */
export interface SpeechStarted extends TurnEvent {
  type: 'speech-started';
  start: number;
}

/** The speech of a turn has ended; its `final` follows. */
export interface SpeechStopped extends TurnEvent {
  type: 'speech-stopped';
  end: number;
}

/** A text's tokens and their log-probabilities, if `tokenLogProbabilities` is set. */
export interface TokenScores {
  tokens?: number[];
  logprobs?: number[];
}

/** Text that is appended to the turn's confirmed text, and will not change. */
export interface Confirmed extends TurnEvent, TokenScores {
  type: 'confirmed';
  text: string;
  words: Word[];
  /** Seconds of audio that were pushed, but not included in this decoding. */
  lag: number;
}

/** The hypothesis after the confirmed text; the next one replaces it. */
export interface Hypothesis extends TurnEvent {
  type: 'partial';
  text: string;
  words: Word[];
  lag: number;
}

/** A complete turn. Its text is all its confirmed text. */
export interface Final extends TurnEvent, TokenScores {
  type: 'final';
  start: number;
  end: number;
  text: string;
  words: Word[];
  /** A code, such as 'en'; null if the model is not multilingual. */
  language: string | null;
  lag: number;
}

/** A turn whose decoding failed. `text` is its confirmed text. */
export interface Failed extends TurnEvent {
  type: 'failed';
  text: string;
  error: OneheadError;
}

/** Audio that was dropped since more than `maximumLag` seconds were waiting. */
export interface Lost {
  type: 'lost';
  start: number;
  end: number;
}

export type LiveEvent = SpeechStarted | SpeechStopped | Confirmed | Hypothesis | Final | Failed | Lost;
