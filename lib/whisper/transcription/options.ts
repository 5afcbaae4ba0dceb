/** The options of transcription. */
import { audioOptions } from '../../audio/options.js';
import { priorities } from '../../engine/request.js';
import {
  callback,
  custom,
  flag,
  integer,
  list,
  number,
  oneOf,
  signal,
  text,
  textOrTokens,
} from '../../options/kinds.js';
import { type Checked, type Given, nested, option, options } from '../../options/options.js';
import { type VadOptions, vadOptions } from '../../vad/options.js';
import type { Journal } from '../decoding/journal.js';
import { decodingOptions, languageOptions } from '../decoding/options.js';
import type { Clip, PartialText, TranscribeProgress } from './types.js';

/** '0-10,30-' as clips. */
function readClips(given: string): unknown {
  const clips = given.split(',').map((clip) => {
    const [, start, end] = /^\s*(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)?\s*$/.exec(clip) ?? [];
    return start === undefined ? null : { start: Number(start), end: end === undefined ? undefined : Number(end) };
  });
  return clips.includes(null) ? given : clips;
}

/** Whether they are consistent is checked with the model, which knows the length of a frame. */
const clips = custom<readonly Clip[]>((value) => Array.isArray(value) && value.length > 0, {
  expected: 'a list of at least one { start, end }',
  expectedText: 'seconds such as 0-10,30-',
  placeholder: 'FROM-TO,...',
  read: readClips,
});

const detectionOptions = options('language detection', {
  /** A language of this probability is sure. @default 0.5 */
  languageDetectionThreshold: option(number(0, 1), {
    default: 0.5,
    others: { faster: 'language_detection_threshold' },
  }),
});

const callOptions = options('every call', {
  /**
   * 'live' goes before 'interactive', which goes before 'batch'. Waiting raises a call to the class above it. @default
   * 'interactive'
   */
  priority: option(oneOf(priorities, 'CLASS'), { default: 'interactive', flag: null }),
  /**
   * Milliseconds from the call: among equals an earlier deadline goes first, and what still waits when it has passed is
   * rejected with TIMED_OUT.
   * @default no deadline
   */
  deadline: option(number(0, 1e12, { above: true }), { flag: null }),
  /** Ends the work with its reason, within one decode step. */
  signal: option(signal()),
  /**
   * Milliseconds (seconds on the command line), after which the call is rejected with code TIMED_OUT. @default no limit
   */
  timeout: option(number(0, 1e12, { above: true, placeholder: 'SECONDS' }), { flagScale: 1000 }),
});

const audioContextOptions = options('audio context', {
  /**
   * 'fit': a window with less than 30 s of sound is encoded as far as its sound goes and `audioContextMargin` further,
   * which takes a fraction of the time and of the memory; where the text does not pass the thresholds, the whole window
   * is encoded and decoded. 'full': whole windows always.
   * @default 'full'
   */
  audioContext: option(oneOf(['full', 'fit'], 'HOW'), { default: 'full', others: { cpp: '-ac, --audio-ctx' } }),
  /** Seconds of silence that are encoded behind the sound of a shorter window. @default 4 */
  audioContextMargin: option(number(0, 3600, { placeholder: 'SECONDS' }), { default: 4 }),
});

export const transcribeOptions = options('transcribe', {
  ...languageOptions.entries,
  ...decodingOptions.entries,
  ...audioOptions.entries,
  ...callOptions.entries,
  /** Windows at the beginning that the language is detected from, fewer where one is sure. @default 1 */
  languageDetectionWindows: option(integer(1, 1000), { default: 1, others: { faster: 'language_detection_segments' } }),
  ...detectionOptions.entries,
  ...audioContextOptions.entries,
  /**
   * Codes or English names of the languages that come into question where it is detected. @default all that the model
   * knows
   */
  languages: option(list(text('LANGUAGE'), 'a list of codes or English names of languages', 1)),
  /**
   * If the language is detected and not given: text that is clearly in another language than the recording's beginning
   * is decoded in its own, which its segments name. @default true
   */
  followLanguage: option(flag(), { default: true }),
  /**
   * Speech of over a second that the voice detector hears and no segment covers is decoded again from where it begins,
   * once; `warnings` say where it gives no text. Not with `hallucinationSilenceThreshold`, which skips such places.
   * @default true
   */
  recoverSpeech: option(flag(), { default: true }),
  /**
   * Where a window begins that follows another. 'pause': in the pause before the word that the last timestamp lies in,
   * if there is one, since timestamps are often late. 'timestamp': always at the timestamp, as in openai/whisper.
   * @default 'pause'
   */
  windowBegin: option(oneOf(['pause', 'timestamp']), { default: 'pause' }),
  /** Each window's language is detected, and told with its segments. @default false */
  languagePerSegment: option(flag(), { default: false, others: { faster: 'multilingual' } }),
  /**
   * 'segment': text is cut at the timestamps that the model writes. @default 'segment', or 'none' for a model without
   * timestamps
   */
  timestamps: option(oneOf(['none', 'segment'], 'MODE')),
  /** Text (or token ids) that stands before the first window: names and a style to go by. Its last tokens count. */
  prompt: option(textOrTokens(), {
    others: { openai: 'initial_prompt, prompt', faster: 'initial_prompt', cpp: '--prompt' },
  }),
  /** The prompt stands before every window, not before the first alone. @default false */
  carryPrompt: option(flag(), {
    default: false,
    others: { openai: 'carry_initial_prompt', cpp: '--carry-initial-prompt' },
  }),
  /** Text (or token ids) that the first window begins with. */
  prefix: option(textOrTokens(), { others: { openai: 'prefix', faster: 'prefix' } }),
  /** Words to expect, put before every window. */
  hotwords: option(text(), { others: { faster: 'hotwords' } }),
  /**
   * Special tokens such as <|endoftext|> count as such in `prompt`, `prefix` and `hotwords`; otherwise they are plain
   * characters. @default false
   */
  allowSpecialTokens: option(flag(), { default: false }),
  /** Each window is told the text before it, which keeps names alike and lets errors spread. @default false */
  conditionOnPreviousText: option(flag(), {
    default: false,
    others: { openai: 'condition_on_previous_text', faster: 'condition_on_previous_text' },
  }),
  /** Text found at a higher temperature than this is not told to the next window. @default 0.5 */
  promptResetTemperature: option(number(0, 100), {
    default: 0.5,
    others: { faster: 'prompt_reset_on_temperature' },
  }),
  /** Marks that are joined to the word after them. @default openai/whisper's */
  prependPunctuations: option(text(), {
    others: { openai: 'prepend_punctuations', faster: 'prepend_punctuations' },
  }),
  /** Marks that are joined to the word before them. @default openai/whisper's */
  appendPunctuations: option(text(), {
    others: { openai: 'append_punctuations', faster: 'append_punctuations' },
  }),
  /**
   * The rule by which a window has no speech, so that its text is left out (the result's `omitted` lists it). 'voice':
   * if the voice detector hears nobody, the model must be nearly certain that somebody speaks, and is asked once;
   * otherwise openai/whisper's rule applies. 'openai': its rule alone, by `noSpeechThreshold`.
   * @default 'voice'
   */
  noSpeechRule: option(oneOf(['voice', 'openai']), { default: 'voice' }),
  /**
   * Segments such as "Thank you." and "Thanks for watching!", which Whisper invents, are left out where the voice
   * detector hears nobody. Needs `noSpeechRule` 'voice'. @default true
   */
  dropInventions: option(flag(), { default: true }),
  /**
   * Seconds: with `wordTimestamps`, silence longer than this is skipped where the text beside it looks invented.
   * @default no such rule
   */
  hallucinationSilenceThreshold: option(number(0, 3600, { above: true, placeholder: 'SECONDS' }), {
    others: { openai: 'hallucination_silence_threshold', faster: 'hallucination_silence_threshold' },
  }),
  /**
   * Only these parts are heard, in seconds of the recording and in its order; the last may lack its end. Times stay the
   * recording's, each part begins a window, and what is behind the last is not read.
   */
  clips: option(clips, { others: { openai: 'clip_timestamps', faster: 'clip_timestamps' } }),
  /**
   * Silence is found and left out before anything is decoded: true, or how. @default false, or true where windows are
   * decoded at once
   */
  vad: nested<typeof vadOptions, VadOptions>(vadOptions, {
    others: { faster: 'vad_filter, vad_parameters', cpp: '--vad' },
  }),
  /**
   * True: windows are cut at silences and as many decoded at once as the model was loaded for. False: one after the
   * other, each seeking on the timestamps of the one before.
   * @default true where the model was loaded with `windows` above 1
   */
  batched: option(flag(), { flag: null }),
  /**
   * Keeps what windows gave, by their names, and is asked for it first: a transcription that was broken off goes on
   * where it was, when it is begun again with the same audio, model and options.
   */
  journal: option(
    custom<Journal>(
      (value) =>
        typeof (value as Journal | null)?.find === 'function' && typeof (value as Journal | null)?.keep === 'function',
      { expected: 'an object with the functions find and keep' },
    ),
  ),
  /**
   * Seconds that are read ahead of the first window, to know the loudest sound, which features are measured against; 0
   * begins as soon as a window is there.
   * @default 600, or 0 for `stream`
   */
  lookAhead: option(number(0, 3600, { placeholder: 'SECONDS' }), { flag: null }),
  /** Segments have the log-probability of each of their `tokens`, as `logprobs`. @default false */
  tokenLogProbabilities: option(flag(), { default: false }),
  /** Called after each window. */
  onProgress: option(callback<(progress: TranscribeProgress) => void>()),
  /**
   * Called with each of the result's `warnings` as it is found; `incomplete` is true as soon as a part of the recording
   * was lost.
   */
  onWarning: option(callback<(warning: string, incomplete: boolean) => void>()),
  /**
   * Called with each piece of the text as soon as it is sure to stay: all pieces join to the result's `text`. A window
   * that is searched again, since its text fails the thresholds, goes on behind what was given out of it. With beams,
   * or above temperature 0, a window's text comes as a whole.
   */
  onText: option(callback<(text: string) => void>()),
  /** Called with the text of the windows under way, as it grows. */
  onPartial: option(callback<(partial: PartialText) => void>()),
  /**
   * Seconds: a window that is still being heard is decoded provisionally for `onPartial` whenever that much was added.
   */
  partialInterval: option(number(0, 3600, { above: true }), { flag: null }),
});

export interface TranscribeOptions extends Given<typeof transcribeOptions> {}
/** The options after the check. */
export type CheckedTranscribeOptions = Checked<typeof transcribeOptions>;

export const detectLanguageOptions = options('detectLanguage', {
  ...audioOptions.entries,
  ...callOptions.entries,
  /** Windows at the beginning that the language is detected from, fewer where one is sure. @default 5 */
  languageDetectionWindows: option(integer(1, 1000), { default: 5 }),
  ...detectionOptions.entries,
  ...audioContextOptions.entries,
});

export interface DetectLanguageOptions extends Given<typeof detectLanguageOptions> {}
