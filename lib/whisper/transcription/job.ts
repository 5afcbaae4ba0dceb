/** One transcription's checked options and what all its windows share. */

import type { AudioSource } from '../../audio/index.js';
import { Warnings } from '../../audio/warnings.js';
import type { EngineRequest } from '../../engine/request.js';
import { OneheadError } from '../../errors.js';
import { check } from '../../options/options.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { checkTimestamps, languageAndTask, noPreviousToken } from '../decoding/prompt.js';
import { checkLengths, checkTokens, resolveDecoding } from '../decoding/resolve.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { Attempt, WindowSettings } from '../decoding/windows.js';
import { clipRanges } from './clips.js';
import { type CheckedTranscribeOptions, type TranscribeOptions, transcribeOptions } from './options.js';
import type { WindowSegment } from './segments.js';
import type { Segment } from './types.js';
import { addWords, mergePunctuations, timeWords, usualPunctuations } from './words.js';

/** Milliseconds that a transcription's stages took. */
export interface Timings {
  audio: number;
  /** Waiting for a slot or for rows, since others were served. */
  queue: number;
  features: number;
  encode: number;
  decode: number;
}

/** What one window, or several decoded together, gave. */
export interface Outcome {
  segments: Segment[];
  /** Seconds of audio that are done. */
  processed: number;
}

/** A segment before it is given out. */
export type Draft = Omit<Segment, 'id'>;

/** Refuses options that cannot be honoured together, or not by this model. Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED. */
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

/** Seconds to the hundredth of a millisecond, without floating-point tails such as 2.9600000000000004. */
export function round(seconds: number): number {
  return Math.round(seconds * 1e5) / 1e5;
}

export class Job {
  readonly model: WhisperModel;
  readonly options: CheckedTranscribeOptions;
  readonly settings: WindowSettings;
  readonly tokenizer: WhisperTokenizer;
  /** Whose windows take turns with those of others. */
  readonly request: EngineRequest;
  readonly timings: Timings = { audio: 0, queue: 0, features: 0, encode: 0, decode: 0 };
  /** Seconds of audio read so far: the whole recording at the end. */
  duration = 0;
  /** Seconds that will have been heard at the end, where the input says so before it is read. */
  total: number | null = null;
  /** Seconds of the recording of which all that was said is given out, once what was `processed` is. */
  known: (processed: number) => number = (processed) => processed;
  /** The recording's time of a time in what is decoded: another one where silence was left out. */
  toRecording: (seconds: number, isEnd: boolean) => number = (seconds) => seconds;
  /** Seconds: where the last word ended. */
  speechEnd = 0;
  /** True where each window's language is found and told. */
  readonly languages: boolean;
  /** The recording's language, once it is known. */
  language: string | null;
  /** Segments of what is done, where they are gathered. */
  readonly finished: Segment[] = [];
  /** What was wrong with the recording. */
  readonly warnings = new Warnings();
  #told = 0;
  #segments = 0;

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
  }

  /** Takes a language that was detected; later windows go by it unless each has its own. */
  settle(language: string | null): void {
    this.language ??= language;
    if (!this.languages) this.settings.language ??= language;
  }

  /**
   * Checks the options, so that no window fails for them. The request, which is opened where none is given, is the caller's to close. Throws
   * OneheadError INVALID_ARGUMENT, NOT_SUPPORTED or BUSY.
   */
  static async open(model: WhisperModel, given: TranscribeOptions, request?: EngineRequest): Promise<Job> {
    const { generation, preprocessor } = model.checkpoint;
    const options = check(transcribeOptions, given);
    checkTogether(options, model);
    if (options.clips) clipRanges(options.clips, preprocessor.sampleRate, preprocessor.hop);
    const tokenizer = await model.checkpoint.tokenizer();
    const settings: WindowSettings = {
      // Where each window's language is asked for, the checkpoint's own does not stand in the way.
      ...languageAndTask(
        options.languagePerSegment ? { ...options, language: options.language ?? 'auto' } : options,
        generation,
      ),
      timestamps: checkTimestamps(
        options.timestamps ?? (generation.noTimestampsToken === null ? 'none' : 'segment'),
        generation,
      ),
      maxNewTokens: options.maxNewTokens,
      decoding: await resolveDecoding(options, model.checkpoint),
      textOf: (tokens) => tokenizer.decode(tokens),
    };
    checkLengths(settings, settings, model.checkpoint);
    const job = new Job(model, options, settings, tokenizer, request ?? model.request(options));
    if (settings.decoding.words && generation.alignmentWarning) {
      job.warnings.warn(generation.alignmentWarning, 'mended');
    }
    return job;
  }

  /** Takes the warnings of the recording that are new, and tells them. */
  hear({ warnings, incomplete }: Pick<AudioSource, 'warnings' | 'incomplete'>): void {
    for (const sentence of warnings) this.warnings.warn(sentence, incomplete ? 'lost' : 'mended');
    const { sentences } = this.warnings;
    const added = sentences.slice(this.#told);
    this.#told = sentences.length;
    for (const sentence of added) this.options.onWarning?.(sentence, this.warnings.incomplete);
  }

  /** Adds up the milliseconds of stages. */
  spend(stages: Partial<Timings>): void {
    for (const [stage, milliseconds] of Object.entries(stages)) this.timings[stage as keyof Timings] += milliseconds;
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
      if (whole !== '') onPartial({ start: round(this.toRecording(begin / sampleRate, false)), text: whole });
    };
  }

  /** Segments of a window that begins at sample `begin`, with words where they are wanted: their times are those of what is decoded. */
  draft(begin: number, segments: readonly WindowSegment[], attempt: Attempt): Draft[] {
    const { hop, sampleRate } = this.model.checkpoint.preprocessor;
    const offset = begin / sampleRate;
    const seek = Math.round((this.toRecording(offset, false) * sampleRate) / hop);
    let place = 0;
    const drafts = segments.map(({ start, end, tokens }): Draft => {
      const top = attempt.top?.slice(place, place + tokens.length);
      place += tokens.length;
      return {
        seek,
        start: offset + start,
        end: offset + end,
        text: this.tokenizer.decode(tokens),
        tokens,
        temperature: attempt.temperature,
        avg_logprob: attempt.averageLogProbability,
        compression_ratio: attempt.compressionRatio,
        no_speech_prob: attempt.noSpeechProbability,
        ...(this.languages && { language: attempt.language ?? undefined }),
        ...(top && { top_logprobs: top }),
      };
    });
    if (attempt.times) this.#addWords(drafts, offset, attempt, attempt.times);
    return drafts;
  }

  #addWords(drafts: Draft[], offset: number, attempt: Attempt, times: readonly number[]): void {
    const isText = (id: number) => this.tokenizer.isText(id);
    const prefix = attempt.tokens.length - attempt.logProbabilities.length + Number(attempt.ended);
    const tokens = attempt.tokens
      .slice(
        0,
        drafts.reduce((count, draft) => count + draft.tokens.length, 0),
      )
      .map((id, i) => ({
        id,
        probability: i < prefix ? 1 : Math.exp(attempt.logProbabilities[i - prefix]),
        start: times[i],
        end: times[i + 1],
      }))
      .filter(({ id }) => isText(id));
    const timed = timeWords(tokens, attempt.language ?? this.settings.language, this.tokenizer);
    const { prependPunctuations = usualPunctuations.prepend, appendPunctuations = usualPunctuations.append } =
      this.options;
    mergePunctuations(timed.words, prependPunctuations, appendPunctuations);
    this.speechEnd = addWords(drafts, timed, isText, offset, this.speechEnd);
  }

  /**
   * Segments as they are given out: with the recording's times, numbered, and without those that have no length or no text. Their window ends
   * at `limit`, in seconds of what is decoded: a time that the model wrote behind it is not one of what follows there.
   */
  publish(drafts: readonly Draft[], limit = Number.POSITIVE_INFINITY): Segment[] {
    const back = (seconds: number, isEnd: boolean) =>
      round(seconds <= limit ? this.toRecording(seconds, isEnd) : this.toRecording(limit, true) + (seconds - limit));
    const times = <T extends { start: number; end: number }>(one: T): T => ({
      ...one,
      start: back(one.start, false),
      end: back(one.end, true),
    });
    return drafts
      .filter(({ start, end, text }) => start !== end && text.trim() !== '')
      .map((draft) => ({
        id: this.#segments++,
        ...times(draft),
        ...(draft.words && { words: draft.words.map(times) }),
      }));
  }
}
