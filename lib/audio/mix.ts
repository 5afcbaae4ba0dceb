/**
 * Mixes several channels to one: as with ffmpeg's `-ac 1` if the file tells where they belong, otherwise their mean. If
 * they cancel each other (a microphone with reversed polarity removes the voice from the mix), the loudest channel is
 * used instead. This is decided for each half second, the only audio held back.
 */
import { sampleFunctions } from './sample-functions.js';
import { type Speakers, sharesOf } from './speakers.js';
import { clock, type Warn } from './warnings.js';
import type { DecodedChunk } from './wav.js';

/**
 * Power of the mix relative to the loudest channel's part of it: below -14 dB the channels cancel, above -4 dB no
 * longer. Of two channels the mean is then 20 and 10 dB below the louder one.
 */
const cancelled = 0.04;
const recovered = 0.4;
/** Power below which nothing can be judged: -80 dB. */
const silent = 1e-8;
/** Another channel takes over when it has twice the power. */
const louder = 2;
/** Seconds judged at once, and seconds of the crossfade. */
const blockSeconds = 0.5;
const fadeSeconds = 0.01;

export class Mixer {
  readonly #name: string;
  readonly #warn: Warn;
  /** Samples of each channel that have not been judged. */
  #held: Float32Array[] = [];
  #count = 0;
  #rate = 0;
  #speakers: Speakers | undefined;
  #mix = new Float32Array();
  #powers = new Float64Array();
  /** The share of each channel; null for the mean. */
  #shares: Float64Array | null = null;
  /** The selected channel; -1 for the mix. */
  #taken = -1;
  #seconds = 0;

  constructor(name: string, warn: Warn) {
    this.#name = name;
    this.#warn = warn;
  }

  /** Processes samples `begin` to `end` of a chunk; yields finished samples, which may change at the next step. */
  *push(chunk: DecodedChunk, begin: number, end: number): Generator<Float32Array> {
    const { channels, sampleRate: rate, speakers } = chunk;
    if (channels.length !== this.#held.length || rate !== this.#rate || speakers !== this.#speakers) {
      yield* this.finish();
      this.#speakers = speakers;
      const shares = speakers ? sharesOf(speakers) : null;
      this.#shares = shares && Float64Array.from(shares);
      this.#taken = -1;
      this.#rate = rate;
      const block = channels.length > 1 ? Math.round(blockSeconds * rate) : 0;
      this.#held = channels.map(() => new Float32Array(block));
      this.#mix = new Float32Array(block);
      this.#powers = new Float64Array(channels.length + 1);
    }
    if (channels.length === 1) {
      this.#seconds += (end - begin) / rate;
      yield channels[0].subarray(begin, end);
      return;
    }
    const block = this.#held[0].length;
    for (let at = begin; at < end; ) {
      if (this.#count === 0 && end - at >= block) {
        // A whole block is not copied.
        const whole = channels.map((samples) => samples.subarray(at, at + block));
        at += block;
        yield this.#judge(whole);
        continue;
      }
      const taken = Math.min(block - this.#count, end - at);
      for (const [channel, samples] of channels.entries()) {
        this.#held[channel].set(samples.subarray(at, at + taken), this.#count);
      }
      at += taken;
      this.#count += taken;
      if (this.#count === block) yield this.#judgeHeld();
    }
  }

  /** Yields the samples held back; called at the end or before the rate or the number of channels changes. */
  *finish(): Generator<Float32Array> {
    if (this.#count > 0) yield this.#judgeHeld();
  }

  #judgeHeld(): Float32Array {
    const channels = this.#held.map((samples) => samples.subarray(0, this.#count));
    this.#count = 0;
    return this.#judge(channels);
  }

  #judge(channels: readonly Float32Array[]): Float32Array {
    const { length } = channels[0];
    const mix = this.#mix.subarray(0, length);
    sampleFunctions().mixChannels(channels, this.#shares, mix, this.#powers);
    const powers = Array.from(this.#powers, (sum) => sum / length);
    const before = this.#taken;
    const taken = this.#choose(powers.pop()!, powers);
    const of = (channel: number) => (channel < 0 ? mix : channels[channel]);
    let mono = of(taken);
    if (taken !== before) {
      const old = of(before);
      mono = mono.slice();
      const fade = Math.min(mono.length, Math.round(fadeSeconds * this.#rate));
      for (let i = 0; i < fade; ++i) mono[i] = old[i] + (mono[i] - old[i]) * (i / fade);
    }
    this.#taken = taken;
    this.#seconds += length / this.#rate;
    return mono;
  }

  #choose(mix: number, powers: readonly number[]): number {
    const parts = powers.map((value, channel) => value * (this.#shares?.[channel] ?? 1 / powers.length) ** 2);
    const loudest = parts.reduce((one, value, channel) => (value > parts[one] ? channel : one), 0);
    if (powers[loudest] < silent || parts[loudest] === 0) return this.#taken;
    if (mix > parts[loudest] * (this.#taken < 0 ? cancelled : recovered)) return -1;
    if (this.#taken < 0) {
      this.#warn(
        `The channels of ${this.#name} cancel each other, first at ${clock(this.#seconds)}; the louder one was used there instead of their mix.`,
        'mended',
      );
      return loudest;
    }
    // Channels of equal loudness do not alternate.
    return parts[loudest] > louder * parts[this.#taken] ? loudest : this.#taken;
  }
}
