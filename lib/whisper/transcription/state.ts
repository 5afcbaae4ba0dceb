/** The state of one transcription: its checked options, and the results of its windows. */
import type { AudioSource } from '../../audio/index.js';
import { clock, Warnings } from '../../audio/warnings.js';
import type { EngineRequest } from '../../engine/request.js';
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

/** The result of one window, or of several channels' windows. */
export interface Outcome {
  segments: Segment[];
  /** The second up to which the audio has been processed. */
  processed: number;
}

/** Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED for options that the model does not support. */
function checkSupport(options: CheckedTranscribeOptions, { checkpoint }: WhisperModel): void {
  const { conditionOnPreviousText, prompt, hotwords } = options;
  const { sampleRate, hop } = checkpoint.preprocessor;
  if (options.clips) clipRanges(options.clips, sampleRate, hop);
  const hasPrevious = conditionOnPreviousText || hotwords !== undefined || (prompt !== undefined && prompt.length > 0);
  if (hasPrevious && checkpoint.generation.previousToken === null) throw noPreviousToken();
  for (const name of ['prompt', 'prefix'] as const) {
    const value = options[name];
    if (typeof value !== 'string') checkTokens(name, value, checkpoint.config.vocabulary);
  }
}

/** Returns the codes of the candidate languages for detection. Throws OneheadError INVALID_ARGUMENT. */
function candidateLanguages(
  { languages }: CheckedTranscribeOptions,
  generation: GenerationConfig,
): string[] | undefined {
  if (languages === undefined) return undefined;
  return languages.map((one) => checkLanguage(one, generation, 'languages'));
}

/**
 * Returns the settings of all windows of a transcription. Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED for
 * options that the model does not support.
 */
export async function windowSettings(
  model: WhisperModel,
  options: CheckedTranscribeOptions,
): Promise<{ settings: WindowSettings; tokenizer: WhisperTokenizer }> {
  const { generation, preprocessor } = model.checkpoint;
  checkSupport(options, model);
  const tokenizer = await model.checkpoint.tokenizer();
  const timestamps = checkTimestamps(
    options.timestamps ?? (generation.noTimestampsToken === null ? 'none' : 'segment'),
    generation,
  );
  const settings: WindowSettings = {
    // If the language of each window is detected, or candidates are given, the checkpoint's default is ignored.
    ...languageAndTask(
      options.languagePerSegment || options.languages ? { ...options, language: options.language ?? 'auto' } : options,
      generation,
    ),
    timestamps,
    maxNewTokens: options.maxNewTokens,
    decoding: await resolveDecoding(options, model.checkpoint),
    among: candidateLanguages(options, generation),
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
  model.checkRows(settings.decoding);
  return { settings, tokenizer };
}

export class TranscriptionState {
  readonly model: WhisperModel;
  readonly options: CheckedTranscribeOptions;
  readonly settings: WindowSettings;
  readonly tokenizer: WhisperTokenizer;
  /** The engine request of all its windows. */
  readonly request: EngineRequest;
  readonly times = new StageTimes();
  readonly builder: SegmentBuilder;
  /** Publishes text during decoding; null without the option `onText`. */
  readonly running: RunningText | null;
  /** The end of the audio so far, in seconds. */
  duration = 0;
  /** The length in seconds that the input states; null if it is not known before it is read. */
  total: number | null = null;
  /** Returns the second of the recording up to which the text is complete, from the second that was processed. */
  known: (processed: number) => number = (processed) => processed;
  /** True if the language of each window is detected and added to its segments. */
  readonly languages: boolean;
  /** The language of the recording's beginning; null until it is known. */
  language: string | null;
  /** True once a window has text. A language that was detected in silence means nothing. */
  spoken = false;
  /** Aborts what is still running when the call ends. */
  stop: () => void = () => {};
  /** Finished segments, if they are collected. */
  readonly finished: Segment[] = [];
  /** Parts without text in the result. */
  readonly omitted: Omission[] = [];
  /** Problems of the recording. */
  readonly warnings = new Warnings();
  /** The language of the options. */
  readonly #given: string | null;
  /** Languages of later parts that a warning has named. */
  readonly #otherLanguages = new Set<string>();
  /** The number of warnings that were passed to `onWarning`. */
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
    this.#given = settings.language;
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
    const warn = (sentence: string) => this.warnings.warn(sentence, 'mended');
    this.running = onText ? new RunningText({ tokenizer, decoding, endToken, whole, onText, warn }) : null;
  }

  /** Sets a detected language. Later windows are decoded in it, unless the language of each window is detected. */
  setLanguage(language: string | null): void {
    this.language ??= language;
    if (!this.languages) this.settings.language ??= language;
  }

  /** `soundFrames` of a window with `frames` frames of audio. */
  soundFrames(frames: number): number | undefined {
    const isPadded = frames < this.model.checkpoint.preprocessor.frames;
    return isPadded && this.options.windowPadding === 'zeros' ? frames : undefined;
  }

  /** The language of the result: that of the options, or that of the text; null if there is neither. */
  get languageOfText(): string | null {
    if (!this.model.checkpoint.generation.multilingual) return this.language ?? 'en';
    return this.#given ?? (this.spoken || this.options.rules === 'openai' ? this.language : null);
  }

  /** Warns of text in another language, once for each. It begins at sample `begin` of the decoded audio. */
  warnOfLanguage(language: string | null, begin: number): void {
    if (language === null || language === this.language || this.#otherLanguages.has(language)) return;
    this.#otherLanguages.add(language);
    const from = clock(this.builder.toRecording(begin / this.model.checkpoint.preprocessor.sampleRate, false));
    const name = (code: string) =>
      `${(languageNames.get(code) ?? code).replace(/\b[a-z]/g, (letter) => letter.toUpperCase())} (${code})`;
    this.warnings.warn(
      `The recording begins in ${name(this.language!)} and continues in ${name(language)} at ${from}; if that is wrong, ` +
        'set language, or set followLanguage to false.',
      'mended',
    );
  }

  /**
   * Checks the options against the model, so that no window fails because of them. Opens a request if `request` is
   * absent; the caller closes it. Throws OneheadError INVALID_ARGUMENT, NOT_SUPPORTED or BUSY.
   */
  static async open(
    model: WhisperModel,
    options: CheckedTranscribeOptions,
    request?: EngineRequest,
  ): Promise<TranscriptionState> {
    const { settings, tokenizer } = await windowSettings(model, options);
    const job = new TranscriptionState(model, options, settings, tokenizer, request ?? model.request(options));
    const { alignmentWarning } = model.checkpoint.generation;
    if (settings.decoding.words && model.wordTimes === 'attention' && alignmentWarning) {
      job.warnings.warn(alignmentWarning, 'mended');
    }
    return job;
  }

  /** Starts voice detection on the samples of a window, if the result is needed. */
  detectVoice(samples: Float32Array): Promise<Voice> | undefined {
    const { sampleRate } = this.model.checkpoint.preprocessor;
    const { noSpeechThreshold } = this.settings.decoding;
    if (this.options.noSpeechRule !== 'voice' || noSpeechThreshold === null || sampleRate !== 16000) return undefined;
    const voice = (async () => {
      // The window is submitted to the device within these turns of the event loop, so that both run concurrently.
      for (let turn = 0; turn < 2; ++turn) await new Promise<void>((resolve) => setImmediate(resolve));
      return listen(samples);
    })();
    voice.catch(() => {}); // the caller receives the error
    return voice;
  }

  /** Adds a part to `omitted`, in seconds of the decoded audio. Successive parts without text are joined. */
  omit(start: number, end: number, reason: Omission['reason'], tokens: readonly number[]): void {
    const text = this.tokenizer.decode(tokens);
    const begin = round(this.builder.toRecording(start, false));
    const last = this.omitted.at(-1);
    const continues = last && text === '' && last.text === '' && last.reason === reason && begin - last.end < 0.1;
    if (continues) last.end = round(this.builder.toRecording(end, true));
    else this.omitted.push({ start: begin, end: round(this.builder.toRecording(end, true)), reason, text });
  }

  /**
   * Removes segments with known hallucinations if the detector finds no speech there. The window begins at `begin`
   * seconds.
   */
  dropInventions(drafts: Draft[], begin: number, voice: Voice | undefined): void {
    if (!voice || !this.options.dropInventions) return;
    const invented = drafts.filter(
      ({ text, start, end }) => isKnownInvention(text) && voice.longest(start - begin - 0.3, end - begin + 0.3) === 0,
    );
    for (const draft of invented) {
      drafts.splice(drafts.indexOf(draft), 1);
      this.omit(draft.start, draft.end, 'known invention', draft.tokens);
    }
  }

  /** Adds the recording's warnings, and passes new ones to `onWarning`. */
  addWarnings({ warnings, incomplete }: Pick<AudioSource, 'warnings' | 'incomplete'>): void {
    for (const sentence of warnings) this.warnings.warn(sentence, incomplete ? 'lost' : 'mended');
    const { sentences } = this.warnings;
    const added = sentences.slice(this.#reported);
    this.#reported = sentences.length;
    for (const sentence of added) this.options.onWarning?.(sentence, this.warnings.incomplete);
  }

  /** Returns a function that passes the text of the window at sample `begin` to `onPartial`, if there is one. */
  partial(begin: number): ((tokens: number[]) => void) | undefined {
    const { onPartial } = this.options;
    const { sampleRate } = this.model.checkpoint.preprocessor;
    if (!onPartial) return undefined;
    return (tokens) => {
      const text = this.tokenizer.decode(tokens);
      // An incomplete character at the end, whose tokens follow, is left out.
      const complete = text.replace(/\ufffd+$/, '');
      if (complete === '') return;
      onPartial({ start: round(this.builder.toRecording(begin / sampleRate, false)), text: complete });
    };
  }
}
