/** Decoding of one window: language, prompt, search and fallback. */
import type { EngineRequest } from '../../engine/request.js';
import type { EncodedWindow } from '../../engine/tasks.js';
import type { Voice } from '../../vad/voice.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { Found, ModelWindow, Search, TextAttention } from '../model/search.js';
import { isTrusted, shortWindow } from './audio-context.js';
import {
  checkFinite,
  decodeWithFallback,
  type FallbackCalls,
  needsFallback,
  type Attempt as WindowAttempt,
  type WindowBegin,
} from './fallback.js';
import type { GivenTokens } from './given-tokens.js';
import { type Journal, journalName, readEntry, writeEntry } from './journal.js';
import { before, type LanguageChange, languageChange, otherLanguage, type TextPart } from './language-change.js';
import { loudness, unknown } from './loudness.js';
import { type Task, type TimestampMode, windowPrompt } from './prompt.js';
import type { Decoding } from './resolve.js';
import { isUnbelievable, isUnheard, surelyHeard } from './silence.js';
import { languageProbabilities, startSearch, type WhisperEngine, windowLanguages } from './window-languages.js';
import { type TokenTimes, timeTokens } from './word-times.js';

/** A window's text, how it was found, and its language. */
export interface Attempt extends Omit<WindowAttempt, 'attention'> {
  language: string | null;
  /** Of the language, where it was detected for this window. */
  languageProbability?: number;
  /** Where another language begins: the text ends before it. */
  change?: LanguageChange;
}

/** What is the same for all windows of a transcription. */
export interface WindowSettings {
  /** A code, or null: detected for each window. */
  language: string | null;
  /** The languages among which it is detected; all unless given. */
  among?: readonly string[];
  task: Task;
  timestamps: TimestampMode;
  minNewTokens?: number;
  maxNewTokens?: number;
  decoding: Decoding;
  /**
   * Seconds of silence that a window is encoded with behind its sound, where it is not full of it; null: windows are
   * encoded whole.
   */
  margin?: number | null;
  /** Whether a language that was found may change within the recording. */
  follow?: boolean;
  /**
   * Cuts a window's text where its timestamps do; `frames` are its audio positions with sound. Without it only whole
   * windows change their language.
   */
  partsOf?: (tokens: readonly number[], frames?: number) => readonly TextPart[];
  /** For the compression ratio; without it no text counts as repetitive. */
  textOf?: (tokens: readonly number[]) => string;
  /** For times of words. */
  tokenizer?: WhisperTokenizer;
  /** Where results are kept and found again. */
  journal?: Journal;
}

/** What is a window's own. */
export interface WindowOptions {
  previous?: readonly number[];
  prefix?: readonly number[];
  /** How the text is guessed to go on; see `Search.draft`. */
  draft?: readonly number[];
  seed?: number;
  /** Audio positions with sound; all unless given. */
  frames?: number;
  /** Called now and then with the tokens so far. */
  onTokens?: (tokens: number[]) => void;
  /** What of the text is given out as it is found. */
  given?: GivenTokens;
  /** What a voice detector hears in it, where that is to count. */
  voice?: Promise<Voice>;
}

/** Milliseconds of a window: it waited, was encoded, was decoded. */
export interface WindowTimings {
  queue: number;
  encode: number;
  decode: number;
}

/** What a window's searches begin with; the context is cut where it leaves too little room. */
function windowBegin(
  { generation, config }: Checkpoint,
  language: string | null,
  settings: WindowSettings,
  window: WindowOptions,
): WindowBegin {
  const { task, timestamps, minNewTokens, maxNewTokens } = settings;
  const begin = windowPrompt(generation, config.targetPositions, { language, task, timestamps }, window, settings);
  const room = config.targetPositions - begin.prompt.length - begin.prefix.length;
  // What max_length counts besides the text is the prompt proper, not the text before it.
  const usual = generation.maxLength - (begin.prompt.length - begin.startIndex) - begin.prefix.length;
  const maximum = Math.min(maxNewTokens ?? Math.max(1, usual), room);
  const minimum = Math.min(minNewTokens ?? 0, maximum);
  const { draft, frames } = window;
  return { ...begin, ...(draft && { draft }), minimum, maximum, timestamps: timestamps === 'segment', frames };
}

/** Encodes a window on an engine and decodes it, unless the journal knows what it gives. */
export async function decodeWindow(
  engine: WhisperEngine,
  request: EngineRequest,
  checkpoint: Checkpoint,
  window: ModelWindow,
  options: WindowOptions,
  settings: WindowSettings,
): Promise<{ attempt: Attempt; timings: WindowTimings }> {
  const { journal, language, margin, decoding } = settings;
  const { seed = 0, frames, previous, prefix } = options;
  const timings = { queue: 0, encode: 0, decode: 0 };
  const name = journal && journalName(seed, frames, language, previous, prefix, margin, decoding.temperatures);
  const kept = name === undefined ? undefined : journal?.find(name);
  const known = kept === undefined ? undefined : readEntry<Attempt>(kept);
  if (known) return { attempt: known, timings };
  const attempt = await decodeFitted({ engine, request, checkpoint, window, options, settings, timings });
  if (name !== undefined) journal?.keep(name, writeEntry(attempt));
  return { attempt, timings };
}

/** Decodes a window; where only its beginning was encoded and the text is not to be trusted, the whole of it. */
async function decodeFitted(work: WindowWork): Promise<Attempt> {
  const { engine, checkpoint, window, options, settings } = work;
  const { margin = null, decoding } = settings;
  const short = margin === null ? null : shortWindow(checkpoint, window, options.frames, margin);
  if (short) {
    const [first] = decoding.temperatures;
    const chosen = { ...settings, decoding: { ...decoding, temperatures: [first] } };
    const { attempt, bounded } = await decodeOnce({ ...work, ...short, settings: chosen });
    // A text that ends where another language begins did not end by itself, and need not.
    if (attempt.silent || isTrusted(attempt, bounded && !attempt.change, decoding)) return attempt;
    engine.countEncodedAgain();
  }
  return (await decodeOnce(work)).attempt;
}

/** A window to encode and decode, with what of its text is bounded, and where its times are added up. */
interface WindowWork {
  engine: WhisperEngine;
  request: EngineRequest;
  checkpoint: Checkpoint;
  window: ModelWindow;
  options: WindowOptions;
  settings: WindowSettings;
  timings: WindowTimings;
  /** Tokens of the text at most, where the settings say no less. */
  longest?: number;
}

/** The attempt of a window that was not decoded, since nobody speaks in it. */
function silence({ noSpeechProbability }: Found, { temperatures }: Decoding): Attempt {
  const none = { tokens: [], logProbabilities: [], sum: 0, ended: true, averageLogProbability: 0, compressionRatio: 0 };
  return { ...none, noSpeechProbability, temperature: temperatures[0], silent: true, language: null };
}

/** Times of a window's tokens; where its samples are not known, it counts as equally loud everywhere. */
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

/** `bounded`: whether `longest` left the text less room than it has otherwise. */
async function decodeOnce(work: WindowWork): Promise<{ attempt: Attempt; bounded: boolean }> {
  const { engine, request, checkpoint, options, settings, timings, longest = Number.POSITIVE_INFINITY } = work;
  const { generation } = checkpoint;
  const { decoding } = settings;
  const started = performance.now();
  const window = await engine.encode(request, work.window);
  try {
    const { given, prefix = [] } = options;
    const voice = await options.voice;
    // A window whose text begins with what was given out before is decoded in any case.
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
    /** One try, of which nothing is given out before it is judged. */
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

/** A window of a recording whose language was found and may change. */
interface FollowedWindow extends Pick<WindowWork, 'checkpoint' | 'options' | 'settings'> {
  window: EncodedWindow<Search, Found>;
  /** Of the whole window, where they were asked for. */
  probabilities: Map<string, number> | null;
  language: string;
  decode(language: string, calls?: FallbackCalls): Promise<Attempt>;
}

/**
 * Decodes a window in the language that is expected, or, where that is clearly not its own, in its own; up to where
 * another one begins.
 */
async function decodeFollowing(followed: FollowedWindow): Promise<Attempt> {
  const { window, checkpoint, options, settings, decode } = followed;
  const { decoding, partsOf, among } = settings;
  const { generation } = checkpoint;
  let { language, probabilities } = followed;
  const told = options.previous?.length ?? 0;
  const shown = () => options.given?.tokens.length ?? 0;
  const ask = async ({ startLogits }: Pick<Attempt, 'startLogits'>) => {
    // The text before a window is no evidence of its language.
    probabilities ??=
      told > 0 || !startLogits
        ? await windowLanguages(window, checkpoint, settings)
        : languageProbabilities(startLogits, generation, among);
    return probabilities;
  };
  // Text that is given out while it is found must be in the right language from the first word on.
  if (options.given && shown() === 0) language = otherLanguage(await ask({}), language) ?? language;
  /** Other temperatures do not help where the language is wrong. */
  const goesOn = ({ startLogits }: WindowAttempt) =>
    told > 0 ||
    shown() > 0 ||
    !startLogits ||
    otherLanguage(languageProbabilities(startLogits, generation, among), language) === null;
  let attempt = await decode(language, { goesOn });
  for (let turn = 0; ; ++turn) {
    const failed = needsFallback(attempt, decoding);
    const parts = attempt.tokens.length === 0 ? [] : (partsOf?.(attempt.tokens, options.frames) ?? []);
    const asked = { window, checkpoint, probabilities: await ask(attempt), expected: language, among };
    const change = await languageChange(asked, parts, failed || partsOf === undefined);
    if (!change || change.tokens < shown()) return attempt;
    const own = change.tokens > 0 ? before(attempt, change, settings.textOf ?? (() => '')) : null;
    if (own && (turn > 0 || !needsFallback(own, decoding))) return { ...own, change };
    // Once: what is in neither language, or fails in its own at every temperature, is left as it is.
    if (turn > 0) return attempt;
    if (!own) ({ language } = change);
    attempt = await decode(language);
  }
}
