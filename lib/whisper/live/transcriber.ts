/**
 * Converts a stream of samples to events. It has no clock: `add` takes audio, and `work` does what is due and reports
 * whether anything was. So the same code runs in real time and on a simulated clock.
 */
import { OneheadError } from '../../errors.js';
import { HeldAudio } from './held-audio.js';
import { Turn } from './turn.js';
import { keptAfterCut, TurnDecoder, type TurnDecoderParts } from './turn-decoder.js';
import type { TurnChange, TurnDetector } from './turn-detector.js';

/** Seconds between two turns up to which the second continues in the window of the first. */
const followSeconds = 3;

export interface TranscriberParts extends TurnDecoderParts {
  /** Tokens of the prompt for the first window of a turn. */
  prompt: readonly number[];
  /** Null: everything until `flush` is one turn. */
  detector: TurnDetector | null;
}

export class Transcriber {
  readonly #parts: TranscriberParts;
  readonly #audio = new HeldAudio();
  readonly #decoder: TurnDecoder;
  readonly #sampleRate: number;
  readonly #border: number;
  /** The first turn is decoded; the others wait. */
  #turns: Turn[] = [];
  #count = 0;
  /** Samples at which `flush` ends a turn. */
  #marks: number[] = [];
  /** The end of the audio to discard after `clear`; it begins at the last mark. */
  #cleared: number | null = null;
  /** Without a detector: the start of the first turn whose audio was not decoded. */
  #from = 0;
  /** The last finished turn. */
  #last: Turn | null = null;

  constructor(parts: TranscriberParts) {
    const { sampleRate, fftSize } = parts.model.checkpoint.preprocessor;
    this.#parts = parts;
    this.#sampleRate = sampleRate;
    this.#border = fftSize;
    this.#decoder = new TurnDecoder(parts, this.#audio, (turn) => this.#turns.includes(turn));
  }

  /** Samples so far. */
  get end(): number {
    return this.#audio.end;
  }

  /** Seconds of audio that are held. */
  get held(): number {
    return (this.#audio.end - this.#audio.begin) / this.#sampleRate;
  }

  /** Seconds of audio that have not been decoded. */
  get lag(): number {
    return Math.max(0, this.#audio.end - this.#covered) / this.#sampleRate;
  }

  /** The sample before which all audio has been decoded. */
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
    const limit = this.#parts.options.maximumLag * this.#sampleRate;
    // Half of the audio is dropped, so that there is one gap and not a thousand.
    if (this.#audio.end - this.#covered > limit) this.#audio.drop(this.#audio.end - limit / 2, true);
  }

  /** Ends the current turn with the audio added so far. */
  flush(): void {
    this.#marks.push(this.#audio.end);
  }

  /** True if everything that was added before the last `flush` has been reported. */
  get flushed(): boolean {
    return this.#marks.length === 0 && this.#turns.every(({ end }) => end === null);
  }

  /** Discards the audio added after the last `flush`, and the current turn. */
  clear(): void {
    this.#cleared = this.#audio.end;
    if (this.#marks.length === 0) this.#forget();
  }

  #forget(): void {
    const end = this.#cleared!;
    this.#cleared = null;
    this.#turns = this.#turns.filter(({ end }) => end !== null);
    this.#last = null;
    this.#from = end;
    this.#parts.detector?.forget(end);
  }

  close(): void | Promise<void> {
    return this.#parts.detector?.close();
  }

  /** Does the next piece of work; false if nothing is due. Rejects if the stream cannot continue. */
  async work(): Promise<boolean> {
    const marked = this.#marks.length;
    this.#passGap();
    await this.#findTurns();
    const [turn] = this.#turns;
    if (!turn) {
      const wanted = this.#parts.detector?.wanted ?? this.#from;
      const last = this.#recent(wanted);
      this.#audio.drop(Math.min(wanted, last?.windowBegin ?? wanted) - this.#border);
      return this.#marks.length < marked;
    }
    if (turn.decodedTo < 0 && this.#last) this.#follow(turn);
    this.#audio.drop(turn.windowBegin - this.#border);
    try {
      if (turn.end !== null) await this.#finish(turn, turn.end);
      else if (!this.#isDue(turn)) return false;
      else await this.#decoder.step(turn, this.#known, false);
    } catch (error) {
      this.#fail(turn, error);
    }
    return true;
  }

  /** The last turn, if it ended at most `followSeconds` before sample `place`. */
  #recent(place: number): Turn | null {
    const last = this.#last;
    return last && place - last.end! <= followSeconds * this.#sampleRate ? last : null;
  }

  /** Continues the window of the previous turn, as far as there is room. */
  #follow(turn: Turn): void {
    const last = this.#recent(turn.windowBegin);
    this.#last = null;
    if (!last) return;
    const seconds = (turn.windowBegin - last.windowBegin) / this.#sampleRate;
    turn.follow(last, seconds - (keptAfterCut * this.#decoder.windowSamples) / this.#sampleRate);
  }

  /** Skips audio that was dropped before it was decoded. */
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

  /** The end of the audio that may be decoded now: at most the end of the current turn. */
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
        // A mark that was set meanwhile does not apply to the audio processed before.
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
      // A failed turn emits nothing more.
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
    // When a voice falls silent, all its audio is decoded at once, so that the text is ready when the turn ends.
    // Silence is not decoded again.
    if (paused !== null) return decodedTo < paused;
    return fresh >= this.#parts.options.interval * this.#sampleRate;
  }

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

  /** Fails a turn that cannot be decoded. An abort, or disposal of the model, ends the whole stream instead. */
  #fail(turn: Turn, error: unknown): void {
    const { request, model, emit } = this.#parts;
    if (request.signal?.aborted || model.disposal.aborted || !(error instanceof OneheadError)) throw error;
    if (this.#turns[0] !== turn) return;
    this.#turns.shift();
    this.#last = null;
    emit({ type: 'failed', turn: turn.id, text: turn.text, error });
  }
}
