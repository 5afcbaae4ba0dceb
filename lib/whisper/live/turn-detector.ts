/** Detects the start, the pauses and the end of turns from the probabilities of a voice detector. */
import { check } from '../../options/options.js';
import { openDetector } from '../../vad/detector.js';
import { type VadOptions, vadOptions } from '../../vad/options.js';
import type { VoiceDetector } from '../../vad/voice-detector.js';
import type { HeldAudio } from './held-audio.js';

/** Positions are samples of the stream at 16 kHz. */
export type TurnChange =
  /** Speech began at `position`; the turn's audio begins at `audio`. */
  | { change: 'started'; position: number; audio: number }
  /** Silence began at `position`: a pause or the end of the turn. */
  | { change: 'paused'; position: number }
  /** The silence was a pause. */
  | { change: 'resumed'; position: number }
  /** Speech ended at `position`; the turn's audio ends at `audio`. */
  | { change: 'stopped'; position: number; audio: number };

const sampleRate = 16_000;
/** Defaults of the option `vad` for live streams, in seconds. */
const defaults = { minSilence: 0.5, minSpeech: 0.1, padding: 0.3 };

/** By default speech ends at a probability that is this much below `threshold`. */
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
  /** Durations are in samples. */
  readonly #limits: TurnLimits;
  #processed = 0;
  /** Position at which speech began, and at which the current silence began; -1 for none. */
  #begin = -1;
  #end = -1;
  /** True if the start of the current speech was reported. */
  #started = false;
  /** The end of the last turn's audio, before which the next turn cannot begin. */
  #lastAudioEnd = 0;

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

  /** Opens a detector. `options` are without defaults. Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED. */
  static async open(options: VadOptions): Promise<TurnDetector> {
    const checked = check(vadOptions, options, { within: 'vad.' });
    const { minSilence, minSpeech, padding } = options;
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

  /** The end of the audio that has been processed. */
  get processed(): number {
    return this.#processed;
  }

  /** The first sample that the current or the next turn may need. */
  get neededFrom(): number {
    const { padding } = this.#limits;
    return Math.max(this.#lastAudioEnd, (this.#begin < 0 ? this.#processed : this.#begin) - padding);
  }

  /** Processes the audio up to `end`, in complete frames. */
  async process(audio: HeldAudio, end: number): Promise<TurnChange[]> {
    const { frame } = this.#detector;
    const count = Math.floor((end - this.#processed) / frame);
    if (count <= 0) return [];
    const samples = audio.slice(this.#processed, this.#processed + count * frame);
    const probabilities = await this.#detector.probabilities(samples);
    return Array.from({ length: count }, (_, index) => this.#addFrame(probabilities[index], frame)).flat();
  }

  #addFrame(probability: number, frame: number): TurnChange[] {
    const { threshold, negativeThreshold, minSpeech, minSilence } = this.#limits;
    const changes: TurnChange[] = [];
    const position = this.#processed;
    this.#processed += frame;
    if (probability >= threshold) {
      if (this.#end >= 0 && this.#started) changes.push({ change: 'resumed', position });
      this.#end = -1;
      if (this.#begin < 0) this.#begin = position;
      if (!this.#started && this.#processed - this.#begin >= minSpeech) changes.push(this.#start());
    } else if (this.#begin >= 0 && probability < negativeThreshold) {
      if (this.#end < 0) {
        this.#end = position;
        if (this.#started) changes.push({ change: 'paused', position });
      }
      if (this.#processed - this.#end >= minSilence) changes.push(...this.#stop(this.#end));
    }
    return changes;
  }

  #start(): TurnChange {
    this.#started = true;
    const audio = Math.max(this.#lastAudioEnd, this.#begin - this.#limits.padding);
    return { change: 'started', position: this.#begin, audio };
  }

  #stop(position: number): TurnChange[] {
    const started = this.#started;
    this.#begin = -1;
    this.#end = -1;
    this.#started = false;
    if (!started) return [];
    this.#lastAudioEnd = Math.min(position + this.#limits.padding, this.#processed);
    return [{ change: 'stopped', position, audio: this.#lastAudioEnd }];
  }

  /** Continues at `position`, since the audio before it was dropped. */
  skipTo(position: number): void {
    this.#processed = Math.max(this.#processed, position);
    this.#lastAudioEnd = Math.max(this.#lastAudioEnd, position);
    if (this.#begin >= 0) this.#begin = Math.max(this.#begin, position);
    if (this.#end >= 0) this.#end = Math.max(this.#end, position);
  }

  /** Continues at `position` as if the stream began there. */
  reset(position: number): void {
    this.#processed = position;
    this.#lastAudioEnd = position;
    this.#begin = -1;
    this.#end = -1;
    this.#started = false;
  }

  /** Ends the current turn, if any, at `end`, the end of the audio to process. */
  finish(end: number): TurnChange[] {
    this.#processed = Math.max(this.#processed, end);
    if (this.#begin < 0) return [];
    const changes: TurnChange[] = [];
    if (!this.#started) changes.push(this.#start());
    const stopped = this.#stop(this.#end < 0 ? end : this.#end);
    return [...changes, ...stopped];
  }

  close(): void | Promise<void> {
    return this.#detector.close();
  }
}
