/** The public types of a transcription, in the form of OpenAI's verbose_json. */
import type { AudioTrack } from '../../audio/tracks.js';
import type { RankedTokens } from '../model/search.js';

/** A word, with the space before it, and its times in seconds from the start of the audio. */
export interface Word {
  word: string;
  start: number;
  end: number;
  /** Mean probability of its tokens. */
  probability: number;
  /** The channel, from 0, if channels were transcribed separately. */
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
  /** The segment's language, if it differs from the recording's, or is detected for each window or channel. */
  language?: string;
  /** The channel, from 0, if channels were transcribed separately. */
  channel?: number;
  /** Present if word times were requested. */
  words?: Word[];
  /** If requested, the log-probability of each of `tokens`; 0 for tokens of a prefix. */
  logprobs?: number[];
  /** If requested, the likeliest tokens at the position of each of `tokens`. */
  top_logprobs?: RankedTokens[];
}

/** A part of the recording whose text was dropped. Times are seconds from the start of the audio. */
export interface Omission {
  start: number;
  end: number;
  /** 'no speech' by the option `noSpeechRule`; 'known invention' (a known hallucination) by `dropInventions`. */
  reason: 'no speech' | 'known invention';
  /** The dropped text; empty if the part was not decoded or has no text. */
  text: string;
  /** Present if channels were transcribed separately. */
  channel?: number;
}

/**
 * The result of `Whisper.transcribe`: the fields of OpenAI's verbose_json, as in openai/whisper. `formats.verbose_json`
 * writes the response of OpenAI's server: there the language is a name, the text has no leading space, and `usage` is
 * added.
 */
export interface Transcription {
  task: 'transcribe' | 'translate';
  /**
   * A code, such as 'en': the language of the recording's beginning. Null if no speech was found to detect it from.
   */
  language: string | null;
  /** The end of the audio in seconds, start time included; with `clips`, the end of the audio that was read. */
  duration: number;
  /** The texts of all segments, concatenated, with the leading space of the first. */
  text: string;
  segments: Segment[];
  /** The audio tracks of a file with several; the transcribed one is `chosen`. */
  tracks?: AudioTrack[];
  /** Parts whose text was dropped because they seem to have no speech; absent if there are none. */
  omitted?: Omission[];
  /** Problems of the recording, as sentences; empty for most recordings. */
  warnings: string[];
  /** True if a part of the recording could not be read, so that text is missing; `warnings` say where. */
  incomplete: boolean;
}

/** The progress, which is reported after each window. */
export interface TranscribeProgress {
  /** The second up to which the audio has been processed. */
  processed: number;
  /** The length in seconds; null while that of a stream is unknown. */
  total: number | null;
  /** The segments of this window. */
  segments: Segment[];
}

/** A part of a recording, in seconds from its start. Without `end`, it lasts to the end of the recording. */
export interface Clip {
  start: number;
  end?: number | null;
}

/** The result of `Whisper.detectLanguage`. */
export interface DetectedLanguage {
  language: string;
  probability: number;
  /** The probability of each language of the model, by its code. */
  probabilities: Record<string, number>;
}

/** The text of a window so far; it may change. */
export interface PartialText {
  /** Seconds from the start of the audio. */
  start: number;
  text: string;
  /** Present if channels are transcribed separately. */
  channel?: number;
}
