/** One transcription under way: its checked options, and what its windows add to. */

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
 * Refuses options that cannot be honoured together, or not by this model. Throws OneheadError INVALID_ARGUMENT or
 * NOT_SUPPORTED.
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
  const told = conditionOnPreviousText || hotwords !== undefined || (prompt !== undefined && prompt.length > 0);
  if (told && checkpoint.generation.previousToken === null) throw noPreviousToken();
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
  /** Whose windows take turns with those of others. */
  readonly request: EngineRequest;
  readonly times = new StageTimes();
  readonly builder: SegmentBuilder;
  /** Text that is given out while it is found, where somebody wants it. */
  readonly running: RunningText | null;
  /** Seconds of audio read so far: the whole recording at the end. */
  duration = 0;
  /** Seconds that will have been heard at the end, where the input says so before it is read. */
  total: number | null = null;
  /** Seconds of the recording of which all that was said is given out, once what was `processed` is. */
  known: (processed: number) => number = (processed) => processed;
  /** True where each window's language is found and told. */
  readonly languages: boolean;
  /** The recording's language, once it is known: that of its beginning. */
  language: string | null;
  /** Segments of what is done, where they are gathered. */
  readonly finished: Segment[] = [];
  /** Parts whose text was left out because they seem to have no speech. */
  readonly omitted: Omission[] = [];
  /** Problems of the recording. */
  readonly warnings = new Warnings();
  /** Other languages than the recording's own. */
  readonly #met = new Set<string>();
  #told = 0;

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
    const everything = onText !== undefined;
    const { languages } = this;
    this.builder = new SegmentBuilder({ preprocessor, tokenizer, options, languages, language, everything });
    const { endToken } = generation;
    const { decoding } = settings;
    const whole = options.hallucinationSilenceThreshold !== undefined;
    this.running = onText ? new RunningText({ tokenizer, decoding, endToken, whole, onText }) : null;
  }

  /** Takes a language that was detected; later windows go by it unless each has its own. */
  setLanguage(language: string | null): void {
    this.language ??= language;
    if (!this.languages) this.settings.language ??= language;
  }

  /** Tells of text in another language than the recording's, which begins at sample `begin` of what is decoded. */
  meet(language: string | null, begin: number): void {
    if (language === null || language === this.language || this.#met.has(language)) return;
    this.#met.add(language);
    const from = clock(this.builder.toRecording(begin / this.model.checkpoint.preprocessor.sampleRate, false));
    const name = (code: string) =>
      `${(languageNames.get(code) ?? code).replace(/\b[a-z]/g, (letter) => letter.toUpperCase())} (${code})`;
    this.warnings.warn(
      `The recording begins in ${name(this.language!)} and goes on in ${name(language)} at ${from}; name its language, or set followLanguage to false, where that is wrong.`,
      'mended',
    );
  }

  /**
   * Checks what the options mean together and to the model, so that no window fails for them. The request, which is
   * opened where none is given, is the caller's to close. Throws OneheadError INVALID_ARGUMENT, NOT_SUPPORTED or BUSY.
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
      // If each window's language is detected, or one of several is, the checkpoint's own language does not count.
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

  /** Starts the voice detector on the samples of a window, if its result is to count. */
  listen(samples: Float32Array): Promise<Voice> | undefined {
    const { sampleRate } = this.model.checkpoint.preprocessor;
    const { noSpeechThreshold } = this.settings.decoding;
    if (this.options.noSpeechRule !== 'voice' || noSpeechThreshold === null || sampleRate !== 16000) return undefined;
    const heard = (async () => {
      // The device gets the window in the first of these turns: the detector's work is done beside the encoder's.
      for (let turn = 0; turn < 2; ++turn) await new Promise<void>((resolve) => setImmediate(resolve));
      return listen(samples);
    })();
    heard.catch(() => {}); // told to who waits for it
    return heard;
  }

  /** Notes that nothing was given out of a part, in seconds of what is decoded. */
  omit(start: number, end: number, reason: Omission['reason'], tokens: readonly number[]): void {
    const text = this.tokenizer.decode(tokens);
    const begin = round(this.builder.toRecording(start, false));
    const last = this.omitted.at(-1);
    const goesOn = last && text === '' && last.text === '' && last.reason === reason && begin - last.end < 0.1;
    if (goesOn) last.end = round(this.builder.toRecording(end, true));
    else this.omitted.push({ start: begin, end: round(this.builder.toRecording(end, true)), reason, text });
  }

  /**
   * Takes out of a window's segments what is known to be invented where the detector hears nobody. `begin` is the
   * window's, in seconds.
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

  /** Takes the warnings of the recording that are new, and tells them. */
  hear({ warnings, incomplete }: Pick<AudioSource, 'warnings' | 'incomplete'>): void {
    for (const sentence of warnings) this.warnings.warn(sentence, incomplete ? 'lost' : 'mended');
    const { sentences } = this.warnings;
    const added = sentences.slice(this.#told);
    this.#told = sentences.length;
    for (const sentence of added) this.options.onWarning?.(sentence, this.warnings.incomplete);
  }

  /** Tells whoever wants to know of text that grows in the window that begins at sample `begin`. */
  partial(begin: number): ((tokens: number[]) => void) | undefined {
    const { onPartial } = this.options;
    const { sampleRate } = this.model.checkpoint.preprocessor;
    if (!onPartial) return undefined;
    return (tokens) => {
      const text = this.tokenizer.decode(tokens);
      // A character may be spread over tokens: what is not whole yet is left for the next time.
      const whole = text.replace(/\ufffd+$/, '');
      if (whole !== '') onPartial({ start: round(this.builder.toRecording(begin / sampleRate, false)), text: whole });
    };
  }
}
