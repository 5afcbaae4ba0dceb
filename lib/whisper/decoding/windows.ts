/** Decoding of one window: language, prompt, search and fallback. */
import type { EngineRequest } from '../../engine/request.js';
import type { EncodedWindow } from '../../engine/tasks.js';
import type { Voice } from '../../vad/voice.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { ModelWindow, Search, SearchResult, TextAttention } from '../model/search.js';
import { isPlausible, shortWindow } from './audio-context.js';
import {
  checkFinite,
  decodeWithFallback,
  type FallbackCalls,
  needsFallback,
  type SearchAttempt,
  type WindowBegin,
} from './fallback.js';
import { type Journal, journalName, readEntry, writeEntry } from './journal.js';
import { attemptBefore, type LanguageChange, languageChange, otherLanguage, type TextPart } from './language-change.js';
import { loudness, neutralProbability } from './loudness.js';
import { type Task, type TimestampMode, windowPrompt } from './prompt.js';
import type { PublishedText } from './published-text.js';
import type { Decoding } from './resolve.js';
import { hasVoice, isUncertain, maximumNoSpeech } from './silence.js';
import { languageProbabilities, startSearch, type WhisperEngine, windowLanguages } from './window-languages.js';
import { type TokenTimes, timeTokens } from './word-times.js';

/** The result of one window. */
export interface WindowResult extends Omit<SearchAttempt, 'attention'> {
  /** The language of the text; null for a model without languages, and for a silent window. */
  language: string | null;
  /** The probability of the language, if it was detected for this window. */
  languageProbability?: number;
  /** The position where another language begins; the text ends before it. */
  change?: LanguageChange;
}

/** Settings of all windows of a transcription. */
export interface WindowSettings {
  /** A code, or null to detect the language of each window. */
  language: string | null;
  /** The candidate languages for detection. Default: all. */
  among?: readonly string[];
  task: Task;
  timestamps: TimestampMode;
  minNewTokens?: number;
  maxNewTokens?: number;
  decoding: Decoding;
  /** Seconds of silence that are encoded after the audio of a short window. Null: full windows are encoded. */
  margin?: number | null;
  /** Whether a detected language may change within the recording. */
  follow?: boolean;
  /**
   * Splits a window's text at its timestamps; `frames` is the number of audio positions with sound. Without this
   * function, the language changes only between windows.
   */
  partsOf?: (tokens: readonly number[], frames?: number) => readonly TextPart[];
  /** Decodes the text for the compression ratio. Without this function, texts never count as repetitive. */
  textOf?: (tokens: readonly number[]) => string;
  /** Required for word times. */
  tokenizer?: WhisperTokenizer;
  /** Stores the windows' results, and is searched for them first. */
  journal?: Journal;
}

/** Options of one window. */
export interface WindowOptions {
  previous?: readonly number[];
  prefix?: readonly number[];
  /** A guess of the text after the prefix; see `Search.draft`. */
  draft?: readonly number[];
  /** Differs between windows, so that their samples do. Default: 0. */
  seed?: number;
  /** The number of audio positions with sound. Default: all. */
  frames?: number;
  /** Called repeatedly with the tokens so far. */
  onTokens?: (tokens: number[]) => void;
  /** The part of the text that is published during decoding. */
  published?: PublishedText;
  /** The result of voice detection for the window, if the option `noSpeechRule` requires it. */
  voice?: Promise<Voice>;
}

/** Milliseconds for which a window waited, was encoded, and was decoded. */
export interface WindowTimings {
  queue: number;
  encode: number;
  decode: number;
}

/** Returns the start of a window's searches. The previous text is shortened if it leaves too little room. */
function windowBegin(
  { generation, config }: Checkpoint,
  language: string | null,
  settings: WindowSettings,
  window: WindowOptions,
): WindowBegin {
  const { task, timestamps, minNewTokens, maxNewTokens } = settings;
  const begin = windowPrompt(generation, config.targetPositions, { language, task, timestamps }, window, settings);
  const room = config.targetPositions - begin.prompt.length - begin.prefix.length;
  // generation_config.json's max_length includes the prompt from <|startoftranscript|> on, but not the previous text.
  const defaultMaximum = generation.maxLength - (begin.prompt.length - begin.startIndex) - begin.prefix.length;
  const maximum = Math.min(maxNewTokens ?? Math.max(1, defaultMaximum), room);
  const minimum = Math.min(minNewTokens ?? 0, maximum);
  const { draft, frames } = window;
  return { ...begin, ...(draft && { draft }), minimum, maximum, timestamps: timestamps === 'segment', frames };
}

/** Encodes and decodes a window on an engine, unless the journal has its result. */
export async function decodeWindow(
  engine: WhisperEngine,
  request: EngineRequest,
  checkpoint: Checkpoint,
  window: ModelWindow,
  options: WindowOptions,
  settings: WindowSettings,
): Promise<{ attempt: WindowResult; timings: WindowTimings }> {
  const { journal, language, margin, decoding } = settings;
  const { seed = 0, frames, previous, prefix } = options;
  const timings = { queue: 0, encode: 0, decode: 0 };
  const name = journal && journalName(seed, frames, language, previous, prefix, margin, decoding.temperatures);
  const entry = name === undefined ? undefined : journal?.find(name);
  const stored = entry === undefined ? undefined : readEntry<WindowResult>(entry);
  if (stored) return { attempt: stored, timings };
  const attempt = await decodeShortFirst({ engine, request, checkpoint, window, options, settings, timings });
  if (name !== undefined) journal?.keep(name, writeEntry(attempt));
  return { attempt, timings };
}

/** Decodes a window, first as a short window if possible. If that text is not plausible, decodes the full window. */
async function decodeShortFirst(work: WindowWork): Promise<WindowResult> {
  const { engine, checkpoint, window, options, settings } = work;
  const { margin = null, decoding } = settings;
  const short =
    margin === null ? null : shortWindow(checkpoint, window, options.frames, margin, engine.encodesTogether);
  if (short) {
    const [first] = decoding.temperatures;
    const shortSettings = { ...settings, decoding: { ...decoding, temperatures: [first] } };
    const { attempt, bounded } = await decodeOnce({ ...work, ...short, settings: shortSettings });
    // A text that was cut at a change of language has no end token.
    if (attempt.silent || isPlausible(attempt, bounded && !attempt.change, decoding)) return attempt;
    engine.countEncodedAgain();
  }
  return (await decodeOnce(work)).attempt;
}

/** A window to encode and decode. */
interface WindowWork {
  engine: WhisperEngine;
  request: EngineRequest;
  checkpoint: Checkpoint;
  window: ModelWindow;
  options: WindowOptions;
  settings: WindowSettings;
  /** Times are added to it. */
  timings: WindowTimings;
  /** The maximum number of tokens of a short window's text. */
  maximumTokens?: number;
}

/** The result of a window that is not decoded, since it has no speech. */
function silentResult({ noSpeechProbability }: SearchResult, { temperatures }: Decoding): WindowResult {
  const empty = {
    tokens: [],
    logProbabilities: [],
    sum: 0,
    ended: true,
    averageLogProbability: 0,
    compressionRatio: 0,
  };
  return { ...empty, noSpeechProbability, temperature: temperatures[0], silent: true, language: null };
}

/** Computes the times of a window's tokens. If the samples are not available, loudness is ignored. */
function tokenTimes(
  tokens: readonly number[],
  attention: TextAttention,
  language: string | null,
  { window, checkpoint, settings: { tokenizer } }: WindowWork,
): TokenTimes | null {
  if (!tokenizer) return null;
  const { frames } = attention;
  const speech =
    'samples' in window
      ? loudness(window.samples, frames, checkpoint.preprocessor)
      : new Float64Array(frames).fill(neutralProbability);
  return timeTokens(tokens, attention, speech, language, tokenizer);
}

/** Encodes and decodes a window. `bounded` is true if `maximumTokens` reduced the maximum length of the text. */
async function decodeOnce(work: WindowWork): Promise<{ attempt: WindowResult; bounded: boolean }> {
  const { engine, request, checkpoint, options, settings, timings } = work;
  const { maximumTokens = Number.POSITIVE_INFINITY } = work;
  const { generation } = checkpoint;
  const { decoding } = settings;
  const started = performance.now();
  const window = await engine.encode(request, work.window);
  try {
    const { published, prefix = [] } = options;
    const voice = await options.voice;
    // A window whose text begins with published tokens is always decoded.
    const withoutVoice = voice !== undefined && prefix.length === 0 && !hasVoice(voice);
    if (withoutVoice) {
      const start = await window.search(startSearch(generation));
      checkFinite(start);
      if (start.noSpeechProbability > maximumNoSpeech) {
        return { attempt: silentResult(start, decoding), bounded: false };
      }
    }
    let language = settings.language ?? (published?.tokens.length ? published.language : null);
    let probabilities: Map<string, number> | null = null;
    if (language === null && generation.multilingual && generation.languages.size > 0) {
      probabilities = await windowLanguages(window, checkpoint, settings);
      [language] = likeliestLanguage(probabilities);
    } else if (!generation.multilingual) language ??= 'en';
    let bounded = false;
    const decode = async (code: string | null, calls: FallbackCalls = {}, method = decoding) => {
      const unbounded = windowBegin(checkpoint, code, settings, options);
      const maximum = Math.max(unbounded.minimum, Math.min(unbounded.maximum, maximumTokens));
      bounded = maximum < unbounded.maximum;
      const begin = { ...unbounded, maximum, startLogits: settings.follow };
      if (published) published.language = code;
      const textOf = settings.textOf ?? (() => '');
      const onFallback = () => engine.countFallback();
      const allCalls = { onTokens: options.onTokens, onFallback, published, ...calls };
      const seed = options.seed ?? 0;
      const { attention, ...result } = await decodeWithFallback(window, begin, seed, method, textOf, allCalls);
      const times = attention && tokenTimes(result.tokens, attention, code, work);
      return { ...result, ...times, language: code };
    };
    /** Decodes at the first temperature only. Nothing is published, since the text may be dropped. */
    const decodeWithoutVoice = async () => {
      const calls = { published: undefined, onTokens: undefined };
      const result = await decode(language, calls, { ...decoding, temperatures: decoding.temperatures.slice(0, 1) });
      return { ...result, silent: isUncertain(result, decoding) };
    };
    const follows = settings.follow && language !== null;
    const { startLogits, ...attempt } = withoutVoice
      ? await decodeWithoutVoice()
      : follows
        ? await decodeFollowing({ window, checkpoint, options, settings, probabilities, language: language!, decode })
        : await decode(language);
    const probability = probabilities?.get(attempt.language ?? '');
    const detected = probability === undefined ? {} : { languageProbability: probability };
    return { attempt: { ...attempt, ...detected }, bounded };
  } finally {
    const { waited, encodeTime } = window;
    timings.queue += waited;
    timings.encode += encodeTime;
    timings.decode += Math.max(0, performance.now() - started - waited - encodeTime);
    window.close();
  }
}

/** A window of a recording whose detected language may change. */
interface FollowedWindow extends Pick<WindowWork, 'checkpoint' | 'options' | 'settings'> {
  window: EncodedWindow<Search, SearchResult>;
  /** The language probabilities of the whole window, if they were computed. */
  probabilities: Map<string, number> | null;
  language: string;
  decode(language: string, calls?: FallbackCalls): Promise<WindowResult>;
}

/**
 * Decodes a window up to a change of language: in the expected language, or in another one if the window is clearly in
 * that from the beginning.
 */
async function decodeFollowing(followed: FollowedWindow): Promise<WindowResult> {
  const { window, checkpoint, options, settings, decode } = followed;
  const { decoding, partsOf, among } = settings;
  const { generation } = checkpoint;
  let { language, probabilities } = followed;
  const hasPrevious = (options.previous?.length ?? 0) > 0;
  const publishedCount = () => options.published?.tokens.length ?? 0;
  const detect = async ({ startLogits }: Pick<WindowResult, 'startLogits'>) => {
    // Logits after a previous text are not used, since that text biases the detection.
    probabilities ??=
      hasPrevious || !startLogits
        ? await windowLanguages(window, checkpoint, settings)
        : languageProbabilities(startLogits, generation, among);
    return probabilities;
  };
  // Published text must be in the right language from the first word on.
  if (options.published && publishedCount() === 0) language = otherLanguage(await detect({}), language) ?? language;
  /** False if the language is wrong, which other temperatures cannot repair. */
  const tryNextTemperature = ({ startLogits }: SearchAttempt) =>
    hasPrevious ||
    publishedCount() > 0 ||
    !startLogits ||
    otherLanguage(languageProbabilities(startLogits, generation, among), language) === null;
  let attempt = await decode(language, { tryNextTemperature });
  // The window is decoded again at most once. If it is in neither language, or fails at every temperature, the second
  // result is final.
  for (let isSecond = false; ; isSecond = true) {
    const failed = needsFallback(attempt, decoding);
    const parts = attempt.tokens.length === 0 ? [] : (partsOf?.(attempt.tokens, options.frames) ?? []);
    const languageWindow = { window, checkpoint, probabilities: await detect(attempt), expected: language, among };
    const change = await languageChange(languageWindow, parts, failed || partsOf === undefined);
    if (!change || change.tokens < publishedCount()) return attempt;
    const before = change.tokens > 0 ? attemptBefore(attempt, change, settings.textOf ?? (() => '')) : null;
    if (before && (isSecond || !needsFallback(before, decoding))) return { ...before, change };
    if (isSecond) return attempt;
    if (!before) ({ language } = change);
    attempt = await decode(language);
  }
}
