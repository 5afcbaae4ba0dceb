/** The state of one transcription: its checked options, and the results that its windows add to. */

import type { AudioSource } from '../../audio/index.js';
import { clock, Warnings } from '../../audio/warnings.js';
import type { EngineRequest } from '../../engine/request.js';
import { OneheadError } from '../../errors.js';
import { listen, type Voice } from '../../vad/voice.js';
import type { GenerationConfig } from '../checkpoint/config.js';
import { languageNames } from '../checkpoint/languages.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { checkLanguage, checkTimestamps, languageAndTask, noPreviousToken } from '../decoding/prompt.js';
import { checkLengths, checkTokens, resolveDecoding } from '../decoding/resolve.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { WindowSettings } from '../decoding/windows.js';
import { clipRanges } from './clips.js';
import { isKnownInvention } from './inventions.js';
import type { CheckedTranscribeOptions } from './options.js';
import { RunningText } from './running-text.js';
import { type Draft, round, SegmentBuilder } from './segment-builder.js';
import { splitWhole } from './segments.js';
import { StageTimes } from './timings.js';
import type { Omission, Segment } from './types.js';

/** The result of one window, or of several that were decoded together. */
export interface Outcome {
  segments: Segment[];
  /** Seconds of audio that are done. */
  processed: number;
}

/**
 * Refuses options that contradict each other, or that this model does not support. Throws OneheadError INVALID_ARGUMENT
 * or NOT_SUPPORTED.
 */
function checkTogether(options: CheckedTranscribeOptions, { checkpoint, batched }: WhisperModel): void {
  const refuseOption = (argument: string, sentence: string) => {
    throw new OneheadError('INVALID_ARGUMENT', sentence, { argument });
  };
  const { hallucinationSilenceThreshold: silence, conditionOnPreviousText, prompt, hotwords } = options;
  if (silence !== undefined && !options.wordTimestamps) {
    refuseOption(
      'hallucinationSilenceThreshold',
      'The guard against invented text goes by words: set wordTimestamps too, or leave out hallucinationSilenceThreshold.',
    );
  }
  if (options.onText && options.channels === 'separate') {
    refuseOption(
      'onText',
      'Channels that are heard apart have no text in one piece: leave out onText, or use onPartial.',
    );
  }
  if (options.batched ?? batched) {
    if (conditionOnPreviousText) {
      refuseOption(
        'conditionOnPreviousText',
        'Windows that are decoded at once cannot be told the text before them; leave out conditionOnPreviousText, or set batched to false.',
      );
    }
    if (silence !== undefined) {
      refuseOption(
        'hallucinationSilenceThreshold',
        'Windows that are decoded at once are cut at silences, and cannot skip more of them: leave out hallucinationSilenceThreshold, or set batched to false.',
      );
    }
  }
  const { sampleRate, hop } = checkpoint.preprocessor;
  if (options.clips) clipRanges(options.clips, sampleRate, hop);
  const hasPrevious = conditionOnPreviousText || hotwords !== undefined || (prompt !== undefined && prompt.length > 0);
  if (hasPrevious && checkpoint.generation.previousToken === null) throw noPreviousToken();
  for (const name of ['prompt', 'prefix'] as const) {
    const given = options[name];
    if (typeof given !== 'string') checkTokens(name, given, checkpoint.config.vocabulary);
  }
}

/** The codes of languages among which it is detected. Throws OneheadError INVALID_ARGUMENT. */
function languagesAmong(
  { language, languages }: CheckedTranscribeOptions,
  generation: GenerationConfig,
): string[] | undefined {
  if (languages === undefined) return undefined;
  if (language !== undefined && language !== 'auto') {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      'The language is given, so none is looked for among languages; leave out one of the two options.',
      { argument: 'languages' },
    );
  }
  return languages.map((one) => checkLanguage(one, generation, 'languages'));
}

export class TranscriptionState {
  readonly model: WhisperModel;
  readonly options: CheckedTranscribeOptions;
  readonly settings: WindowSettings;
  readonly tokenizer: WhisperTokenizer;
  /** Its windows take turns with those of other requests. */
  readonly request: EngineRequest;
  readonly times = new StageTimes();
  readonly builder: SegmentBuilder;
  /** Publishes text while it is decoded; null if nobody wants that. */
  readonly running: RunningText | null;
  /** Seconds of audio read so far: the whole recording at the end. */
  duration = 0;
  /** Seconds that the input says it lasts; null if it does not say so before it is read. */
  total: number | null = null;
  /** Seconds of the recording whose text is complete once `processed` seconds are done. */
  known: (processed: number) => number = (processed) => processed;
  /** True if the language of each window is detected and named. */
  readonly languages: boolean;
  /** The language of the recording's beginning; null until it is known. */
  language: string | null;
  /** Finished segments, if they are collected. */
  readonly finished: Segment[] = [];
  /** Parts whose text was left out because nobody seems to speak. */
  readonly omitted: Omission[] = [];
  /** Problems of the recording. */
  readonly warnings = new Warnings();
  /** Other languages that the recording goes on in. */
  readonly #otherLanguages = new Set<string>();
  /** The number of warnings that were reported. */
  #reported = 0;

  private constructor(
    model: WhisperModel,
    options: CheckedTranscribeOptions,
    settings: WindowSettings,
    tokenizer: WhisperTokenizer,
    request: EngineRequest,
  ) {
    this.model = model;
    this.options = options;
    this.settings = settings;
    this.tokenizer = tokenizer;
    this.request = request;
    this.language = settings.language;
    this.languages = options.languagePerSegment && settings.language === null;
    const { generation } = model.checkpoint;
    const several = generation.multilingual && (settings.among?.length ?? generation.languages.size) > 1;
    settings.follow = options.followLanguage && settings.language === null && !this.languages && several;
    const { preprocessor } = model.checkpoint;
    const language = () => settings.language;
    const { onText } = options;
    const keepsEmpty = onText !== undefined;
    const { languages } = this;
    this.builder = new SegmentBuilder({ preprocessor, tokenizer, options, languages, language, keepsEmpty });
    const { endToken } = generation;
    const { decoding } = settings;
    const whole = options.hallucinationSilenceThreshold !== undefined;
    this.running = onText ? new RunningText({ tokenizer, decoding, endToken, whole, onText }) : null;
  }

  /** Sets a detected language. Later windows are decoded in it, unless each is detected. */
  setLanguage(language: string | null): void {
    this.language ??= language;
    if (!this.languages) this.settings.language ??= language;
  }

  /** Warns of text in another language, which begins at sample `begin` of the decoded audio. */
  warnOfLanguage(language: string | null, begin: number): void {
    if (language === null || language === this.language || this.#otherLanguages.has(language)) return;
    this.#otherLanguages.add(language);
    const from = clock(this.builder.toRecording(begin / this.model.checkpoint.preprocessor.sampleRate, false));
    const name = (code: string) =>
      `${(languageNames.get(code) ?? code).replace(/\b[a-z]/g, (letter) => letter.toUpperCase())} (${code})`;
    this.warnings.warn(
      `The recording begins in ${name(this.language!)} and goes on in ${name(language)} at ${from}; name its language, or set followLanguage to false, where that is wrong.`,
      'mended',
    );
  }

  /**
   * Checks the options against each other and against the model, so that no window fails because of them. Opens a
   * request unless one is given; the caller closes it. Throws OneheadError INVALID_ARGUMENT, NOT_SUPPORTED or BUSY.
   */
  static async open(
    model: WhisperModel,
    options: CheckedTranscribeOptions,
    request?: EngineRequest,
  ): Promise<TranscriptionState> {
    const { generation, preprocessor } = model.checkpoint;
    checkTogether(options, model);
    if (options.clips) clipRanges(options.clips, preprocessor.sampleRate, preprocessor.hop);
    const tokenizer = await model.checkpoint.tokenizer();
    const timestamps = checkTimestamps(
      options.timestamps ?? (generation.noTimestampsToken === null ? 'none' : 'segment'),
      generation,
    );
    const settings: WindowSettings = {
      // If languages are detected for each window or among several, the checkpoint's default language does not count.
      ...languageAndTask(
        options.languagePerSegment || options.languages
          ? { ...options, language: options.language ?? 'auto' }
          : options,
        generation,
      ),
      timestamps,
      maxNewTokens: options.maxNewTokens,
      decoding: await resolveDecoding(options, model.checkpoint),
      among: languagesAmong(options, generation),
      margin: options.audioContext === 'fit' ? options.audioContextMargin : null,
      textOf: (tokens) => tokenizer.decode(tokens),
      tokenizer,
      partsOf:
        timestamps === 'segment'
          ? (tokens, frames) =>
              splitWhole(tokens, frames === undefined ? preprocessor.frames : 2 * frames, generation).segments
          : undefined,
      journal: options.journal,
    };
    checkLengths(settings, settings, model.checkpoint);
    const job = new TranscriptionState(model, options, settings, tokenizer, request ?? model.request(options));
    if (settings.decoding.words && model.wordTimes === 'attention' && generation.alignmentWarning) {
      job.warnings.warn(generation.alignmentWarning, 'mended');
    }
    return job;
  }

  /** Starts the voice detector on the samples of a window, if its result is needed. */
  listen(samples: Float32Array): Promise<Voice> | undefined {
    const { sampleRate } = this.model.checkpoint.preprocessor;
    const { noSpeechThreshold } = this.settings.decoding;
    if (this.options.noSpeechRule !== 'voice' || noSpeechThreshold === null || sampleRate !== 16000) return undefined;
    const heard = (async () => {
      // The window goes to the device in the first of these turns, so that detector and encoder work at the same time.
      for (let turn = 0; turn < 2; ++turn) await new Promise<void>((resolve) => setImmediate(resolve));
      return listen(samples);
    })();
    heard.catch(() => {}); // the caller gets the error
    return heard;
  }

  /** Records a part without published text, in seconds of the decoded audio. */
  omit(start: number, end: number, reason: Omission['reason'], tokens: readonly number[]): void {
    const text = this.tokenizer.decode(tokens);
    const begin = round(this.builder.toRecording(start, false));
    const last = this.omitted.at(-1);
    const goesOn = last && text === '' && last.text === '' && last.reason === reason && begin - last.end < 0.1;
    if (goesOn) last.end = round(this.builder.toRecording(end, true));
    else this.omitted.push({ start: begin, end: round(this.builder.toRecording(end, true)), reason, text });
  }

  /**
   * Removes known inventions from a window's segments where the detector hears nobody. The window begins at `begin`
   * seconds.
   */
  dropInventions(drafts: Draft[], begin: number, voice: Voice | undefined): void {
    if (!voice || !this.options.dropInventions) return;
    const invented = drafts.filter(
      ({ text, start, end }) => isKnownInvention(text) && voice.longest(start - begin - 0.3, end - begin + 0.3) === 0,
    );
    for (const one of invented) {
      drafts.splice(drafts.indexOf(one), 1);
      this.omit(one.start, one.end, 'known invention', one.tokens);
    }
  }

  /** Adds the recording's warnings and reports the new ones. */
  hear({ warnings, incomplete }: Pick<AudioSource, 'warnings' | 'incomplete'>): void {
    for (const sentence of warnings) this.warnings.warn(sentence, incomplete ? 'lost' : 'mended');
    const { sentences } = this.warnings;
    const added = sentences.slice(this.#reported);
    this.#reported = sentences.length;
    for (const sentence of added) this.options.onWarning?.(sentence, this.warnings.incomplete);
  }

  /** Reports the growing text of the window that begins at sample `begin`; undefined if nobody wants it. */
  partial(begin: number): ((tokens: number[]) => void) | undefined {
    const { onPartial } = this.options;
    const { sampleRate } = this.model.checkpoint.preprocessor;
    if (!onPartial) return undefined;
    return (tokens) => {
      const text = this.tokenizer.decode(tokens);
      // A character may span tokens: an incomplete one waits for the next call.
      const whole = text.replace(/\ufffd+$/, '');
      if (whole !== '') onPartial({ start: round(this.builder.toRecording(begin / sampleRate, false)), text: whole });
    };
  }
}
