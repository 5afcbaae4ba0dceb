/** Decodes the window of a turn: hypotheses while somebody speaks, and the final text. */
import type { EngineRequest } from '../../engine/request.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { usualTemperatures } from '../decoding/options.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { WindowSettings } from '../decoding/windows.js';
import type { HeldAudio } from './held-audio.js';
import { type Heard, Listener } from './hypothesis.js';
import type { CheckedLiveOptions, LivePolicy } from './options.js';
import { sureWords } from './policy.js';
import { hurryBegin } from './repetition.js';
import type { Turn } from './turn.js';
import type { LiveEvent } from './types.js';

/** Shares of the window: the earliest cut, and the fill level from which it is cut. */
const [earliestCut, fullFrom] = [0.2, 0.8];
/** The share of the window that is kept after a cut. */
export const keptAfterCut = 0.35;
/**
 * Maximum new tokens of a window: a constant, and a number per unconfirmed second. Text with more tokens is looping.
 */
const [baseTokens, tokensPerSecond] = [16, 20];
/** Seconds after which text is confirmed even if the language is uncertain. */
const languageSeconds = 3;
/** Probability from which a detected language is kept. */
const languageThreshold = 0.5;
/** Threshold in seconds before the end of a window that does not contain all audio so far. */
const cutThreshold = 1;
/** Seconds of audio without silence that give no text, after which the previous text is dropped from the context. */
const stallSeconds = 2;
/** Seconds at the start of a turn that confirm nothing: from the beginning of a word, Whisper makes short sentences. */
const firstSeconds = 1;

export interface TurnDecoderParts {
  model: WhisperModel;
  request: EngineRequest;
  tokenizer: WhisperTokenizer;
  options: CheckedLiveOptions;
  policy: LivePolicy;
  /** Settings of final text; hypotheses are decoded without fallback. */
  settings: WindowSettings;
  emit(event: LiveEvent): void;
}

export class TurnDecoder {
  /** Maximum samples of a window. */
  readonly windowSamples: number;
  readonly #parts: TurnDecoderParts;
  readonly #audio: HeldAudio;
  readonly #listener: Listener;
  readonly #provisional: WindowSettings;
  readonly #sampleRate: number;
  readonly #isOpen: (turn: Turn) => boolean;
  #lastPartial = '';

  /** `isOpen` is false for a turn that was dropped while it was decoded; it emits no more events. */
  constructor(parts: TurnDecoderParts, audio: HeldAudio, isOpen: (turn: Turn) => boolean) {
    const { model, request, tokenizer, options, settings } = parts;
    const { sampleRate, samples } = model.checkpoint.preprocessor;
    this.windowSamples = Math.min(Math.round(options.window * sampleRate), samples);
    this.#parts = parts;
    this.#audio = audio;
    this.#sampleRate = sampleRate;
    this.#isOpen = isOpen;
    this.#listener = new Listener(model, request, audio, tokenizer);
    this.#provisional = { ...settings, decoding: { ...settings.decoding, temperatures: [0] } };
  }

  /** Decodes the remaining audio of a turn up to sample `end`, and confirms all its text. */
  async finish(turn: Turn, end: number): Promise<void> {
    while (!(turn.sound && turn.decodedTo >= Math.min(turn.stopped!, end))) {
      if (await this.step(turn, end, true)) break;
    }
    this.#confirm(turn, turn.hypothesis.length, turn.decodedTo);
    this.#lastPartial = '';
  }

  /**
   * Decodes the audio up to sample `to`, as far as it fits into the window, and confirms text by the policy. True if
   * this was all of a `final` text.
   */
  async step(turn: Turn, to: number, final: boolean): Promise<boolean> {
    const { policy, options, model } = this.#parts;
    const end = Math.min(to, turn.windowBegin + this.windowSamples);
    const complete = end === to;
    const last = final && complete;
    const span = () => (end - turn.windowBegin) / this.#sampleRate;
    const frontierOf = (seconds: number) => (last ? seconds : seconds - (complete ? options.threshold : cutThreshold));
    const before = turn.hypothesis;
    let decoded = await this.#decode(turn, end, last);
    // A complete sentence, or the previous text, can make Whisper stop at once or invent text.
    const failed =
      decoded.words.length === 0 || decoded.repeats || hurryBegin(decoded.words, frontierOf(span())) !== null;
    if (failed && span() - turn.sureTo >= stallSeconds && turn.restart()) decoded = await this.#decode(turn, end, last);
    const seconds = span();
    turn.decodedTo = end;
    turn.hear(decoded.words);
    if (last) {
      turn.sound = true;
      return true;
    }
    const frontier = frontierOf(seconds);
    const hurried = hurryBegin(decoded.words, frontier);
    if (hurried !== null) turn.sound = false;
    const early = turn.words.length === 0 && end - turn.start < firstSeconds * this.#sampleRate;
    const unsure = early || decoded.repeats || !this.#knowsLanguage(turn, seconds);
    const sure = unsure
      ? 0
      : Math.min(sureWords(policy, decoded.words, before, frontier), hurried ?? decoded.words.length);
    this.#confirm(turn, sure, end);
    const crowded = turn.prefix.length > model.checkpoint.config.targetPositions / 4;
    if (seconds >= (fullFrom * this.windowSamples) / this.#sampleRate || crowded)
      this.#advance(turn, seconds, complete);
    this.#partial(turn, end);
    return false;
  }

  async #decode(turn: Turn, end: number, final: boolean): Promise<Heard> {
    const { settings, options, model } = this.#parts;
    const seconds = (end - turn.windowBegin) / this.#sampleRate - turn.sureTo;
    const draft = turn.sound ? turn.hypothesis.flatMap(({ tokens }) => tokens) : [];
    const { prefix } = turn;
    const stretch = {
      begin: turn.windowBegin,
      end,
      previous: model.checkpoint.generation.previousToken === null ? [] : turn.context,
      prefix,
      draft,
      most: Math.min(
        options.maxNewTokens ?? Number.POSITIVE_INFINITY,
        Math.ceil(baseTokens + tokensPerSecond * seconds),
      ),
    };
    const first = await this.#listener.hear(stretch, this.#provisional);
    const { noSpeechProbability, averageLogProbability, compressionRatio, language, languageProbability } =
      first.attempt;
    if (languageProbability !== undefined) {
      turn.language = language;
      // A probable language is kept, so that later windows need not detect it.
      if (languageProbability >= languageThreshold && seconds >= 1) this.#setLanguage(language);
    }
    const { decoding } = settings;
    const repetitive =
      first.repeats || compressionRatio > (decoding.compressionRatioThreshold ?? Number.POSITIVE_INFINITY);
    const improbable =
      prefix.length === 0 && averageLogProbability < (decoding.logProbabilityThreshold ?? Number.NEGATIVE_INFINITY);
    // With confirmed text the window is not silent, whatever the rest is.
    const silent = prefix.length === 0 && noSpeechProbability > (decoding.noSpeechThreshold ?? 1);
    if (silent) return { ...first, words: [] };
    turn.sound = !repetitive && !improbable;
    if (turn.sound || !final) return turn.sound ? first : { ...first, repeats: true };
    const again = { ...decoding, temperatures: usualTemperatures.slice(1) };
    if (prefix.length > 0) again.logProbabilityThreshold = null;
    return this.#listener.hear({ ...stretch, draft: [] }, { ...settings, decoding: again });
  }

  #setLanguage(language: string | null): void {
    const { settings } = this.#parts;
    settings.language ??= language;
    this.#provisional.language ??= language;
  }

  /** True if the language is certain enough, or need not be detected. */
  #knowsLanguage(turn: Turn, seconds: number): boolean {
    return this.#parts.settings.language !== null || turn.language === null || seconds >= languageSeconds;
  }

  /** Makes room in the window. */
  #advance(turn: Turn, seconds: number, complete: boolean): void {
    const limit = this.windowSamples / this.#sampleRate;
    const latest = seconds - keptAfterCut * limit;
    if (turn.advance(earliestCut * limit, latest) || (complete && seconds < limit)) return;
    // The window is full: the hypothesis for its beginning will not become more certain.
    this.#confirm(turn, turn.hypothesis.filter(({ end }) => end <= latest).length, turn.decodedTo);
    if (!turn.advance(0, latest)) turn.skipTo(latest);
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

  #partial(turn: Turn, end: number): void {
    const { options, emit } = this.#parts;
    if (!options.partials || !this.#isOpen(turn)) return;
    const words = turn.hypothesis.map((word) => turn.inStream(word));
    const text = words.map(({ word }) => word).join('');
    // An unchanged hypothesis is not repeated, unless text was confirmed before it.
    const state = `${turn.text.length} ${text}`;
    if (state === this.#lastPartial) return;
    this.#lastPartial = state;
    emit({ type: 'partial', turn: turn.id, text, words, lag: this.lagOf(end) });
  }
}
