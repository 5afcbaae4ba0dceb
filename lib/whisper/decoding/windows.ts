/** Decoding of one window: language, prompt, search and fallback. */
import type { EngineRequest } from '../../engine/request.js';
import type { EncodedWindow } from '../../engine/tasks.js';
import type { Voice } from '../../vad/voice.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { ModelWindow, Search, SearchResult, TextAttention } from '../model/search.js';
import { isTrusted, shortWindow } from './audio-context.js';
import {
  checkFinite,
  decodeWithFallback,
  type FallbackCalls,
  needsFallback,
  type SearchAttempt,
  type WindowBegin,
} from './fallback.js';
import type { GivenTokens } from './given-tokens.js';
import { type Journal, journalName, readEntry, writeEntry } from './journal.js';
import { attemptBefore, type LanguageChange, languageChange, otherLanguage, type TextPart } from './language-change.js';
import { loudness, unknown } from './loudness.js';
import { type Task, type TimestampMode, windowPrompt } from './prompt.js';
import type { Decoding } from './resolve.js';
import { isUnbelievable, isUnheard, surelyHeard } from './silence.js';
import { languageProbabilities, startSearch, type WhisperEngine, windowLanguages } from './window-languages.js';
import { type TokenTimes, timeTokens } from './word-times.js';

/** The result of one window: text, how it was found, and language. */
export interface WindowResult extends Omit<SearchAttempt, 'attention'> {
  language: string | null;
  /** The probability of the language, if it was detected for this window. */
  languageProbability?: number;
  /** The place where another language begins; the text ends before it. */
  change?: LanguageChange;
}

/** Settings of all windows of a transcription. */
export interface WindowSettings {
  /** A code, or null: detected for each window. */
  language: string | null;
  /** The candidate languages for detection; all unless given. */
  among?: readonly string[];
  task: Task;
  timestamps: TimestampMode;
  minNewTokens?: number;
  maxNewTokens?: number;
  decoding: Decoding;
  /** Seconds of silence that are encoded behind a short window's sound. Null: windows are encoded whole. */
  margin?: number | null;
  /** Whether a detected language may change within the recording. */
  follow?: boolean;
  /**
   * Splits a window's text at its timestamps; `frames` is the number of audio positions with sound. Without this
   * function, only whole windows change their language.
   */
  partsOf?: (tokens: readonly number[], frames?: number) => readonly TextPart[];
  /** Decodes the text for the compression ratio. Without this function, no text counts as repetitive. */
  textOf?: (tokens: readonly number[]) => string;
  /** Needed for times of words. */
  tokenizer?: WhisperTokenizer;
  /** Results are stored there and found again. */
  journal?: Journal;
}

/** Options of one window. */
export interface WindowOptions {
  previous?: readonly number[];
  prefix?: readonly number[];
  /** A guess of the text that follows; see `Search.draft`. */
  draft?: readonly number[];
  seed?: number;
  /** The number of audio positions with sound; all unless given. */
  frames?: number;
  /** Called from time to time with the tokens so far. */
  onTokens?: (tokens: number[]) => void;
  /** The part of the text that is published while it is found. */
  given?: GivenTokens;
  /** The voice detector's result for the window, if it is to count. */
  voice?: Promise<Voice>;
}

/** Milliseconds that a window waited, was encoded, was decoded. */
export interface WindowTimings {
  queue: number;
  encode: number;
  decode: number;
}

/** The start of a window's searches. The previous text is cut if it leaves too little room. */
function windowBegin(
  { generation, config }: Checkpoint,
  language: string | null,
  settings: WindowSettings,
  window: WindowOptions,
): WindowBegin {
  const { task, timestamps, minNewTokens, maxNewTokens } = settings;
  const begin = windowPrompt(generation, config.targetPositions, { language, task, timestamps }, window, settings);
  const room = config.targetPositions - begin.prompt.length - begin.prefix.length;
  // Besides the text, max_length counts the prompt proper, and not the previous text.
  const usual = generation.maxLength - (begin.prompt.length - begin.startIndex) - begin.prefix.length;
  const maximum = Math.min(maxNewTokens ?? Math.max(1, usual), room);
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
  const kept = name === undefined ? undefined : journal?.find(name);
  const known = kept === undefined ? undefined : readEntry<WindowResult>(kept);
  if (known) return { attempt: known, timings };
  const attempt = await decodeFitted({ engine, request, checkpoint, window, options, settings, timings });
  if (name !== undefined) journal?.keep(name, writeEntry(attempt));
  return { attempt, timings };
}

/** Decodes a window. If only its beginning was encoded and the text is not plausible, the whole window is decoded. */
async function decodeFitted(work: WindowWork): Promise<WindowResult> {
  const { engine, checkpoint, window, options, settings } = work;
  const { margin = null, decoding } = settings;
  const short =
    margin === null ? null : shortWindow(checkpoint, window, options.frames, margin, engine.encodesTogether);
  if (short) {
    const [first] = decoding.temperatures;
    const chosen = { ...settings, decoding: { ...decoding, temperatures: [first] } };
    const { attempt, bounded } = await decodeOnce({ ...work, ...short, settings: chosen });
    // A text that was cut at a change of language need not end by itself.
    if (attempt.silent || isTrusted(attempt, bounded && !attempt.change, decoding)) return attempt;
    engine.countEncodedAgain();
  }
  return (await decodeOnce(work)).attempt;
}

/** A window to encode and decode, with the limits of its text and the sums of its times. */
interface WindowWork {
  engine: WhisperEngine;
  request: EngineRequest;
  checkpoint: Checkpoint;
  window: ModelWindow;
  options: WindowOptions;
  settings: WindowSettings;
  timings: WindowTimings;
  /** The most tokens of its text, if this is less than the settings say. */
  longest?: number;
}

/** The attempt of a window that was not decoded, since it has no speech. */
function silence({ noSpeechProbability }: SearchResult, { temperatures }: Decoding): WindowResult {
  const none = { tokens: [], logProbabilities: [], sum: 0, ended: true, averageLogProbability: 0, compressionRatio: 0 };
  return { ...none, noSpeechProbability, temperature: temperatures[0], silent: true, language: null };
}

/** Times of a window's tokens. Without samples, the window counts as equally loud everywhere. */
function tokenTimes(
  tokens: readonly number[],
  attention: TextAttention,
  language: string | null,
  { window, checkpoint, settings: { tokenizer } }: WindowWork,
): TokenTimes | null {
  if (!tokenizer) return null;
  const { frames } = attention;
  const loud =
    'samples' in window
      ? loudness(window.samples, frames, checkpoint.preprocessor)
      : new Float64Array(frames).fill(unknown);
  return timeTokens(tokens, attention, loud, language, tokenizer);
}

/** `bounded` is true if `longest` left the text less room than it has otherwise. */
async function decodeOnce(work: WindowWork): Promise<{ attempt: WindowResult; bounded: boolean }> {
  const { engine, request, checkpoint, options, settings, timings, longest = Number.POSITIVE_INFINITY } = work;
  const { generation } = checkpoint;
  const { decoding } = settings;
  const started = performance.now();
  const window = await engine.encode(request, work.window);
  try {
    const { given, prefix = [] } = options;
    const voice = await options.voice;
    // A window whose text begins with published tokens is always decoded.
    const unheard = voice !== undefined && prefix.length === 0 && isUnheard(voice);
    if (unheard) {
      const found = await window.search(startSearch(generation));
      checkFinite(found);
      if (found.noSpeechProbability > surelyHeard) return { attempt: silence(found, decoding), bounded: false };
    }
    let language = settings.language ?? (given?.tokens.length ? given.language : null);
    let probabilities: Map<string, number> | null = null;
    if (language === null && generation.multilingual && generation.languages.size > 0) {
      probabilities = await windowLanguages(window, checkpoint, settings);
      [language] = likeliestLanguage(probabilities);
    } else if (!generation.multilingual) language ??= 'en';
    let bounded = false;
    const decode = async (code: string | null, calls: FallbackCalls = {}, chosen = decoding) => {
      const usual = windowBegin(checkpoint, code, settings, options);
      const maximum = Math.max(usual.minimum, Math.min(usual.maximum, longest));
      bounded = maximum < usual.maximum;
      const begin = { ...usual, maximum, startLogits: settings.follow };
      if (given) given.language = code;
      const textOf = settings.textOf ?? (() => '');
      const all = { onTokens: options.onTokens, onFallback: () => engine.countFallback(), given, ...calls };
      const seed = options.seed ?? 0;
      const { attention, ...found } = await decodeWithFallback(window, begin, seed, chosen, textOf, all);
      const times = attention && tokenTimes(found.tokens, attention, code, work);
      return { ...found, ...times, language: code };
    };
    /** One attempt, of which nothing is published before it has been checked. */
    const decodeUnheard = async () => {
      const nobody = { given: undefined, onTokens: undefined };
      const found = await decode(language, nobody, { ...decoding, temperatures: decoding.temperatures.slice(0, 1) });
      return { ...found, silent: isUnbelievable(found, decoding) };
    };
    const follows = settings.follow && language !== null;
    const { startLogits, ...attempt } = unheard
      ? await decodeUnheard()
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
 * Decodes a window in the expected language, or in its own if that is clearly another one, up to a change of language.
 */
async function decodeFollowing(followed: FollowedWindow): Promise<WindowResult> {
  const { window, checkpoint, options, settings, decode } = followed;
  const { decoding, partsOf, among } = settings;
  const { generation } = checkpoint;
  let { language, probabilities } = followed;
  const told = options.previous?.length ?? 0;
  const shown = () => options.given?.tokens.length ?? 0;
  const ask = async ({ startLogits }: Pick<WindowResult, 'startLogits'>) => {
    // Detection runs without the previous text, which is no evidence of this window's language.
    probabilities ??=
      told > 0 || !startLogits
        ? await windowLanguages(window, checkpoint, settings)
        : languageProbabilities(startLogits, generation, among);
    return probabilities;
  };
  // Text that is published while it is found must be in the right language from the first word on.
  if (options.given && shown() === 0) language = otherLanguage(await ask({}), language) ?? language;
  /** Other temperatures do not help if the language is wrong. */
  const tryNextTemperature = ({ startLogits }: SearchAttempt) =>
    told > 0 ||
    shown() > 0 ||
    !startLogits ||
    otherLanguage(languageProbabilities(startLogits, generation, among), language) === null;
  let attempt = await decode(language, { tryNextTemperature });
  for (let turn = 0; ; ++turn) {
    const failed = needsFallback(attempt, decoding);
    const parts = attempt.tokens.length === 0 ? [] : (partsOf?.(attempt.tokens, options.frames) ?? []);
    const asked = { window, checkpoint, probabilities: await ask(attempt), expected: language, among };
    const change = await languageChange(asked, parts, failed || partsOf === undefined);
    if (!change || change.tokens < shown()) return attempt;
    const own = change.tokens > 0 ? attemptBefore(attempt, change, settings.textOf ?? (() => '')) : null;
    if (own && (turn > 0 || !needsFallback(own, decoding))) return { ...own, change };
    // Once only: a window that is in neither language, or fails in its own at every temperature, is left as it is.
    if (turn > 0) return attempt;
    if (!own) ({ language } = change);
    attempt = await decode(language);
  }
}
