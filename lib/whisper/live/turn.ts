/** The growing text of one turn: confirmed words, the hypothesis, and the window of audio that contains them. */
import { lastOf } from '../decoding/prompt.js';
import type { Word } from '../transcription/types.js';
import { type TimedWord, usualPunctuations } from '../transcription/words.js';
import type { CheckedLiveOptions } from './options.js';
import type { TokenScores } from './types.js';

/** Maximum tokens of the context, the text before the window. */
const contextTokens = 64;
const sentenceEnd = /[.!?。！？]["'”’)]*$/;

const rounded = (seconds: number): number => Math.round(seconds * 100) / 100;

export class Turn {
  readonly id: number;
  /** Position of the first sample with speech. */
  readonly start: number;
  /** All confirmed words, in seconds of the stream. */
  readonly words: Word[] = [];
  text = '';
  /** The tokens of all confirmed text. */
  readonly tokens: number[] = [];
  readonly logprobs: number[] = [];
  /** The end of its audio; null while the turn is open. */
  end: number | null = null;
  /** The end of its speech. */
  stopped: number | null = null;
  /** The position at which silence began; null during speech. */
  paused: number | null = null;
  /** Position of the first sample of the window. */
  windowBegin: number;
  /** The end of the last decoded audio; -1 before the first. */
  decodedTo = -1;
  /** The words that probably follow, in seconds of the window. */
  hypothesis: TimedWord[] = [];
  /** True if the hypothesis passes the checks, so that it can become final. */
  sound = true;
  /** The last detected language; null if it need not be detected. */
  language: string | null = null;
  /** Confirmed words in the window, in its seconds. */
  #prefix: TimedWord[] = [];
  #context: readonly number[];
  /** The start of the context. */
  readonly #prompt: readonly number[];
  readonly #sampleRate: number;

  constructor(
    id: number,
    { start, audio }: { start: number; audio: number },
    prompt: readonly number[],
    sampleRate: number,
  ) {
    this.id = id;
    this.start = start;
    this.windowBegin = audio;
    this.#context = prompt;
    this.#prompt = prompt;
    this.#sampleRate = sampleRate;
  }

  /**
   * Continues the window of the previous turn, whose text becomes the prefix, since Whisper understands few words alone
   * badly. `latest` is the second of that window before which it may be cut.
   */
  follow(before: Turn, latest: number): void {
    this.windowBegin = before.windowBegin;
    this.#prefix = before.#prefix.map((word) => ({ ...word }));
    this.#context = before.#context;
    this.language = before.language;
    if (latest > 0) this.advance(0, latest);
  }

  /** The confirmed tokens from an index on, if requested. */
  scores({ tokenLogProbabilities }: Pick<CheckedLiveOptions, 'tokenLogProbabilities'>, from = 0): TokenScores {
    if (!tokenLogProbabilities) return {};
    return { tokens: this.tokens.slice(from), logprobs: this.logprobs.slice(from) };
  }

  get prefix(): readonly number[] {
    return this.#prefix.flatMap(({ tokens }) => tokens);
  }

  get context(): readonly number[] {
    return this.#context;
  }

  /** The end of the last confirmed word, in seconds of the window. */
  get sureTo(): number {
    return this.#prefix.at(-1)?.end ?? 0;
  }

  /** Converts a word of the window to seconds of the stream. */
  inStream({ word, start, end, probability }: TimedWord): Word {
    const begin = this.windowBegin / this.#sampleRate;
    return { word, start: rounded(begin + start), end: rounded(begin + end), probability };
  }

  /** Sets the hypothesis. None of its words begins before the confirmed words end. */
  hear(words: TimedWord[]): void {
    for (const word of words) {
      word.start = Math.max(word.start, this.sureTo);
      word.end = Math.max(word.end, word.start);
    }
    this.hypothesis = words;
  }

  /** Confirms the first `count` words of the hypothesis, and returns them. */
  confirm(count: number): Word[] {
    const sure = this.hypothesis.slice(0, count);
    this.hypothesis = this.hypothesis.slice(count);
    this.#prefix.push(...sure);
    const told = sure.map((word) => this.inStream(word));
    for (const word of told) {
      const last = this.words.at(-1);
      // Late punctuation still belongs to the previous word.
      if (last && usualPunctuations.append.includes(word.word)) last.word += word.word;
      else this.words.push({ ...word });
    }
    this.text += told.map(({ word }) => word).join('');
    for (const { tokens, logprobs = [] } of sure) {
      this.tokens.push(...tokens);
      this.logprobs.push(...logprobs);
    }
    return told;
  }

  /**
   * Moves the start of the window, so that audio before `latest` is not decoded again: to the end of the last confirmed
   * sentence before it, or else to the longest pause between two confirmed words. Returns false if there is no such
   * position from `earliest` on.
   */
  advance(earliest: number, latest: number): boolean {
    const next = (index: number) => this.#prefix[index + 1] ?? this.hypothesis[0];
    const places = this.#prefix.flatMap((word, index) => {
      const following = next(index)?.start ?? word.end;
      const place = (word.end + Math.max(word.end, following)) / 2;
      return place >= earliest && place <= latest ? [{ index, place, pause: following - word.end }] : [];
    });
    if (places.length === 0) return false;
    const sentence = places.findLast(({ index }) => sentenceEnd.test(this.#prefix[index].word));
    const { index, place } = sentence ?? places.reduce((best, one) => (one.pause >= best.pause ? one : best));
    this.#shift(place, index + 1);
    return true;
  }

  /** Moves the start of the window to `place`; unconfirmed text before it is lost. */
  skipTo(place: number): void {
    this.#shift(place, this.#prefix.length);
    this.hypothesis = this.hypothesis.filter(({ start }) => start >= 0);
  }

  /** Starts the window after the last confirmed word, without context. Returns false if it already does. */
  restart(): boolean {
    if (this.#prefix.length === 0 && this.#context === this.#prompt) return false;
    this.#shift(this.sureTo, this.#prefix.length);
    this.#context = this.#prompt;
    return true;
  }

  #shift(place: number, confirmed: number): void {
    const passed = this.#prefix.splice(0, confirmed);
    this.#context = lastOf([...this.#context, ...passed.flatMap(({ tokens }) => tokens)], contextTokens);
    // Whole samples, so that times do not drift.
    const samples = Math.round(place * this.#sampleRate);
    this.windowBegin += samples;
    const seconds = samples / this.#sampleRate;
    for (const word of [...this.#prefix, ...this.hypothesis]) {
      word.start -= seconds;
      word.end -= seconds;
    }
  }
}
