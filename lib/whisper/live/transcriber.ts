/**
 * A stream of samples to events, without a clock of its own: `add` takes audio, `work` does what is due and says
 * whether anything was. So the same code runs as fast as somebody speaks, and on a simulated clock.
 */
import type { EngineRequest } from '../../engine/request.js';
import { OneheadError } from '../../errors.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { usualTemperatures } from '../decoding/options.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { WindowSettings } from '../decoding/windows.js';
import { HeldAudio } from './held-audio.js';
import { type Heard, Listener } from './hypothesis.js';
import type { CheckedLiveOptions, LivePolicy } from './options.js';
import { sureWords } from './policy.js';
import { hurryBegin } from './repetition.js';
import { Turn } from './turn.js';
import type { TurnChange, TurnDetector } from './turn-detector.js';
import type { LiveEvent } from './types.js';

/**
 * Shares of the window: where it is cut at the earliest, what is kept behind a cut, and how full it is when it is cut.
 */
const [earliestCut, keptBehind, fullFrom] = [0.2, 0.35, 0.8];
/**
 * New tokens of a window: so many, and so many more a second that is not confirmed. What writes more goes round in
 * circles.
 */
const [fewestTokens, tokensPerSecond] = [16, 20];
/** Seconds after which text is confirmed even though the language is not sure. */
const languageSeconds = 3;
const languageSure = 0.5;
/** Seconds before the end of a window that is not the end of what was heard. */
const cutThreshold = 1;
/**
 * Seconds of audio of which nothing is written, though nobody is silent, after which the text before them is forgotten.
 */
const stallSeconds = 2;
/** Seconds between two turns over which the second goes on in the window of the first. */
const followSeconds = 3;
/** Seconds of a turn in which nothing is confirmed: of the beginning of a word alone Whisper makes short sentences. */
const firstSeconds = 1;

export interface TranscriberParts {
  model: WhisperModel;
  request: EngineRequest;
  tokenizer: WhisperTokenizer;
  options: CheckedLiveOptions;
  policy: LivePolicy;
  /** Settings of final text; hypotheses are decoded without fallback. */
  settings: WindowSettings;
  prompt: readonly number[];
  /** Null: all is one turn. */
  detector: TurnDetector | null;
  emit(event: LiveEvent): void;
}

export class Transcriber {
  readonly #parts: TranscriberParts;
  readonly #audio = new HeldAudio();
  readonly #listener: Listener;
  readonly #provisional: WindowSettings;
  readonly #sampleRate: number;
  /** Samples that are decoded together at most. */
  readonly #limit: number;
  readonly #border: number;
  /** The first is decoded; the others wait. */
  #turns: Turn[] = [];
  #count = 0;
  /** Places where the turn under way ends, because somebody said so. */
  #marks: number[] = [];
  /** The end of the audio that is to be forgotten; it begins at the last mark. */
  #cleared: number | null = null;
  /** Without a detector: the beginning of the first turn whose audio was not decoded. */
  #from = 0;
  /** The last turn that was told whole. */
  #last: Turn | null = null;
  #lastPartial = '';

  constructor(parts: TranscriberParts) {
    const { model, request, tokenizer, options, settings } = parts;
    const { sampleRate, samples, fftSize } = model.checkpoint.preprocessor;
    this.#parts = parts;
    this.#sampleRate = sampleRate;
    this.#limit = Math.min(Math.round(options.window * sampleRate), samples);
    this.#border = fftSize;
    this.#listener = new Listener(model, request, this.#audio, tokenizer);
    this.#provisional = { ...settings, decoding: { ...settings.decoding, temperatures: [0] } };
  }

  /** Samples so far. */
  get end(): number {
    return this.#audio.end;
  }

  /** Seconds of audio that are held. */
  get held(): number {
    return (this.#audio.end - this.#audio.begin) / this.#sampleRate;
  }

  /** Seconds of audio that wait to be heard. */
  get lag(): number {
    return Math.max(0, this.#audio.end - this.#covered) / this.#sampleRate;
  }

  /** Everything before was heard. */
  get #covered(): number {
    const { detector } = this.#parts;
    const [turn] = this.#turns;
    if (!turn) return detector?.judged ?? this.#from;
    const done = turn.paused !== null && turn.decodedTo >= turn.paused;
    return done && detector ? detector.judged : Math.max(turn.decodedTo, turn.windowBegin);
  }

  /** Takes samples at the model's rate. */
  add(samples: Float32Array): void {
    this.#audio.add(samples);
    const most = this.#parts.options.maximumLag * this.#sampleRate;
    // Half of the audio is dropped, so that there is one gap and not a thousand.
    if (this.#audio.end - this.#covered > most) this.#audio.drop(this.#audio.end - most / 2, true);
  }

  /** Ends the turn under way with what was added so far. */
  flush(): void {
    this.#marks.push(this.#audio.end);
  }

  /** True if everything that was added before the last `flush` has been reported. */
  get flushed(): boolean {
    return this.#marks.length === 0 && this.#turns.every(({ end }) => end === null);
  }

  /** Forgets what was added behind the last `flush`, and the turn that is under way there. */
  clear(): void {
    this.#cleared = this.#audio.end;
    if (this.#marks.length === 0) this.#forget();
  }

  #forget(): void {
    const place = this.#cleared!;
    this.#cleared = null;
    this.#turns = this.#turns.filter(({ end }) => end !== null);
    this.#last = null;
    this.#from = place;
    this.#parts.detector?.forget(place);
  }

  close(): void | Promise<void> {
    return this.#parts.detector?.close();
  }

  /** Does the next piece of work; false where nothing is due. Rejects where the stream cannot go on. */
  async work(): Promise<boolean> {
    const marked = this.#marks.length;
    this.#passGap();
    await this.#findTurns();
    const [turn] = this.#turns;
    if (!turn) {
      const wanted = this.#parts.detector?.wanted ?? this.#from;
      const last = this.#lately(wanted);
      this.#audio.drop(Math.min(wanted, last?.windowBegin ?? wanted) - this.#border);
      return this.#marks.length < marked;
    }
    if (turn.decodedTo < 0 && this.#last) this.#follow(turn);
    this.#audio.drop(turn.windowBegin - this.#border);
    try {
      if (turn.end !== null) await this.#finish(turn, turn.end);
      else if (!this.#isDue(turn)) return false;
      else await this.#step(turn, this.#known, false);
    } catch (error) {
      this.#fail(turn, error);
    }
    return true;
  }

  /** The last turn, where no more than a breath lies between its end and `place`. */
  #lately(place: number): Turn | null {
    const last = this.#last;
    return last && place - last.end! <= followSeconds * this.#sampleRate ? last : null;
  }

  /** Lets a turn go on in the window of the one before it, as far as there is room. */
  #follow(turn: Turn): void {
    const last = this.#lately(turn.windowBegin);
    this.#last = null;
    if (!last) return;
    const seconds = (turn.windowBegin - last.windowBegin) / this.#sampleRate;
    turn.follow(last, seconds - (keptBehind * this.#limit) / this.#sampleRate);
  }

  /** Audio that was given up before it was heard is passed over. */
  #passGap(): void {
    const { begin } = this.#audio;
    const { detector, emit } = this.#parts;
    const [turn] = this.#turns;
    const heard = turn ? turn.windowBegin : (detector?.wanted ?? this.#from);
    if (heard >= begin) return;
    const lost = turn ? Math.max(turn.windowBegin, turn.decodedTo) : heard;
    if (lost < begin) emit({ type: 'lost', start: lost / this.#sampleRate, end: begin / this.#sampleRate });
    detector?.skipTo(begin);
    this.#from = Math.max(this.#from, begin);
    this.#marks = this.#marks.map((mark) => Math.max(mark, begin));
    for (const one of this.#turns) {
      if (one.windowBegin < begin) one.skipTo((begin - one.windowBegin) / this.#sampleRate);
      if (one.end !== null) one.end = Math.max(one.end, begin);
    }
  }

  /** The end of the audio that may be decoded now: nothing behind the end of a turn. */
  get #reach(): number {
    return this.#marks[0] ?? this.#audio.end;
  }

  /** The end of the audio that certainly belongs to the open turn. */
  get #known(): number {
    return Math.min(this.#reach, this.#parts.detector?.judged ?? this.#reach);
  }

  async #findTurns(): Promise<void> {
    const { detector } = this.#parts;
    for (;;) {
      const [mark] = this.#marks;
      if (mark === undefined && this.#cleared !== null) this.#forget();
      if (detector) {
        this.#apply(await detector.hear(this.#audio, this.#reach));
        // An end that came meanwhile is no end of what was heard before.
        if (mark === undefined) return;
        this.#apply(detector.finish(mark));
      } else {
        const open = this.#turns.at(-1);
        if (this.#reach > this.#from && (!open || open.end !== null)) {
          this.#apply([{ change: 'started', place: this.#from, audio: this.#from }]);
        }
        if (mark === undefined) return;
        this.#from = mark;
        this.#apply([{ change: 'stopped', place: mark, audio: mark }]);
      }
      this.#marks.shift();
    }
  }

  #apply(changes: readonly TurnChange[]): void {
    const { emit, prompt, detector } = this.#parts;
    for (const change of changes) {
      const { place } = change;
      if (change.change === 'started') {
        const turn = new Turn(this.#count++, { start: place, audio: change.audio }, prompt, this.#sampleRate);
        this.#turns.push(turn);
        if (detector) emit({ type: 'speech-started', turn: turn.id, start: place / this.#sampleRate });
        continue;
      }
      // A turn that failed reports nothing more.
      const turn = this.#turns.at(-1);
      if (!turn || turn.end !== null) continue;
      if (change.change === 'paused') turn.paused = place;
      else if (change.change === 'resumed') turn.paused = null;
      else {
        turn.stopped = place;
        turn.end = change.audio;
        if (detector) emit({ type: 'speech-stopped', turn: turn.id, end: place / this.#sampleRate });
      }
    }
  }

  #isDue({ paused, decodedTo, windowBegin }: Turn): boolean {
    const fresh = this.#known - Math.max(decodedTo, windowBegin);
    // When a voice falls silent, all of it is decoded at once, so that the text is ready when the turn ends. Silence is
    // not decoded again.
    if (paused !== null) return decodedTo < paused;
    return fresh >= this.#parts.options.interval * this.#sampleRate;
  }

  async #finish(turn: Turn, end: number): Promise<void> {
    const { emit } = this.#parts;
    while (!(turn.sound && turn.decodedTo >= Math.min(turn.stopped!, end))) {
      if (await this.#step(turn, end, true)) break;
    }
    this.#confirm(turn, turn.hypothesis.length, turn.decodedTo);
    if (this.#turns[0] !== turn) return;
    this.#turns.shift();
    this.#last = turn;
    this.#lastPartial = '';
    const { id, text, words, start, stopped } = turn;
    const seconds = { start: start / this.#sampleRate, end: stopped! / this.#sampleRate };
    const language = this.#parts.settings.language ?? turn.language;
    const scores = turn.scores(this.#parts.options);
    emit({ type: 'final', turn: id, ...seconds, text, words, language, ...scores, lag: this.#lagOf(turn.decodedTo) });
  }

  /** Decodes what was heard up to `to`, as far as it fits, and confirms what is sure. True where that was all of it. */
  async #step(turn: Turn, to: number, final: boolean): Promise<boolean> {
    const { policy, options, model } = this.#parts;
    const end = Math.min(to, turn.windowBegin + this.#limit);
    const complete = end === to;
    const last = final && complete;
    const span = () => (end - turn.windowBegin) / this.#sampleRate;
    const frontierOf = (seconds: number) => (last ? seconds : seconds - (complete ? options.threshold : cutThreshold));
    const before = turn.hypothesis;
    let heard = await this.#hear(turn, end, last);
    // A text that was complete, or one that goes before, can make Whisper end at once, or lead it astray.
    const astray = heard.words.length === 0 || heard.repeats || hurryBegin(heard.words, frontierOf(span())) !== null;
    if (astray && span() - turn.sureTo >= stallSeconds && turn.restart()) heard = await this.#hear(turn, end, last);
    const seconds = span();
    turn.decodedTo = end;
    turn.hear(heard.words);
    if (last) {
      turn.sound = true;
      return true;
    }
    const frontier = frontierOf(seconds);
    const hurried = hurryBegin(heard.words, frontier);
    if (hurried !== null) turn.sound = false;
    const early = turn.words.length === 0 && end - turn.start < firstSeconds * this.#sampleRate;
    const unsure = early || heard.repeats || !this.#knowsLanguage(turn, seconds);
    const sure = unsure ? 0 : Math.min(sureWords(policy, heard.words, before, frontier), hurried ?? heard.words.length);
    this.#confirm(turn, sure, end);
    const crowded = turn.prefix.length > model.checkpoint.config.targetPositions / 4;
    if (seconds >= (fullFrom * this.#limit) / this.#sampleRate || crowded) this.#advance(turn, seconds, complete);
    this.#partial(turn, end);
    return false;
  }

  async #hear(turn: Turn, end: number, final: boolean): Promise<Heard> {
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
        Math.ceil(fewestTokens + tokensPerSecond * seconds),
      ),
    };
    const first = await this.#listener.hear(stretch, this.#provisional);
    const { noSpeechProbability, averageLogProbability, compressionRatio, language, languageProbability } =
      first.attempt;
    if (languageProbability !== undefined) {
      turn.language = language;
      // A language that is sure stays: later ticks need not look again.
      if (languageProbability >= languageSure && seconds >= 1) this.#setLanguage(language);
    }
    const { decoding } = settings;
    const repetitive =
      first.repeats || compressionRatio > (decoding.compressionRatioThreshold ?? Number.POSITIVE_INFINITY);
    const improbable =
      prefix.length === 0 && averageLogProbability < (decoding.logProbabilityThreshold ?? Number.NEGATIVE_INFINITY);
    // Behind a text that is sure the window is not silent, whatever the rest is.
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

  /** True if the language of the text is known well enough, or need not be detected. */
  #knowsLanguage(turn: Turn, seconds: number): boolean {
    return this.#parts.settings.language !== null || turn.language === null || seconds >= languageSeconds;
  }

  /** Makes room in the window. */
  #advance(turn: Turn, seconds: number, complete: boolean): void {
    const limit = this.#limit / this.#sampleRate;
    const latest = seconds - keptBehind * limit;
    if (turn.advance(earliestCut * limit, latest) || (complete && seconds < limit)) return;
    // The window is full: what is supposed to be said in its beginning will not become surer.
    this.#confirm(turn, turn.hypothesis.filter(({ end }) => end <= latest).length, turn.decodedTo);
    if (!turn.advance(0, latest)) turn.skipTo(latest);
  }

  #lagOf(end: number): number {
    return Math.max(0, this.#audio.end - end) / this.#sampleRate;
  }

  #confirm(turn: Turn, count: number, end: number): void {
    if (count === 0) return;
    const place = turn.tokens.length;
    const words = turn.confirm(count);
    if (!this.#turns.includes(turn)) return; // given up meanwhile
    const text = words.map(({ word }) => word).join('');
    const scores = turn.scores(this.#parts.options, place);
    this.#parts.emit({ type: 'confirmed', turn: turn.id, text, words, ...scores, lag: this.#lagOf(end) });
  }

  #partial(turn: Turn, end: number): void {
    const { options, emit } = this.#parts;
    if (!options.partials || !this.#turns.includes(turn)) return;
    const words = turn.hypothesis.map((word) => turn.inStream(word));
    const text = words.map(({ word }) => word).join('');
    // The same again tells nothing, unless text was confirmed before it.
    const told = `${turn.text.length} ${text}`;
    if (told === this.#lastPartial) return;
    this.#lastPartial = told;
    emit({ type: 'partial', turn: turn.id, text, words, lag: this.#lagOf(end) });
  }

  /** Ends a turn that cannot be decoded; what is the model's or the caller's end is the stream's. */
  #fail(turn: Turn, error: unknown): void {
    const { request, model, emit } = this.#parts;
    if (request.signal?.aborted || model.disposal.aborted || !(error instanceof OneheadError)) throw error;
    if (this.#turns[0] !== turn) return;
    this.#turns.shift();
    this.#last = null;
    emit({ type: 'failed', turn: turn.id, text: turn.text, error });
  }
}
