/** The public shapes of a transcription: OpenAI's verbose_json. */

import type { AudioOptions } from '../../audio/options.js';
import type { AudioTrack } from '../../audio/tracks.js';
import type { VadOptions } from '../../vad/detector.js';
import type { DecodingOptions } from '../decoding/options.js';
import type { Task, TimestampMode } from '../decoding/prompt.js';
import type { RankedTokens } from '../model/slots.js';

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
  /** Where it was found for each window, or for each of the channels that were transcribed apart. */
  language?: string;
  /** The channel that it was said on, counted from 0, where channels were transcribed apart. */
  channel?: number;
  /** Where times of words were asked for. */
  words?: Word[];
  /** The likeliest tokens at each of `tokens`' places, where they were asked for. */
  top_logprobs?: RankedTokens[];
}

/**
 * What `Whisper.transcribe` gives: the fields of OpenAI's verbose_json as openai/whisper has them. `formats.verbose_json` writes what OpenAI's
 * server answers: there the language is a name, the text has no blank before it, and `usage` is added.
 */
export interface Transcription {
  task: 'transcribe' | 'translate';
  /** A code, such as 'en'. */
  language: string;
  /** Length of the audio in seconds; with `clips` as far as it was read. */
  duration: number;
  /** The segments' texts as they were decoded, with the blank before the first. */
  text: string;
  segments: Segment[];
  /** The audio tracks of a file that has several; the one that was heard is `chosen`. */
  tracks?: AudioTrack[];
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
  end?: number;
}

export interface TranscribeOptions extends DecodingOptions, AudioOptions {
  /** A language code ('en') or name ('english'), or 'auto': detected. By default the checkpoint's own where it names one, else detected. */
  language?: string;
  /** Windows at the beginning that the language is detected from, fewer where one is sure; 1 by default. */
  languageDetectionWindows?: number;
  /** A language of this probability is sure; 0.5 by default. */
  languageDetectionThreshold?: number;
  /** True: each window's language is detected, and told with its segments. */
  languagePerSegment?: boolean;
  task?: Task;
  timestamps?: TimestampMode;
  /** Text (or token ids) that stands before the first window: names and a style to go by. */
  prompt?: string | readonly number[];
  /** True: the prompt stands before every window, not before the first alone. */
  carryPrompt?: boolean;
  /** Text (or token ids) that the first window begins with. */
  prefix?: string | readonly number[];
  /** Marks that are joined to the word after them, and to the one before; openai/whisper's unless given. */
  prependPunctuations?: string;
  appendPunctuations?: string;
  /** Seconds: with words, silence longer than this is skipped where the text beside it looks invented. */
  hallucinationSilenceThreshold?: number;
  /** Words to expect, put before every window. */
  hotwords?: string;
  /** True: each window is told the text before it, which keeps names alike and lets errors spread. False by default. */
  conditionOnPreviousText?: boolean;
  /** Text found at a higher temperature than this is not told to the next window; 0.5 by default. */
  promptResetTemperature?: number;
  /** Upper limit of new tokens in each window. */
  maxNewTokens?: number;
  /**
   * Only these parts are heard, in seconds of the recording and in its order; the last may lack its end. Times stay the recording's, each part
   * begins a window, and what is behind the last is not read.
   */
  clips?: readonly Clip[];
  /** True, or how: silence is found and left out before anything is decoded. */
  vad?: boolean | VadOptions;
  /**
   * True: windows are cut at silences and as many decoded at once as the model was loaded for (`batch`), which is what happens where that is
   * more than one. False: one after the other, each seeking on the timestamps of the one before.
   */
  batched?: boolean;
  onProgress?: (progress: TranscribeProgress) => void;
  /** Each of `warnings` as it is found; `incomplete` is true as soon as a part of the recording was lost. */
  onWarning?: (warning: string, incomplete: boolean) => void;
  /** The text of the windows under way, as it grows. */
  onPartial?: (partial: PartialText) => void;
  /** Seconds: a window that is still being heard is decoded provisionally for `onPartial` whenever that much was added. */
  partialInterval?: number;
  signal?: AbortSignal;
  /** Milliseconds, after which the transcription is rejected with code TIMED_OUT. */
  timeout?: number;
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
