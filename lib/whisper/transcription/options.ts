/** The options of transcription. */
import { audioOptions } from '../../audio/options.js';
import { priorities } from '../../engine/request.js';
import { OneheadError } from '../../errors.js';
import {
  callback,
  custom,
  flag,
  integer,
  list,
  milliseconds,
  number,
  oneOf,
  signal,
  text,
  textOrTokens,
} from '../../options/kinds.js';
import { type Checked, check, type Given, nested, option, options } from '../../options/options.js';
import { type VadOptions, vadOptions } from '../../vad/options.js';
import type { Journal } from '../decoding/journal.js';
import { decodingOptions, languageOptions } from '../decoding/options.js';
import type { Clip, PartialText, TranscribeProgress } from './types.js';

/** Parses '0-10,30-' to clips. Returns other text unchanged. */
function readClips(text: string): unknown {
  const clips = text.split(',').map((clip) => {
    const [, start, end] = /^\s*(\d+(?:\.\d+)?)-(\d+(?:\.\d+)?)?\s*$/.exec(clip) ?? [];
    return start === undefined ? null : { start: Number(start), end: end === undefined ? undefined : Number(end) };
  });
  return clips.includes(null) ? text : clips;
}

/** `clipRanges` checks their times, for which the length of a frame is needed. */
const clips = custom<readonly Clip[]>((value) => Array.isArray(value) && value.length > 0, {
  expected: 'a list of at least one { start, end }',
  expectedText: 'seconds such as 0-10,30-',
  placeholder: 'FROM-TO,...',
  read: readClips,
});

const detectionOptions = options('language detection', {
  /** Detection ends with the first language above this probability. @default 0.5 */
  languageDetectionThreshold: option(number(0, 1), {
    default: 0.5,
    others: { faster: 'language_detection_threshold' },
  }),
});

const callOptions = options('every call', {
  /**
   * 'live' calls are served before 'interactive' ones, and those before 'batch', except for a share.
   * @default 'interactive'
   */
  priority: option(oneOf(priorities, 'CLASS'), { default: 'interactive', flag: null }),
  /**
   * Milliseconds from the call. Among calls of equal priority, those with earlier deadlines are served first. A call
   * that still waits at its deadline is rejected with code TIMED_OUT.
   * @default no deadline
   */
  deadline: option(milliseconds(0, { above: true }), { flag: null }),
  /** Aborts the call within one decode step; the promise rejects with the signal's reason. */
  signal: option(signal()),
  /**
   * Milliseconds after which the call is rejected with code TIMED_OUT.
   * @default no limit
   */
  timeout: option(milliseconds(0, { above: true })),
});

const audioContextOptions = options('audio context', {
  /**
   * 'fit': of a window with less than 30 s of audio, only the audio and `audioContextMargin` seconds of silence are
   * encoded, which takes a fraction of the time and memory. If the text fails the thresholds, the full window is
   * encoded and decoded. 'full': full windows only.
   * @default 'full'
   */
  audioContext: option(oneOf(['full', 'fit'], 'HOW'), { default: 'full', others: { cpp: '-ac, --audio-ctx' } }),
  /** Seconds of silence that are encoded after the audio of a short window. @default 4 */
  audioContextMargin: option(number(0, 3600, { placeholder: 'SECONDS' }), { default: 4 }),
});

export const transcribeOptions = options('transcribe', {
  ...languageOptions.entries,
  ...decodingOptions.entries,
  ...audioOptions.entries,
  ...callOptions.entries,
  /** Maximum number of windows, from the beginning, from which the language is detected. @default 1 */
  languageDetectionWindows: option(integer(1, 1000), { default: 1, others: { faster: 'language_detection_segments' } }),
  ...detectionOptions.entries,
  ...audioContextOptions.entries,
  /**
   * Candidate languages for detection, as codes or English names.
   * @default all languages of the model
   */
  languages: option(list(text('LANGUAGE'), 'a list of codes or English names of languages', 1)),
  /**
   * If the language is detected: parts that are clearly in another language than the beginning are decoded in that
   * language, and their segments have it as `language`.
   * @default true
   */
  followLanguage: option(flag(), { default: true }),
  /**
   * Speech of more than a second that the voice detector finds and no segment covers is decoded once more, separately;
   * if that gives no text, `warnings` report it. Not with `hallucinationSilenceThreshold`, which skips such parts.
   * @default true
   */
  recoverSpeech: option(flag(), { default: true }),
  /**
   * Where a window begins. 'pause': in the pause before the word that contains the last timestamp, if there is one,
   * since timestamps are often late. 'timestamp': at the timestamp, as in openai/whisper.
   * @default 'pause'
   */
  windowBegin: option(oneOf(['pause', 'timestamp']), { default: 'pause' }),
  /**
   * The features after the audio of a window that is not full, such as the last one. 'silence': those of silence.
   * 'zeros': zeros, as in openai/whisper and faster-whisper, which is steady noise. Short windows (`audioContext`
   * 'fit') have silence.
   * @default 'silence'
   */
  windowPadding: option(oneOf(['silence', 'zeros']), { default: 'silence' }),
  /** Detects the language of each window, which its segments have as `language`. @default false */
  languagePerSegment: option(flag(), { default: false, others: { faster: 'multilingual' } }),
  /**
   * 'segment' splits the text at the timestamps that the model generates.
   * @default 'segment', or 'none' for a model without timestamps
   */
  timestamps: option(oneOf(['none', 'segment'], 'MODE')),
  /** Text (or token ids) before the first window, which guides names and style. Its last tokens are used. */
  prompt: option(textOrTokens(), {
    others: { openai: 'initial_prompt, prompt', faster: 'initial_prompt', cpp: '--prompt' },
  }),
  /** Puts the prompt before every window instead of only the first. @default false */
  carryPrompt: option(flag(), {
    default: false,
    others: { openai: 'carry_initial_prompt', cpp: '--carry-initial-prompt' },
  }),
  /** Text (or token ids) with which the first window's text begins. */
  prefix: option(textOrTokens(), { others: { openai: 'prefix', faster: 'prefix' } }),
  /** Expected words, which are put before every window. */
  hotwords: option(text(), { others: { faster: 'hotwords' } }),
  /**
   * Parses special tokens such as <|endoftext|> in `prompt`, `prefix` and `hotwords`; otherwise they are plain
   * characters.
   * @default false
   */
  allowSpecialTokens: option(flag(), { default: false }),
  /** Puts the previous text before each window, which makes names consistent but spreads errors. @default false */
  conditionOnPreviousText: option(flag(), {
    default: false,
    others: { openai: 'condition_on_previous_text', faster: 'condition_on_previous_text' },
  }),
  /** Text that was decoded at a higher temperature is not put before the next window. @default 0.5 */
  promptResetTemperature: option(number(0, 100), {
    default: 0.5,
    others: { faster: 'prompt_reset_on_temperature' },
  }),
  /** Punctuation that is joined to the word after it. @default that of openai/whisper */
  prependPunctuations: option(text(), {
    others: { openai: 'prepend_punctuations', faster: 'prepend_punctuations' },
  }),
  /** Punctuation that is joined to the word before it. @default that of openai/whisper */
  appendPunctuations: option(text(), {
    others: { openai: 'append_punctuations', faster: 'append_punctuations' },
  }),
  /**
   * The rule by which a window has no speech, so that its text is dropped (the result's `omitted` lists it). 'voice':
   * if the voice detector finds no speech, the window is decoded once, and its text is kept only if it is nearly
   * certain; otherwise openai/whisper's rule applies. 'openai': openai/whisper's rule, by `noSpeechThreshold`.
   * @default 'voice'
   */
  noSpeechRule: option(oneOf(['voice', 'openai']), { default: 'voice' }),
  /**
   * Drops segments with known hallucinations, such as "Thank you." and "Thanks for watching!", if the voice detector
   * finds no speech there. Requires `noSpeechRule` 'voice'.
   * @default true
   */
  dropInventions: option(flag(), { default: true }),
  /**
   * Seconds: silence longer than this is skipped if the text next to it looks hallucinated. Requires `wordTimestamps`.
   * @default no such rule
   */
  hallucinationSilenceThreshold: option(number(0, 3600, { above: true, placeholder: 'SECONDS' }), {
    others: { openai: 'hallucination_silence_threshold', faster: 'hallucination_silence_threshold' },
  }),
  /**
   * Transcribes only these parts, in seconds of the recording and in order; the last one may have no end. Results have
   * times of the recording. Each part begins a window, and the audio after the last part is not read.
   */
  clips: option(clips, { others: { openai: 'clip_timestamps', faster: 'clip_timestamps' } }),
  /**
   * Removes silence before decoding: true, or the options of the voice detector.
   * @default false; true with `batched`
   */
  vad: nested<typeof vadOptions, VadOptions>(vadOptions, {
    others: { faster: 'vad_filter, vad_parameters', cpp: '--vad' },
  }),
  /**
   * True: windows are cut at silences, and decoded at once, as many as the model was loaded for. False: windows are
   * decoded one after another, and each begins at the last timestamp of the previous one. A single long recording is
   * faster with true.
   * @default false
   */
  batched: option(flag(), { default: false }),
  /**
   * 'openai' replaces rules of onehead by those of openai/whisper: `recoverSpeech`, `dropInventions` and
   * `followLanguage` are then false, `windowBegin` is 'timestamp', `noSpeechRule` is 'openai' and `windowPadding` is
   * 'zeros', unless they are given. The language is that of the first 30 s, even if they are silent.
   * @default 'onehead'
   */
  rules: option(oneOf(['onehead', 'openai']), { default: 'onehead' }),
  /**
   * Stores the results of windows: a transcription that is run again with the same audio, model and options after an
   * interruption uses the stored results.
   */
  journal: option(
    custom<Journal>(
      (value) =>
        typeof (value as Journal | null)?.find === 'function' && typeof (value as Journal | null)?.keep === 'function',
      { expected: 'an object with the functions find and keep' },
    ),
  ),
  /**
   * Seconds of audio that are read ahead of each window to find the loudest sound, by which features are normalized; 0
   * decodes a window as soon as it is complete.
   * @default 600, or 0 for `stream`
   */
  lookAhead: option(number(0, 3600, { placeholder: 'SECONDS' }), { flag: null }),
  /** Adds `logprobs` to segments, the log-probability of each of their `tokens`. @default false */
  tokenLogProbabilities: option(flag(), { default: false }),
  /** Called after each window. */
  onProgress: option(callback<(progress: TranscribeProgress) => void>()),
  /**
   * Called with each of the result's `warnings` as soon as it is known; `incomplete` is true if a part of the recording
   * has been lost.
   */
  onWarning: option(callback<(warning: string, incomplete: boolean) => void>()),
  /**
   * Called with each piece of text as soon as it is final; the pieces concatenated are the result's `text`. If a
   * window's text fails the thresholds, decoding continues after the pieces that were passed already. With beams, or at
   * temperatures above 0, a window's text is one piece.
   */
  onText: option(callback<(text: string) => void>()),
  /** Called with the growing text of the windows that are being decoded. */
  onPartial: option(callback<(partial: PartialText) => void>()),
  /** Seconds of new audio after which an incomplete window is decoded for `onPartial`. */
  partialInterval: option(number(0, 3600, { above: true }), { flag: null }),
});

export interface TranscribeOptions extends Given<typeof transcribeOptions> {}
/** The options after the check. */
export type CheckedTranscribeOptions = Checked<typeof transcribeOptions>;

/** What `rules: 'openai'` sets, if it is not given. */
const openaiRules = {
  recoverSpeech: false,
  windowBegin: 'timestamp',
  noSpeechRule: 'openai',
  dropInventions: false,
  followLanguage: false,
  windowPadding: 'zeros',
} as const;

/**
 * Checks options of a transcription and adds defaults. Throws OneheadError INVALID_ARGUMENT, also for options that
 * contradict each other.
 */
export function checkTranscribeOptions(options: TranscribeOptions | null | undefined): CheckedTranscribeOptions {
  // Null counts as left out.
  const given = Object.entries(options ?? {}).filter(([, value]) => value !== undefined && value !== null);
  const rules = options?.rules === 'openai' ? { ...openaiRules, ...Object.fromEntries(given) } : options;
  const checked = check(transcribeOptions, rules);
  checkCombination(checked);
  return checked;
}

/** Throws OneheadError INVALID_ARGUMENT for options that contradict each other. */
function checkCombination(options: CheckedTranscribeOptions): void {
  const refuseOption = (argument: string, message: string) => {
    throw new OneheadError('INVALID_ARGUMENT', message, { argument });
  };
  const { hallucinationSilenceThreshold: silence, language, languages, onText, channels } = options;
  if (silence !== undefined && !options.wordTimestamps) {
    refuseOption(
      'hallucinationSilenceThreshold',
      'hallucinationSilenceThreshold requires word times; set wordTimestamps to true, or leave it out.',
    );
  }
  if (onText && channels === 'separate') {
    refuseOption(
      'onText',
      "onText is not available for channels 'separate', whose texts are interleaved; leave out onText, or use onPartial.",
    );
  }
  if (languages !== undefined && language !== undefined && language !== 'auto') {
    refuseOption(
      'languages',
      'languages are candidates for detection, but language is set, so it is not detected; leave out one of the two.',
    );
  }
  if (!options.batched) return;
  if (options.conditionOnPreviousText) {
    refuseOption(
      'conditionOnPreviousText',
      'conditionOnPreviousText is not available if windows are decoded at once, since the previous text is not known ' +
        'yet; leave it out, or set batched to false.',
    );
  }
  if (silence !== undefined) {
    refuseOption(
      'hallucinationSilenceThreshold',
      'hallucinationSilenceThreshold is not available if windows are decoded at once, since these are cut at silences ' +
        'in advance; leave it out, or set batched to false.',
    );
  }
}

export const detectLanguageOptions = options('detectLanguage', {
  ...audioOptions.entries,
  ...callOptions.entries,
  /** Maximum number of windows, from the beginning, from which the language is detected. @default 5 */
  languageDetectionWindows: option(integer(1, 1000), { default: 5 }),
  ...detectionOptions.entries,
  ...audioContextOptions.entries,
});

export interface DetectLanguageOptions extends Given<typeof detectLanguageOptions> {}
