/** The public shapes of a transcription: OpenAI's verbose_json. */

import type { AudioTrack } from '../../audio/tracks.js';
import type { RankedTokens } from '../model/search.js';

/** A word, with the blank before it, and its times in seconds from the start of the audio. */
export interface Word {
  word: string;
  start: number;
  end: number;
  /** Mean probability of its tokens. */
  probability: number;
  /** The channel that it was said on, counted from 0, where channels were transcribed apart. */
  channel?: number;
}

/** A stretch of speech with its times, in seconds from the start of the audio. */
export interface Segment {
  id: number;
  /** The beginning of the segment's window, in frames of 10 ms. */
  seek: number;
  start: number;
  end: number;
  text: string;
  tokens: number[];
  temperature: number;
  avg_logprob: number;
  compression_ratio: number;
  no_speech_prob: number;
  /** The segment's language, if it is not the recording's, or was detected for each window or channel. */
  language?: string;
  /** The channel that it was said on, counted from 0, where channels were transcribed apart. */
  channel?: number;
  /** Present if times of words were requested. */
  words?: Word[];
  /** One for each of `tokens`, if requested; 0 for tokens that were given. */
  logprobs?: number[];
  /** The likeliest tokens at each of `tokens`' places, where they were asked for. */
  top_logprobs?: RankedTokens[];
}

/** A part of the recording of which no text was given out: seconds from the start of the audio. */
export interface Omission {
  start: number;
  end: number;
  /**
   * 'no speech': nobody speaks there, by `noSpeechRule`. 'known invention': what the option `dropInventions` leaves
   * out.
   */
  reason: 'no speech' | 'known invention';
  /** The text that the model wrote there; empty if it was not asked, or wrote nothing. */
  text: string;
  /** Present if channels were transcribed apart. */
  channel?: number;
}

/**
 * The result of `Whisper.transcribe`: the fields of OpenAI's verbose_json, as in openai/whisper. `formats.verbose_json`
 * writes the answer of OpenAI's server: there the language is a name, the text has no leading blank, and `usage` is
 * added.
 */
export interface Transcription {
  task: 'transcribe' | 'translate';
  /** A code, such as 'en': the language of the recording's beginning. */
  language: string;
  /** The end of the audio in seconds: its length and its start time; with `clips`, the end of what was read. */
  duration: number;
  /** The segments' texts as they were decoded, with the blank before the first. */
  text: string;
  segments: Segment[];
  /** The audio tracks of a file that has several; the one that was heard is `chosen`. */
  tracks?: AudioTrack[];
  /** Parts whose text was left out because nobody seems to speak, with that text; absent if there are none. */
  omitted?: Omission[];
  /** Sentences on what was wrong with the recording, or was left out; none for most. */
  warnings: string[];
  /** True when a part of the recording could not be read, so that its words are missing; `warnings` say where. */
  incomplete: boolean;
}

/** Reported after each window. Seconds of audio; `total` is null while a stream's length is not known. */
export interface TranscribeProgress {
  processed: number;
  total: number | null;
  segments: Segment[];
}

/** A part of a recording: seconds from its start. Without `end` it goes on to the recording's end. */
export interface Clip {
  start: number;
  end?: number | null;
}

/** The result of `Whisper.detectLanguage`. */
export interface DetectedLanguage {
  language: string;
  probability: number;
  /** The probability of every language that the model knows, by its code. */
  probabilities: Record<string, number>;
}

/** The text of a window so far; it may change. */
export interface PartialText {
  /** Seconds from the start of the audio. */
  start: number;
  text: string;
  /** Present if channels are transcribed apart. */
  channel?: number;
}
