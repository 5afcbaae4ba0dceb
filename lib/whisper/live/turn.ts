/**
 * The text of one turn, as it grows: what is sure, what is supposed to follow, and the audio that both are found in.
 */
import { lastOf } from '../decoding/prompt.js';
import type { Word } from '../transcription/types.js';
import { type TimedWord, usualPunctuations } from '../transcription/words.js';
import type { CheckedLiveOptions } from './options.js';
import type { TokenScores } from './types.js';

/** Tokens of the text before the window that it is told. */
const contextTokens = 64;
const sentenceEnd = /[.!?。！？]["'”’)]*$/;

const rounded = (seconds: number): number => Math.round(seconds * 100) / 100;

export class Turn {
  readonly id: number;
  /** Place of the sample where somebody was first heard. */
  readonly start: number;
  /** All that was confirmed, in the stream's seconds. */
  readonly words: Word[] = [];
  text = '';
  /** The tokens of all confirmed text. */
  readonly tokens: number[] = [];
  readonly logprobs: number[] = [];
  /** The end of its audio; null while it goes on. */
  end: number | null = null;
  /** The end of its speech. */
  stopped: number | null = null;
  /** No voice is heard, from this place on; null while somebody speaks. */
  paused: number | null = null;
  /** Place of the first sample that is decoded. */
  windowBegin: number;
  /** The end of the last decoded audio; -1 at first. */
  decodedTo = -1;
  /** The text that probably follows, in seconds of the window. */
  hypothesis: TimedWord[] = [];
  /** True where the hypothesis may be taken as it is, should nothing more be said. */
  sound = true;
  /** The language as it was last detected; null if it need not be detected. */
  language: string | null = null;
  /** Confirmed words in the window, in its seconds. */
  #prefix: TimedWord[] = [];
  #context: readonly number[];
  /** The beginning of the context. */
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
   * Goes on in the window of the turn before, whose text it begins with: of a few words alone Whisper understands less.
   * `latest` is the second of that window before which it may be cut. The text of this turn is what follows.
   */
  follow(before: Turn, latest: number): void {
    this.windowBegin = before.windowBegin;
    this.#prefix = before.#prefix.map((word) => ({ ...word }));
    this.#context = before.#context;
    this.language = before.language;
    if (latest > 0) this.advance(0, latest);
  }

  /** The tokens that were confirmed from a place on, where they are wanted. */
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

  /** In seconds of the window: where the last word ends that is sure. */
  get sureTo(): number {
    return this.#prefix.at(-1)?.end ?? 0;
  }

  /** A word of the window in the stream's seconds. */
  inStream({ word, start, end, probability }: TimedWord): Word {
    const begin = this.windowBegin / this.#sampleRate;
    return { word, start: rounded(begin + start), end: rounded(begin + end), probability };
  }

  /** Takes what was heard behind the words that are sure: none of it begins before these have ended. */
  hear(words: TimedWord[]): void {
    for (const word of words) {
      word.start = Math.max(word.start, this.sureTo);
      word.end = Math.max(word.end, word.start);
    }
    this.hypothesis = words;
  }

  /** The first `count` words of the hypothesis are sure. Gives them as they are told. */
  confirm(count: number): Word[] {
    const sure = this.hypothesis.slice(0, count);
    this.hypothesis = this.hypothesis.slice(count);
    this.#prefix.push(...sure);
    const told = sure.map((word) => this.inStream(word));
    for (const word of told) {
      const last = this.words.at(-1);
      // A mark that came later belongs to the word before it all the same.
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
   * Lets the window begin later, so that what lies before `latest` seconds of it is not decoded again: behind the last
   * sentence that is sure and ends there, else in the longest pause between two such words. Gives false where there is
   * no such place from `earliest` on.
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

  /** Lets the window begin at `place`, whatever was said before; what was not confirmed of it is gone. */
  skipTo(place: number): void {
    this.#shift(place, this.#prefix.length);
    this.hypothesis = this.hypothesis.filter(({ start }) => start >= 0);
  }

  /**
   * Lets the window begin behind the last word that is sure, without any text before. Gives false where it does
   * already.
   */
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
