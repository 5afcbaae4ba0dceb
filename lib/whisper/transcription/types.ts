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
  /** Where the window that gave this segment begins, in frames of 10 ms. */
  seek: number;
  start: number;
  end: number;
  text: string;
  tokens: number[];
  temperature: number;
  avg_logprob: number;
  compression_ratio: number;
  no_speech_prob: number;
  /**
   * Where it is not the recording's, or was found for each window or for each of the channels that were transcribed
   * apart.
   */
  language?: string;
  /** The channel that it was said on, counted from 0, where channels were transcribed apart. */
  channel?: number;
  /** Where times of words were asked for. */
  words?: Word[];
  /** Of each of `tokens`, where they were asked for; 0 of those that were given. */
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
  /** What the model wrote there; empty where it was not asked, or wrote nothing. */
  text: string;
  /** Where channels were transcribed apart. */
  channel?: number;
}

/**
 * What `Whisper.transcribe` gives: the fields of OpenAI's verbose_json as openai/whisper has them.
 * `formats.verbose_json` writes what OpenAI's server answers: there the language is a name, the text has no blank
 * before it, and `usage` is added.
 */
export interface Transcription {
  task: 'transcribe' | 'translate';
  /** A code, such as 'en': the language of the recording's beginning. */
  language: string;
  /** Where the audio ends, in seconds: its length, and what it began late by; with `clips` as far as it was read. */
  duration: number;
  /** The segments' texts as they were decoded, with the blank before the first. */
  text: string;
  segments: Segment[];
  /** The audio tracks of a file that has several; the one that was heard is `chosen`. */
  tracks?: AudioTrack[];
  /**
   * Where nothing was given out since nobody seems to speak, and what was written there; absent where there is no such
   * part.
   */
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

/** What `Whisper.detectLanguage` gives. */
export interface DetectedLanguage {
  language: string;
  probability: number;
  /** Of every language that the model knows, by its code. */
  probabilities: Record<string, number>;
}

/** What is known so far of a window; it may change. */
export interface PartialText {
  /** Seconds from the start of the audio. */
  start: number;
  text: string;
  /** Where channels are transcribed apart. */
  channel?: number;
}
