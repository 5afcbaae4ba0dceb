/**
 * The state of one turn: its confirmed words, the hypothesis after them, and the window of audio that contains both.
 */
import { lastOf } from '../decoding/prompt.js';
import type { Word } from '../transcription/types.js';
import { defaultPunctuations, type TimedWord } from '../transcription/words.js';
import { TurnLanguage } from './language.js';
import type { CheckedLiveOptions } from './options.js';
import type { TokenScores } from './types.js';

/** Maximum number of tokens of the context, the text before the window. */
const contextTokens = 64;
const sentenceEnd = /[.!?。！？]["'”’)]*$/;

const rounded = (seconds: number): number => Math.round(seconds * 100) / 100;

export class Turn {
  readonly id: number;
  /** Position of the first sample with speech. */
  readonly start: number;
  /** Position of the first sample of its audio. The window may begin earlier, in that of the previous turn. */
  readonly audio: number;
  /** True if audio between the previous turn and this one was discarded. */
  followsCleared = false;
  /** All confirmed words, in seconds of the stream. */
  readonly words: Word[] = [];
  text = '';
  /** The tokens of all confirmed text. */
  readonly tokens: number[] = [];
  readonly logprobs: number[] = [];
  /** The end of its audio; null while the turn is open. */
  end: number | null = null;
  /** The end of its speech; null while the turn is open. */
  stopped: number | null = null;
  /** The position at which silence began; null during speech. */
  paused: number | null = null;
  /** Position of the first sample of the window. */
  windowBegin: number;
  /** The end of the audio that has been decoded; -1 before the first decoding. */
  decodedTo = -1;
  /** The words after the confirmed ones. Times are seconds from the start of the window. */
  hypothesis: TimedWord[] = [];
  /** True if the hypothesis is neither repetitive, improbable nor too fast, so that it can become final. */
  plausible = true;
  /** The last detected language; null if none was detected. */
  language: string | null = null;
  readonly languageCheck = new TurnLanguage();
  /** Confirmed words in the window. Times are seconds from the start of the window. */
  #prefix: TimedWord[] = [];
  #context: readonly number[];
  /** The initial context. */
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
    this.audio = audio;
    this.windowBegin = audio;
    this.#context = prompt;
    this.#prompt = prompt;
    this.#sampleRate = sampleRate;
  }

  /**
   * Continues in the window of the previous turn, whose text becomes the prefix, since Whisper recognizes a few words
   * better with words before them. If `latest` is positive, the window advances to at most that second.
   */
  continueFrom(previous: Turn, latest: number): void {
    this.windowBegin = previous.windowBegin;
    this.#prefix = previous.#prefix.map((word) => ({ ...word }));
    this.#context = previous.#context;
    this.language = previous.language;
    if (latest > 0) this.advance(0, latest);
  }

  /** Returns the confirmed tokens from index `from` on and their log-probabilities, if requested. */
  scores({ tokenLogProbabilities }: Pick<CheckedLiveOptions, 'tokenLogProbabilities'>, from = 0): TokenScores {
    if (!tokenLogProbabilities) return {};
    return { tokens: this.tokens.slice(from), logprobs: this.logprobs.slice(from) };
  }

  /** The tokens of the confirmed words in the window. */
  get prefix(): readonly number[] {
    return this.#prefix.flatMap(({ tokens }) => tokens);
  }

  /** The tokens of the text before the window. */
  get context(): readonly number[] {
    return this.#context;
  }

  /** The end of the last confirmed word, in seconds from the start of the window. */
  get confirmedTo(): number {
    return this.#prefix.at(-1)?.end ?? 0;
  }

  /** Converts the times of a word to seconds of the stream. */
  inStream({ word, start, end, probability }: TimedWord): Word {
    const begin = this.windowBegin / this.#sampleRate;
    return { word, start: rounded(begin + start), end: rounded(begin + end), probability };
  }

  /** The position before which its audio has been decoded, or dropped. */
  get undecodedFrom(): number {
    return Math.max(this.decodedTo, this.windowBegin, this.audio);
  }

  /** Sets the hypothesis. Its words are moved into the turn's audio, and after the end of the confirmed words. */
  setHypothesis(words: TimedWord[]): void {
    const earliest = Math.max(this.confirmedTo, (this.audio - this.windowBegin) / this.#sampleRate);
    for (const word of words) {
      word.start = Math.max(word.start, earliest);
      word.end = Math.max(word.end, word.start);
    }
    this.hypothesis = words;
  }

  /** Confirms the first `count` words of the hypothesis. Returns them with times in seconds of the stream. */
  confirm(count: number): Word[] {
    const confirmed = this.hypothesis.slice(0, count);
    this.hypothesis = this.hypothesis.slice(count);
    this.#prefix.push(...confirmed);
    const words = confirmed.map((word) => this.inStream(word));
    for (const word of words) {
      const last = this.words.at(-1);
      // Punctuation that is confirmed after its word is still appended to it.
      if (last && defaultPunctuations.append.includes(word.word)) last.word += word.word;
      else this.words.push({ ...word });
    }
    this.text += words.map(({ word }) => word).join('');
    for (const { tokens, logprobs = [] } of confirmed) {
      this.tokens.push(...tokens);
      this.logprobs.push(...logprobs);
    }
    return words;
  }

  /**
   * Moves the start of the window to a pause after a confirmed word, between the seconds `earliest` and `latest`: after
   * the last sentence, or else to the longest pause. Returns false if there is no word that ends there.
   */
  advance(earliest: number, latest: number): boolean {
    const next = (index: number) => this.#prefix[index + 1] ?? this.hypothesis[0];
    const cuts = this.#prefix.flatMap((word, index) => {
      const following = next(index)?.start ?? word.end;
      const second = (word.end + Math.max(word.end, following)) / 2;
      return second >= earliest && second <= latest ? [{ index, second, pause: following - word.end }] : [];
    });
    if (cuts.length === 0) return false;
    const sentence = cuts.findLast(({ index }) => sentenceEnd.test(this.#prefix[index].word));
    const { index, second } = sentence ?? cuts.reduce((best, cut) => (cut.pause >= best.pause ? cut : best));
    this.#shift(second, index + 1);
    return true;
  }

  /**
   * Moves the start of the window by `seconds`, or further, to the end of the confirmed words. Unconfirmed words before
   * it are dropped.
   */
  skip(seconds: number): void {
    this.#shift(Math.max(seconds, this.confirmedTo), this.#prefix.length);
    this.hypothesis = this.hypothesis.filter(({ start }) => start >= 0);
  }

  /**
   * Moves the start of the window after the last confirmed word and drops the context. False if it is there already.
   */
  restart(): boolean {
    if (this.#prefix.length === 0 && this.#context === this.#prompt) return false;
    this.#shift(this.confirmedTo, this.#prefix.length);
    this.#context = this.#prompt;
    return true;
  }

  /**
   * Moves the start of the window to its own audio, or after its confirmed words, and drops the context: what was
   * before is in another language.
   */
  beginAlone(): void {
    if (this.words.length > 0) this.restart();
    else {
      this.#prefix = [];
      this.#context = this.#prompt;
      this.windowBegin = Math.max(this.windowBegin, this.audio);
    }
    this.hypothesis = [];
  }

  /** Moves the start of the window. The first `confirmed` words of the prefix become context. */
  #shift(by: number, confirmed: number): void {
    const removed = this.#prefix.splice(0, confirmed);
    this.#context = lastOf([...this.#context, ...removed.flatMap(({ tokens }) => tokens)], contextTokens);
    // Whole samples, so that times do not drift.
    const samples = Math.round(by * this.#sampleRate);
    this.windowBegin += samples;
    const seconds = samples / this.#sampleRate;
    for (const word of [...this.#prefix, ...this.hypothesis]) {
      word.start -= seconds;
      word.end -= seconds;
    }
  }
}
