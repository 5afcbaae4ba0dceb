/** Decoding of one window: language, prompt, search and fallback. */
import type { Engine } from '../../engine/engine.js';
import type { EngineRequest } from '../../engine/request.js';
import type { EncodedWindow } from '../../engine/tasks.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { likeliestLanguage } from '../checkpoint/languages.js';
import type { Found, ModelWindow, Search } from '../model/search.js';
import { isTrusted, shortWindow } from './audio-context.js';
import { decodeWithFallback, type Attempt as WindowAttempt, type WindowBegin } from './fallback.js';
import type { GivenTokens } from './given-tokens.js';
import { type Journal, journalName, readEntry, writeEntry } from './journal.js';
import { type Task, type TimestampMode, windowPrompt } from './prompt.js';
import type { Decoding } from './resolve.js';

export type WhisperEngine = Engine<ModelWindow, Search, Found>;

/** A window's text, how it was found, and its language. */
export interface Attempt extends WindowAttempt {
  language: string | null;
  /** Of the language, where it was detected for this window. */
  languageProbability?: number;
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
  /** Seconds of silence that a window is encoded with behind its sound, where it is not full of it; null: windows are encoded whole. */
  margin?: number | null;
  /** For the compression ratio; without it no text counts as repetitive. */
  textOf?: (tokens: readonly number[]) => string;
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
}

/** Milliseconds of a window: it waited, was encoded, was decoded. */
export interface WindowTimings {
  queue: number;
  encode: number;
  decode: number;
}

const nothing = new Uint8Array();

/** How probable each language is, by its code; of those that come into question, where they are named. */
export async function windowLanguages(
  window: EncodedWindow<Search, Found>,
  { generation }: Checkpoint,
  among?: readonly string[],
): Promise<Map<string, number>> {
  const { startLogits } = await window.search({
    prompt: [generation.startToken],
    startIndex: 0,
    minimum: 0,
    maximum: 0,
    timestamps: false,
    beams: 1,
    temperature: 0,
    seed: 0,
    patience: 1,
    lengthPenalty: null,
    repetitionPenalty: 1,
    noRepeatNgramSize: 0,
    suppressed: nothing,
    top: 0,
    words: false,
    startLogits: true,
  });
  const scores = Array.from(generation.languages, ([code, id]): [string, number] => [code, startLogits![id]]).filter(
    ([code]) => among === undefined || among.includes(code),
  );
  const highest = Math.max(...scores.map(([, score]) => score));
  const total = scores.reduce((sum, [, score]) => sum + Math.exp(score - highest), 0);
  return new Map(scores.map(([code, score]) => [code, Math.exp(score - highest) / total]));
}

/** A probability above which a language that was found in a short window is believed. */
const sureLanguage = 0.5;

/** Encodes a window and gives how probable each language is; where only its beginning was encoded and none is probable, of the whole of it. */
export async function encodedLanguages(
  engine: WhisperEngine,
  request: EngineRequest,
  checkpoint: Checkpoint,
  window: ModelWindow,
  { frames, margin = null, among }: Pick<WindowOptions, 'frames'> & Pick<WindowSettings, 'margin' | 'among'>,
): Promise<Map<string, number>> {
  const short = margin === null ? null : shortWindow(checkpoint, window, frames, margin);
  for (const one of short ? [short.window, window] : [window]) {
    const encoded = await engine.encode(request, one);
    try {
      const found = await windowLanguages(encoded, checkpoint, among);
      if (one === window || likeliestLanguage(found)[1] > sureLanguage) return found;
      engine.countEncodedAgain();
    } finally {
      encoded.close();
    }
  }
  throw new Error('There is no window.');
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
  const { journal } = settings;
  const { seed = 0, frames, previous, prefix } = options;
  const timings = { queue: 0, encode: 0, decode: 0 };
  const name = journal && journalName(seed, frames, settings.language, previous, prefix);
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
    if (isTrusted(attempt, bounded, decoding)) return attempt;
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
  /** Tokens at most, besides what the settings say. */
  longest?: number;
}

/** `bounded`: whether `longest` left the text less room than it has otherwise. */
async function decodeOnce({
  engine,
  request,
  checkpoint,
  options,
  settings,
  timings,
  longest = Number.POSITIVE_INFINITY,
  ...work
}: WindowWork): Promise<{ attempt: Attempt; bounded: boolean }> {
  const { generation } = checkpoint;
  const started = performance.now();
  const window = await engine.encode(request, work.window);
  try {
    const { given } = options;
    let language = settings.language ?? (given?.tokens.length ? given.language : null);
    let languageProbability: number | undefined;
    if (language === null && generation.multilingual && generation.languages.size > 0) {
      const found = await windowLanguages(window, checkpoint, settings.among);
      [language, languageProbability] = likeliestLanguage(found);
    } else if (!generation.multilingual) language ??= 'en';
    if (given) given.language = language;
    const usual = windowBegin(checkpoint, language, settings, options);
    const maximum = Math.max(usual.minimum, Math.min(usual.maximum, longest));
    const begin = { ...usual, maximum };
    const textOf = settings.textOf ?? (() => '');
    const calls = { onTokens: options.onTokens, onFallback: () => engine.countFallback(), given };
    const attempt = await decodeWithFallback(window, begin, options.seed ?? 0, settings.decoding, textOf, calls);
    const { waited, encodeTime } = window;
    timings.queue += waited;
    timings.encode += encodeTime;
    timings.decode += Math.max(0, performance.now() - started - waited - encodeTime);
    const detected = languageProbability === undefined ? {} : { languageProbability };
    return { attempt: { ...attempt, language, ...detected }, bounded: maximum < usual.maximum };
  } finally {
    window.close();
  }
}
