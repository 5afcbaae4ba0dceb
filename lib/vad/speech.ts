/** Audio with silence removed, and the mapping back to the original times. */
import type { AudioSource } from '../audio/index.js';
import { type Piece, type PiecedSource, recordingPosition } from '../audio/pieces.js';
import { freeArray } from '../device/free-array.js';
import { OneheadError } from '../errors.js';
import { check } from '../options/options.js';
import { openDetector } from './detector.js';
import { type VadOptions, vadOptions } from './options.js';
import type { VoiceDetector } from './voice-detector.js';

interface Limits {
  threshold: number;
  negativeThreshold: number;
  minSpeech: number;
  minSilence: number;
  padding: number;
}

/** Recent samples by their position in the recording. */
class Recent {
  #chunks: Float32Array[] = [];
  #begin = 0;
  end = 0;
  readonly #ownsChunks: boolean;

  /** `ownsChunks`: nobody else uses the chunks, so that dropped ones are freed. */
  constructor(ownsChunks: boolean) {
    this.#ownsChunks = ownsChunks;
  }

  add(chunk: Float32Array): void {
    this.#chunks.push(chunk);
    this.end += chunk.length;
  }
  drop(begin: number): void {
    while (this.#chunks.length > 0 && this.#begin + this.#chunks[0].length <= begin) {
      const chunk = this.#chunks.shift()!;
      this.#begin += chunk.length;
      if (this.#ownsChunks) freeArray(chunk);
    }
  }
  slice(begin: number, end: number): Float32Array {
    const samples = new Float32Array(end - begin);
    let place = this.#begin;
    for (const chunk of this.#chunks) {
      const from = Math.max(begin, place);
      const to = Math.min(end, place + chunk.length);
      if (from < to) samples.set(chunk.subarray(from - place, to - place), from - begin);
      place += chunk.length;
    }
    return samples;
  }
}

export class SpeechSource {
  readonly pieces: Piece[] = [];
  /** Positions in the speech that no window may cross: the breaks of its source. */
  readonly breaks: number[] = [];
  /** Chunks are copies. */
  readonly ownsChunks = true;
  readonly #source: AudioSource & Partial<PiecedSource>;
  readonly #sampleRate: number;
  readonly #detector: VoiceDetector;
  readonly #limits: Limits;
  #position = 0;
  #settled = 0;

  private constructor(
    source: AudioSource & Partial<PiecedSource>,
    sampleRate: number,
    detector: VoiceDetector,
    limits: Limits,
  ) {
    this.#source = source;
    this.#sampleRate = sampleRate;
    this.#detector = detector;
    this.#limits = limits;
  }

  /** Throws OneheadError INVALID_ARGUMENT or NOT_SUPPORTED. */
  static async open(
    source: AudioSource & Partial<PiecedSource>,
    sampleRate: number,
    options: VadOptions,
    batched: boolean,
  ): Promise<SpeechSource> {
    if (sampleRate !== 16000) {
      throw new OneheadError(
        'NOT_SUPPORTED',
        `Voice activity detection needs audio at 16,000 Hz, but this model uses ${sampleRate} Hz; set vad to false.`,
        { argument: 'vad' },
      );
    }
    const checked = check(vadOptions, options, { within: 'vad.' });
    const { threshold, minSpeech, minSilence = batched ? 0.5 : 2, padding } = checked;
    const { negativeThreshold = Math.max(threshold - 0.15, 0.01) } = checked;
    const samples = (seconds: number) => Math.round(seconds * sampleRate);
    const limits = {
      threshold,
      negativeThreshold,
      minSpeech: samples(minSpeech),
      minSilence: samples(minSilence),
      padding: samples(padding),
    };
    return new SpeechSource(source, sampleRate, await openDetector(checked), limits);
  }

  /** Samples of the recording read so far. */
  get position(): number {
    return this.#position;
  }

  /** The sample of the recording before which all speech has been output. */
  get settled(): number {
    return this.#settled;
  }

  /** Maps a time in the speech to the recording, in seconds; at a boundary, an end belongs to the first piece. */
  toRecording(seconds: number, isEnd: boolean): number {
    return recordingPosition(this.pieces, seconds * this.#sampleRate, isEnd) / this.#sampleRate;
  }

  async *chunks(): AsyncGenerator<Float32Array> {
    const { threshold, negativeThreshold, minSpeech, minSilence, padding } = this.#limits;
    const { frame } = this.#detector;
    const recent = new Recent(this.#source.ownsChunks ?? false);
    /** Samples before it are classified as speech or not. */
    let classified = 0;
    /** The start of the current speech and its apparent end; -1 if there is none. */
    let begin = -1;
    let end = -1;
    /** Samples before it were output or dropped. */
    let emitted = 0;

    /** Returns speech up to `to`, to be yielded. The first part of a piece has padding before it. */
    const emit = (to: number): Float32Array | null => {
      const last = this.pieces.at(-1);
      const continues = last !== undefined && last.begin + last.length === emitted && emitted > begin - padding;
      const from = continues ? emitted : Math.max(emitted, begin - padding);
      if (to <= from) return null;
      if (continues) last.length += to - from;
      else this.pieces.push({ begin: from, at: last ? last.at + last.length : 0, length: to - from });
      emitted = to;
      return recent.slice(from, to);
    };

    /** Ends the current speech at the end of the audio so far; returns its remaining samples. */
    const finish = (): Float32Array | null => {
      if (begin < 0) return null;
      const last = end < 0 ? recent.end : end;
      const speech = last - begin >= minSpeech ? emit(Math.min(end < 0 ? last : last + padding, recent.end)) : null;
      begin = -1;
      end = -1;
      return speech;
    };

    const { breaks = [] } = this.#source;
    let passed = 0;
    for await (const chunk of this.#source.chunks()) {
      for (; passed < breaks.length && breaks[passed] <= recent.end; ++passed) {
        const speech = finish();
        if (speech) yield speech;
        // Speech, padding and frames do not cross a break.
        emitted = recent.end;
        classified = recent.end;
        const last = this.pieces.at(-1);
        if (last) this.breaks.push(last.at + last.length);
      }
      recent.add(chunk);
      this.#position = recent.end;
      const frames = Math.floor((recent.end - classified) / frame);
      const unclassified = recent.slice(classified, classified + frames * frame);
      const probabilities = frames > 0 ? await this.#detector.probabilities(unclassified) : [];
      freeArray(unclassified);
      for (let index = 0; index < frames; ++index) {
        const probability = probabilities[index];
        if (probability >= threshold) {
          end = -1;
          if (begin < 0) begin = classified;
        } else if (begin >= 0 && probability < negativeThreshold) {
          if (end < 0) end = classified;
          if (classified + frame - end >= minSilence) {
            const speech = end - begin >= minSpeech ? emit(Math.min(end + padding, classified + frame)) : null;
            if (speech) yield speech;
            begin = -1;
            end = -1;
          }
        }
        classified += frame;
      }
      if (begin < 0) recent.drop(classified - padding);
      else if ((end < 0 ? classified : end) - begin >= minSpeech) {
        const speech = emit(end < 0 ? classified : Math.min(end + padding, classified));
        if (speech) yield speech;
        recent.drop(emitted);
      }
      this.#settled = Math.max(emitted, (begin < 0 ? classified : begin) - padding);
    }
    const speech = finish();
    if (speech) yield speech;
    this.#settled = recent.end;
  }

  /** Releases the detector. The opener closes the recording. */
  async release(): Promise<void> {
    await this.#detector.close();
  }
}
