/** Decodes the window of a turn: hypotheses during speech, and the final text. */
import type { EngineRequest } from '../../engine/request.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { defaultTemperatures } from '../decoding/options.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { WindowSettings } from '../decoding/windows.js';
import type { HeldAudio } from './held-audio.js';
import { canKeep, mustChoose } from './language.js';
import type { CheckedLiveOptions, LivePolicy } from './options.js';
import { confirmableWords } from './policy.js';
import { fastTextBegin } from './repetition.js';
import { type DecodedStretch, StretchDecoder } from './stretch-decoder.js';
import type { Turn } from './turn.js';
import type { LiveEvent } from './types.js';

/** When a window is this full, its start is moved. */
const fullShare = 0.8;
/** By at least this share of the window; the share at its end that is always kept. */
const earliestCut = 0.2;
export const keptAfterCut = 0.35;
/** Maximum number of new tokens: a constant, and tokens for each second that is not confirmed. More would be a loop. */
const [baseTokens, tokensPerSecond] = [16, 20];
/** Replaces the option `threshold`, in seconds, for a window that does not include all audio so far. */
const cutThreshold = 1;
/** Seconds of unconfirmed audio after which a decoding that fails is repeated without the text before it. */
const stallSeconds = 2;
/** Seconds of a turn's audio before which nothing is confirmed: from the start of a word, Whisper invents sentences. */
const firstSeconds = 1;

export interface TurnDecoderParts {
  model: WhisperModel;
  request: EngineRequest;
  tokenizer: WhisperTokenizer;
  options: CheckedLiveOptions;
  policy: LivePolicy;
  /** Settings for the end of a turn; hypotheses are decoded without fallback. */
  settings: WindowSettings;
  emit(event: LiveEvent): void;
}

export class TurnDecoder {
  /** Maximum samples of a window. */
  readonly windowSamples: number;
  readonly #parts: TurnDecoderParts;
  readonly #audio: HeldAudio;
  readonly #stretches: StretchDecoder;
  /** Settings without fallback. */
  readonly #hypothesisSettings: WindowSettings;
  readonly #sampleRate: number;
  /** True if the language is detected, and may change between turns. */
  readonly #followsLanguage: boolean;
  readonly #isOpen: (turn: Turn) => boolean;
  #lastPartial = '';

  /** `isOpen` returns false for a turn that was dropped while it was decoded. Such a turn emits no more events. */
  constructor(parts: TurnDecoderParts, audio: HeldAudio, isOpen: (turn: Turn) => boolean) {
    const { model, request, tokenizer, options, settings } = parts;
    const { sampleRate, samples } = model.checkpoint.preprocessor;
    this.windowSamples = Math.min(Math.round(options.window * sampleRate), samples);
    this.#parts = parts;
    this.#audio = audio;
    this.#sampleRate = sampleRate;
    this.#isOpen = isOpen;
    this.#stretches = new StretchDecoder(model, request, audio, tokenizer);
    const { multilingual, languages } = model.checkpoint.generation;
    this.#followsLanguage = options.followLanguage && settings.language === null && multilingual && languages.size > 1;
    this.#hypothesisSettings = { ...settings, decoding: { ...settings.decoding, temperatures: [0] } };
  }

  /** Decodes the remaining audio of a turn up to sample `end`, and confirms all its text. */
  async finish(turn: Turn, end: number): Promise<void> {
    while (!(turn.plausible && turn.decodedTo >= Math.min(turn.stopped!, end))) {
      if (await this.step(turn, end, true)) break;
    }
    this.#confirm(turn, turn.hypothesis.length, turn.decodedTo);
    this.#lastPartial = '';
  }

  /**
   * Decodes the audio up to sample `to`, as far as it fits into the window. Confirms text by the policy, unless this is
   * the last decoding of the turn: `final`, with all its audio. Returns true in that case.
   */
  async step(turn: Turn, to: number, final: boolean): Promise<boolean> {
    const { policy, options, model } = this.#parts;
    const end = Math.min(to, turn.windowBegin + this.windowSamples);
    const complete = end === to;
    const isLast = final && complete;
    const threshold = isLast ? 0 : complete ? options.threshold : cutThreshold;
    // `restart` moves the start of the window, so these are computed again after it.
    const duration = () => (end - turn.windowBegin) / this.#sampleRate;
    const fastWordsIn = ({ words }: DecodedStretch) => fastTextBegin(words, duration() - threshold);
    const hasLanguage = await this.#checkLanguage(turn, end, isLast);
    const previous = turn.hypothesis;
    let decoded = await this.#decode(turn, end, isLast);
    // After a complete sentence, or because of the text before, Whisper may stop at once or invent text.
    const failed = decoded.words.length === 0 || decoded.repeats || fastWordsIn(decoded) !== null;
    if (failed && duration() - turn.confirmedTo >= stallSeconds && turn.restart()) {
      decoded = await this.#decode(turn, end, isLast);
    }
    turn.decodedTo = end;
    turn.setHypothesis(decoded.words);
    if (isLast) {
      turn.plausible = true;
      return true;
    }
    const seconds = duration();
    const fastFrom = fastWordsIn(decoded);
    if (fastFrom !== null) turn.plausible = false;
    const isFirstSecond = turn.words.length === 0 && end - turn.start < firstSeconds * this.#sampleRate;
    // The end of the turn is decoded again.
    if (!hasLanguage) turn.plausible = false;
    const canConfirm = !isFirstSecond && !decoded.repeats && hasLanguage && this.#hasLanguage(turn, seconds);
    const limit = canConfirm ? (fastFrom ?? decoded.words.length) : 0;
    const count = Math.min(confirmableWords(policy, decoded.words, previous, seconds - threshold), limit);
    this.#confirm(turn, count, end);
    const hasLongPrefix = turn.prefix.length > model.checkpoint.config.targetPositions / 4;
    if (seconds >= (fullShare * this.windowSamples) / this.#sampleRate || hasLongPrefix) {
      this.#advance(turn, seconds, complete);
    }
    this.#emitPartial(turn, end);
    return false;
  }

  async #decode(turn: Turn, end: number, isLast: boolean): Promise<DecodedStretch> {
    const { settings, options, model } = this.#parts;
    const seconds = (end - turn.windowBegin) / this.#sampleRate - turn.confirmedTo;
    const { prefix } = turn;
    const plausibleTokens = Math.ceil(baseTokens + tokensPerSecond * seconds);
    const stretch = {
      begin: turn.windowBegin,
      end,
      previous: model.checkpoint.generation.previousToken === null ? [] : turn.context,
      prefix,
      draft: turn.plausible ? turn.hypothesis.flatMap(({ tokens }) => tokens) : [],
      maximumTokens: Math.min(options.maxNewTokens ?? Number.POSITIVE_INFINITY, plausibleTokens),
    };
    const first = await this.#stretches.decode(stretch, this.#hypothesisSettings);
    const { noSpeechProbability, averageLogProbability, compressionRatio, language, languageProbability } =
      first.attempt;
    if (languageProbability !== undefined) {
      turn.language = language;
      if (canKeep(languageProbability, seconds)) this.#setLanguage(language);
    }
    const { decoding } = settings;
    const repetitive =
      first.repeats || compressionRatio > (decoding.compressionRatioThreshold ?? Number.POSITIVE_INFINITY);
    const improbable =
      prefix.length === 0 && averageLogProbability < (decoding.logProbabilityThreshold ?? Number.NEGATIVE_INFINITY);
    // A window with confirmed text has speech.
    const silent = prefix.length === 0 && noSpeechProbability > (decoding.noSpeechThreshold ?? 1);
    if (silent) return { ...first, words: [] };
    turn.plausible = !repetitive && !improbable;
    if (turn.plausible) return first;
    if (!isLast) return { ...first, repeats: true };
    const fallback = { ...decoding, temperatures: defaultTemperatures.slice(1) };
    if (prefix.length > 0) fallback.logProbabilityThreshold = null;
    return this.#stretches.decode({ ...stretch, draft: [] }, { ...settings, decoding: fallback });
  }

  /** Sets the language of the stream, in which all further windows are decoded. */
  #setLanguage(language: string | null): void {
    this.#parts.settings.language = language;
    this.#hypothesisSettings.language = language;
  }

  /**
   * Compares the language at the start of a turn with that of the stream, which it replaces if another one is certain.
   * Returns false while that is uncertain.
   */
  async #checkLanguage(turn: Turn, end: number, isLast: boolean): Promise<boolean> {
    const { language } = this.#parts.settings;
    const seconds = (end - turn.audio) / this.#sampleRate;
    if (!this.#followsLanguage || language === null || !turn.languageCheck.isDue(seconds)) return true;
    const probabilities = await this.#stretches.languages(Math.max(turn.audio, turn.windowBegin), end);
    const found = turn.languageCheck.check(probabilities, language, seconds, isLast);
    if (found === null || found === language) return found !== null;
    this.#setLanguage(found);
    turn.beginAlone();
    return true;
  }

  /** True if the language is certain enough, or need not be detected. */
  #hasLanguage(turn: Turn, seconds: number): boolean {
    return this.#parts.settings.language !== null || turn.language === null || mustChoose(seconds);
  }

  /** Moves the start of the window. If it is full, text before the new start is confirmed first. */
  #advance(turn: Turn, seconds: number, complete: boolean): void {
    const limit = this.windowSamples / this.#sampleRate;
    const latest = seconds - keptAfterCut * limit;
    if (turn.advance(earliestCut * limit, latest) || (complete && seconds < limit)) return;
    this.#confirm(turn, turn.hypothesis.filter(({ end }) => end <= latest).length, turn.decodedTo);
    if (!turn.advance(0, latest)) turn.skip(latest);
  }

  /** Seconds of audio after sample `end`. */
  lagOf(end: number): number {
    return Math.max(0, this.#audio.end - end) / this.#sampleRate;
  }

  #confirm(turn: Turn, count: number, end: number): void {
    if (count === 0) return;
    const firstToken = turn.tokens.length;
    const words = turn.confirm(count);
    if (!this.#isOpen(turn)) return;
    const text = words.map(({ word }) => word).join('');
    const scores = turn.scores(this.#parts.options, firstToken);
    this.#parts.emit({ type: 'confirmed', turn: turn.id, text, words, ...scores, lag: this.lagOf(end) });
  }

  #emitPartial(turn: Turn, end: number): void {
    const { options, emit } = this.#parts;
    if (!options.partials || !this.#isOpen(turn)) return;
    const words = turn.hypothesis.map((word) => turn.inStream(word));
    const text = words.map(({ word }) => word).join('');
    // An unchanged hypothesis is emitted again only if text has been confirmed before it.
    const state = `${turn.text.length} ${text}`;
    if (state === this.#lastPartial) return;
    this.#lastPartial = state;
    emit({ type: 'partial', turn: turn.id, text, words, lag: this.lagOf(end) });
  }
}
