/** Detects turns with a voice detector. */
import { check } from '../../options/options.js';
import { openDetector } from '../../vad/detector.js';
import { type VadOptions, vadOptions } from '../../vad/options.js';
import type { VoiceDetector } from '../../vad/voice-detector.js';
import type { HeldAudio } from './held-audio.js';

/** Positions are samples of the stream at 16 kHz. */
export type TurnChange =
  /** Speech began at `place`; the turn's audio begins at `audio`. */
  | { change: 'started'; place: number; audio: number }
  /** Silence began at `place`, either a pause or the end of the turn. */
  | { change: 'paused'; place: number }
  /** The silence was a pause. */
  | { change: 'resumed'; place: number }
  /** The speech ended at `place`; the turn's audio ends at `audio`. */
  | { change: 'stopped'; place: number; audio: number };

const sampleRate = 16_000;
/** Defaults in seconds; see LiveOptions.vad. */
const defaults = { minSilence: 0.5, minSpeech: 0.1, padding: 0.3 };

/** Difference between the probabilities at which speech begins and ends. */
const hysteresis = 0.15;

/** Probabilities at which speech begins and ends, and durations in seconds. */
export interface TurnLimits {
  threshold: number;
  negativeThreshold: number;
  minSpeech: number;
  minSilence: number;
  padding: number;
}

export class TurnDetector {
  readonly #detector: VoiceDetector;
  readonly #limits: TurnLimits;
  #judged = 0;
  /** The start and the apparent end of speech; -1 if there is none. */
  #begin = -1;
  #end = -1;
  #told = false;
  /** The end of the last turn's audio: turns do not share audio. */
  #given = 0;

  constructor(detector: VoiceDetector, { threshold, negativeThreshold, minSpeech, minSilence, padding }: TurnLimits) {
    const samples = (seconds: number) => Math.round(seconds * sampleRate);
    this.#detector = detector;
    this.#limits = {
      threshold,
      negativeThreshold,
      minSpeech: samples(minSpeech),
      minSilence: samples(minSilence),
      padding: samples(padding),
    };
  }

  /** Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED. */
  static async open(given: VadOptions): Promise<TurnDetector> {
    const checked = check(vadOptions, given, { within: 'vad.' });
    const { minSilence, minSpeech, padding } = given;
    const { threshold } = checked;
    const limits = {
      threshold,
      negativeThreshold: checked.negativeThreshold ?? Math.max(threshold - hysteresis, 0.01),
      minSilence: minSilence ?? defaults.minSilence,
      minSpeech: minSpeech ?? defaults.minSpeech,
      padding: padding ?? defaults.padding,
    };
    return new TurnDetector(await openDetector(checked), limits);
  }

  /** The end of the audio that the detector has processed. */
  get judged(): number {
    return this.#judged;
  }

  /** The first sample that a turn may still need. */
  get wanted(): number {
    const { padding } = this.#limits;
    return Math.max(this.#given, (this.#begin < 0 ? this.#judged : this.#begin) - padding);
  }

  /** Processes the audio up to `to`. */
  async hear(audio: HeldAudio, to: number): Promise<TurnChange[]> {
    const { frame } = this.#detector;
    const count = Math.floor((to - this.#judged) / frame);
    if (count <= 0) return [];
    const found = await this.#detector.probabilities(audio.slice(this.#judged, this.#judged + count * frame));
    return Array.from({ length: count }, (_, index) => this.#addFrame(found[index], frame)).flat();
  }

  #addFrame(probability: number, frame: number): TurnChange[] {
    const { threshold, negativeThreshold, minSpeech, minSilence } = this.#limits;
    const changes: TurnChange[] = [];
    const place = this.#judged;
    this.#judged += frame;
    if (probability >= threshold) {
      if (this.#end >= 0 && this.#told) changes.push({ change: 'resumed', place });
      this.#end = -1;
      if (this.#begin < 0) this.#begin = place;
      if (!this.#told && this.#judged - this.#begin >= minSpeech) {
        this.#told = true;
        changes.push(this.#started());
      }
    } else if (this.#begin >= 0 && probability < negativeThreshold) {
      if (this.#end < 0) {
        this.#end = place;
        if (this.#told) changes.push({ change: 'paused', place });
      }
      if (this.#judged - this.#end >= minSilence) changes.push(...this.#stop(this.#end));
    }
    return changes;
  }

  #started(): TurnChange {
    const audio = Math.max(this.#given, this.#begin - this.#limits.padding);
    return { change: 'started', place: this.#begin, audio };
  }

  #stop(place: number): TurnChange[] {
    const told = this.#told;
    this.#begin = -1;
    this.#end = -1;
    this.#told = false;
    if (!told) return [];
    this.#given = Math.min(place + this.#limits.padding, this.#judged);
    return [{ change: 'stopped', place, audio: this.#given }];
  }

  /** Continues at `place` after lost audio. */
  skipTo(place: number): void {
    this.#judged = Math.max(this.#judged, place);
    this.#given = Math.max(this.#given, place);
    if (this.#begin >= 0) this.#begin = Math.max(this.#begin, place);
    if (this.#end >= 0) this.#end = Math.max(this.#end, place);
  }

  /** Continues at `place` as if the stream began there. */
  forget(place: number): void {
    this.#judged = place;
    this.#given = place;
    this.#begin = -1;
    this.#end = -1;
    this.#told = false;
  }

  /** Ends the current turn, if any, at `end`, up to which all audio was processed. */
  finish(end: number): TurnChange[] {
    this.#judged = Math.max(this.#judged, end);
    if (this.#begin < 0) return [];
    const changes: TurnChange[] = [];
    if (!this.#told) {
      this.#told = true;
      changes.push(this.#started());
    }
    const stopped = this.#stop(this.#end < 0 ? end : this.#end);
    return [...changes, ...stopped];
  }

  close(): void | Promise<void> {
    return this.#detector.close();
  }
}
