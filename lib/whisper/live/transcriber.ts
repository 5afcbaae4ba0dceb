/**
 * Converts a stream of samples to events. It has no clock: `add` adds audio, and `work` does the next work that is due.
 * So the same code runs in real time and on a simulated clock.
 */
import { OneheadError } from '../../errors.js';
import { HeldAudio } from './held-audio.js';
import { Turn } from './turn.js';
import { keptAfterCut, TurnDecoder, type TurnDecoderParts } from './turn-decoder.js';
import type { TurnChange, TurnDetector } from './turn-detector.js';

/** A turn that begins at most this many seconds after the previous one continues in its window. */
const followSeconds = 3;

export interface TranscriberParts extends TurnDecoderParts {
  /** Tokens of the text before each turn. */
  prompt: readonly number[];
  /** If null, everything until `flush` is one turn. */
  detector: TurnDetector | null;
}

/** A position at which `flush` ends a turn, or up to which `clear` discards the audio. */
interface Mark {
  kind: 'flush' | 'clear';
  position: number;
}

export class Transcriber {
  readonly #parts: TranscriberParts;
  readonly #audio = new HeldAudio();
  readonly #decoder: TurnDecoder;
  readonly #sampleRate: number;
  /** Samples before a window that its features need. */
  readonly #border: number;
  /** The first turn is decoded; the others wait. */
  #turns: Turn[] = [];
  /** The number of turns so far. */
  #count = 0;
  /** What the caller has asked for and is still to be done, in order. */
  #marks: Mark[] = [];
  /** Without a detector: the position at which the next turn begins. */
  #nextTurn = 0;
  /** The last finished turn, if the next one may continue in its window. */
  #last: Turn | null = null;
  /** True if audio was discarded after the last turn. */
  #cleared = false;

  constructor(parts: TranscriberParts) {
    const { sampleRate, fftSize } = parts.model.checkpoint.preprocessor;
    this.#parts = parts;
    this.#sampleRate = sampleRate;
    this.#border = fftSize;
    this.#decoder = new TurnDecoder(parts, this.#audio, (turn) => this.#turns.includes(turn));
  }

  /** The number of samples so far. */
  get end(): number {
    return this.#audio.end;
  }

  /** Seconds of audio in memory. */
  get held(): number {
    return (this.#audio.end - this.#audio.begin) / this.#sampleRate;
  }

  /** Seconds of audio that have not been decoded. */
  get lag(): number {
    return Math.max(0, this.#audio.end - this.#decodedTo) / this.#sampleRate;
  }

  /** The position up to which all audio has been decoded, or found to be silent. */
  get #decodedTo(): number {
    const { detector } = this.#parts;
    const [turn] = this.#turns;
    if (!turn) return detector?.processed ?? this.#nextTurn;
    const isSilent = turn.paused !== null && turn.decodedTo >= turn.paused;
    return isSilent && detector ? detector.processed : turn.undecodedFrom;
  }

  /** Adds samples at the model's rate. */
  add(samples: Float32Array): void {
    this.#audio.add(samples);
    const limit = this.#parts.options.maximumLag * this.#sampleRate;
    // Half of the waiting audio is dropped at once, so that there are few gaps.
    if (this.#audio.end - this.#decodedTo > limit) this.#audio.drop(this.#audio.end - limit / 2, true);
  }

  /** Ends the current turn with the audio added so far. */
  flush(): void {
    this.#marks.push({ kind: 'flush', position: this.#audio.end });
  }

  /** True if all events for the audio before the last `flush` have been emitted. */
  get flushed(): boolean {
    return this.#marks.every(({ kind }) => kind === 'clear') && this.#turns.every(({ end }) => end === null);
  }

  /** Discards the audio added after the last `flush`, and the current turn. */
  clear(): void {
    if (this.#marks.length === 0) this.#dropOpenTurn();
    this.#marks.push({ kind: 'clear', position: this.#audio.end });
  }

  #dropOpenTurn(): void {
    this.#turns = this.#turns.filter(({ end }) => end !== null);
    this.#last = null;
  }

  #clearTo(position: number): void {
    this.#dropOpenTurn();
    this.#cleared = true;
    this.#nextTurn = position;
    this.#parts.detector?.reset(position);
  }

  close(): void | Promise<void> {
    return this.#parts.detector?.close();
  }

  /** Does the next work. Returns false if nothing is due. Rejects if the stream cannot continue. */
  async work(): Promise<boolean> {
    const markCount = this.#marks.length;
    await this.#findTurns();
    const [turn] = this.#turns;
    if (!turn) {
      const neededFrom = this.#parts.detector?.neededFrom ?? this.#nextTurn;
      const windowBegin = this.#recentTurn(neededFrom)?.windowBegin ?? neededFrom;
      this.#audio.drop(Math.min(neededFrom, windowBegin) - this.#border);
      return this.#marks.length < markCount;
    }
    if (turn.decodedTo < 0 && this.#last) this.#continueWindow(turn);
    this.#audio.drop(turn.windowBegin - this.#border);
    try {
      if (turn.end !== null) await this.#finish(turn, turn.end);
      else if (!this.#isDue(turn)) return false;
      else await this.#decoder.step(turn, this.#turnAudioEnd, false);
    } catch (error) {
      this.#fail(turn, error);
    }
    return true;
  }

  /** Returns the last turn, if it ended at most `followSeconds` before `position`. */
  #recentTurn(position: number): Turn | null {
    const last = this.#last;
    return last && position - last.end! <= followSeconds * this.#sampleRate ? last : null;
  }

  /** Continues a new turn in the window of the previous one, whose start moves if there is too little room. */
  #continueWindow(turn: Turn): void {
    const last = this.#recentTurn(turn.windowBegin);
    this.#last = null;
    // The window would contain the discarded audio.
    if (!last || turn.followsCleared) return;
    const seconds = (turn.windowBegin - last.windowBegin) / this.#sampleRate;
    turn.continueFrom(last, seconds - (keptAfterCut * this.#decoder.windowSamples) / this.#sampleRate);
  }

  /** Skips audio that was dropped before it was decoded. */
  #skipDropped(): void {
    const { begin } = this.#audio;
    const { detector, emit } = this.#parts;
    const [current] = this.#turns;
    const neededFrom = current ? current.windowBegin : (detector?.neededFrom ?? this.#nextTurn);
    if (neededFrom >= begin) return;
    const lostFrom = current?.undecodedFrom ?? neededFrom;
    if (lostFrom < begin) emit({ type: 'lost', start: lostFrom / this.#sampleRate, end: begin / this.#sampleRate });
    detector?.skipTo(begin);
    this.#nextTurn = Math.max(this.#nextTurn, begin);
    for (const mark of this.#marks) mark.position = Math.max(mark.position, begin);
    for (const turn of this.#turns) {
      if (turn.windowBegin < begin) turn.skip((begin - turn.windowBegin) / this.#sampleRate);
      if (turn.end !== null) turn.end = Math.max(turn.end, begin);
    }
  }

  /** The position up to which turns may be detected now: the next mark, otherwise the end of the audio. */
  get #detectTo(): number {
    return this.#marks[0]?.position ?? this.#audio.end;
  }

  /** The end of the audio that is known to belong to the open turn. */
  get #turnAudioEnd(): number {
    return Math.min(this.#detectTo, this.#parts.detector?.processed ?? this.#detectTo);
  }

  async #findTurns(): Promise<void> {
    const { detector } = this.#parts;
    for (;;) {
      // `add` may drop audio at any time.
      this.#skipDropped();
      const [mark] = this.#marks;
      if (mark?.kind === 'clear') this.#clearTo(mark.position);
      else if (detector) {
        const changes = await detector.process(this.#audio, this.#detectTo);
        // Audio that was cleared during `process` has no turns. A flush of that time is handled next time.
        if (!mark && this.#marks[0]?.kind === 'clear') continue;
        this.#apply(changes);
        if (!mark) return this.#skipDropped();
        this.#apply(detector.finish(mark.position));
      } else {
        const open = this.#turns.at(-1);
        if (this.#detectTo > this.#nextTurn && (!open || open.end !== null)) {
          this.#apply([{ change: 'started', position: this.#nextTurn, audio: this.#nextTurn }]);
        }
        if (!mark) return;
        this.#nextTurn = mark.position;
        this.#apply([{ change: 'stopped', position: mark.position, audio: mark.position }]);
      }
      this.#marks.shift();
    }
  }

  #apply(changes: readonly TurnChange[]): void {
    const { emit, prompt, detector } = this.#parts;
    for (const change of changes) {
      const { position } = change;
      if (change.change === 'started') {
        const turn = new Turn(this.#count++, { start: position, audio: change.audio }, prompt, this.#sampleRate);
        turn.followsCleared = this.#cleared;
        this.#cleared = false;
        this.#turns.push(turn);
        if (detector) emit({ type: 'speech-started', turn: turn.id, start: position / this.#sampleRate });
        continue;
      }
      // If the turn has failed, it emits nothing more.
      const turn = this.#turns.at(-1);
      if (!turn || turn.end !== null) continue;
      if (change.change === 'paused') turn.paused = position;
      else if (change.change === 'resumed') turn.paused = null;
      else {
        turn.stopped = position;
        turn.end = change.audio;
        if (detector) emit({ type: 'speech-stopped', turn: turn.id, end: position / this.#sampleRate });
      }
    }
  }

  #isDue({ paused, decodedTo, windowBegin }: Turn): boolean {
    // At the start of a silence all speech is decoded at once, so that the text is ready when the turn ends. Silence is
    // not decoded again.
    if (paused !== null) return decodedTo < paused;
    const newSamples = this.#turnAudioEnd - Math.max(decodedTo, windowBegin);
    return newSamples >= this.#parts.options.interval * this.#sampleRate;
  }

  /** Decodes the rest of a turn and emits its `final`. */
  async #finish(turn: Turn, end: number): Promise<void> {
    const { emit } = this.#parts;
    await this.#decoder.finish(turn, end);
    if (this.#turns[0] !== turn) return;
    this.#turns.shift();
    this.#last = turn;
    const { id, text, words, start, stopped } = turn;
    const seconds = { start: start / this.#sampleRate, end: stopped! / this.#sampleRate };
    const language = this.#parts.settings.language ?? turn.language;
    const scores = turn.scores(this.#parts.options);
    emit({
      type: 'final',
      turn: id,
      ...seconds,
      text,
      words,
      language,
      ...scores,
      lag: this.#decoder.lagOf(turn.decodedTo),
    });
  }

  /** Emits `failed` for a turn. If the call was aborted or the model disposed of, throws, which ends the stream. */
  #fail(turn: Turn, error: unknown): void {
    const { request, model, emit } = this.#parts;
    if (request.signal?.aborted || model.disposal.aborted || !(error instanceof OneheadError)) throw error;
    if (this.#turns[0] !== turn) return;
    this.#turns.shift();
    this.#last = null;
    emit({ type: 'failed', turn: turn.id, text: turn.text, error });
  }
}
