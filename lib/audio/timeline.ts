/** Decoded samples in order of time, with silence in place of lost parts. */
import type { Speakers } from './speakers.js';
import { clock, type Warn } from './warnings.js';
import type { DecodedChunk } from './wav.js';

/** The longest plausible gap, in seconds: a longer one means a damaged or restarted clock. */
export const maxGapSeconds = 3600;

interface Run {
  sampleRate: number;
  channels: number;
  speakers?: Speakers;
  parts: Float32Array[][];
  count: number;
}

export class Timeline {
  readonly #name: string;
  readonly #warn: Warn;
  #run: Run | null = null;
  #ready: (DecodedChunk | { silence: number; sampleRate: number; channels: number; speakers?: Speakers })[] = [];
  /** Seconds of all previous runs, and samples of this run. */
  #before = 0;
  #runSamples = 0;
  #holes = 0;
  #firstHole = 0;
  #missing = 0;
  #cut = false;

  constructor(name: string, warn: Warn) {
    this.#name = name;
    this.#warn = warn;
  }

  /** Seconds so far. */
  get seconds(): number {
    return this.#before + (this.#run ? this.#runSamples / this.#run.sampleRate : 0);
  }

  /** Samples of each channel, all of one length. */
  add(channels: Float32Array[], sampleRate: number, speakers?: Speakers): void {
    const count = channels[0]?.length ?? 0;
    if (count === 0) return;
    const run = this.#runOf(sampleRate, channels.length, speakers);
    run.parts.push(channels);
    run.count += count;
    this.#runSamples += count;
    if (run.count >= sampleRate) this.#close();
  }

  /** Adds silence that belongs to the audio: nothing was lost. */
  silence(count: number, sampleRate: number): void {
    if (count <= 0) return;
    const { channels = 1, speakers } = this.#run ?? {};
    this.#runOf(sampleRate, channels, speakers);
    this.#close();
    this.#ready.push({ silence: count, sampleRate, channels, speakers });
    this.#runSamples += count;
  }

  /** Adds silence in place of audio that could not be read; none for a part of unknown length. */
  lost(count: number, sampleRate: number): void {
    // Damage directly after a gap belongs to it.
    if (this.#holes === 0) this.#firstHole = this.seconds;
    this.#holes += 1;
    this.#missing += count / sampleRate;
    this.silence(count, sampleRate);
  }

  /** The recording ends inside a frame. */
  cut(): void {
    this.#cut = true;
  }

  #runOf(sampleRate: number, channels: number, speakers?: Speakers): Run {
    const run = this.#run;
    if (run && run.sampleRate === sampleRate && run.channels === channels && run.speakers === speakers) return run;
    this.#close();
    if (run && run.sampleRate !== sampleRate) {
      this.#before += this.#runSamples / run.sampleRate;
      this.#runSamples = 0;
    }
    this.#run = { sampleRate, channels, speakers, parts: [], count: 0 };
    return this.#run;
  }

  #close(): void {
    const run = this.#run;
    if (!run || run.count === 0) return;
    const { parts, count, sampleRate, speakers } = run;
    const channels = parts[0].map((first, channel) => {
      if (parts.length === 1) return first;
      const samples = new Float32Array(count);
      let at = 0;
      for (const part of parts) {
        samples.set(part[channel], at);
        at += part[channel].length;
      }
      return samples;
    });
    this.#ready.push({ channels, sampleRate, speakers });
    run.parts = [];
    run.count = 0;
  }

  /** Yields finished pieces of a second, or everything. */
  *drain(all = false): Generator<DecodedChunk> {
    if (all) this.#close();
    const ready = this.#ready;
    this.#ready = [];
    for (const one of ready) {
      if (!('silence' in one)) {
        yield one;
        continue;
      }
      for (let left = one.silence; left > 0; left -= one.sampleRate) {
        const silence = new Float32Array(Math.min(left, one.sampleRate));
        const { sampleRate, speakers } = one;
        yield { channels: Array.from({ length: one.channels }, () => silence), sampleRate, speakers };
      }
    }
  }

  /** Reports the damage. `declared`: the duration in seconds that the recording states, accurate within `tolerance`. */
  report(declared: number | null = null, tolerance = 0.5): void {
    if (this.#holes > 0) {
      const places = this.#holes === 1 ? 'in one place' : `in ${this.#holes} places, first`;
      const missing =
        this.#missing > 0
          ? `${this.#missing.toFixed(2)} s of it could not be read and were replaced by silence`
          : 'the audio there could not be read and is missing';
      const sentence = `${this.#name} is damaged ${places} at ${clock(this.#firstHole)}; ${missing}.`;
      this.#warn(sentence, 'lost');
    }
    if (declared !== null && declared - this.seconds > tolerance) {
      const stated = `its stated duration is ${clock(declared)}`;
      const sentence =
        this.#holes > 0
          ? `${this.#name} has ${clock(this.seconds)} of audio, but ${stated}; the rest was in its damaged parts, or at its end.`
          : `${this.#name} could not be read from ${clock(this.seconds)} on: ${stated}; its end is missing.`;
      this.#warn(sentence, 'lost');
    } else if (this.#cut) {
      this.#warn(`${this.#name} ends in the middle of a frame at ${clock(this.seconds)}: it was cut short.`, 'lost');
    }
  }
}
