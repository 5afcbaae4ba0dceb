/**
 * Text that is given out while a window is still being searched: it joins to the result's text, and none of it is taken
 * back.
 */
import type { Written } from '../../engine/runtime.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { compressionRatio } from '../decoding/compression.js';
import type { GivenTokens } from '../decoding/given-tokens.js';
import type { Decoding } from '../decoding/resolve.js';

/** Characters by which a text grows until it is compressed again, to see whether it repeats itself. */
const compressEvery = 64;

export interface RunningTextFacts {
  tokenizer: WhisperTokenizer;
  decoding: Decoding;
  endToken: number;
  /** Windows give out nothing before they are done. */
  whole: boolean;
  onText(text: string): void;
}

/** A window's text as far as it was given out. */
class WindowText implements GivenTokens {
  tokens: readonly number[] = [];
  logProbabilities: readonly number[] = [];
  language: string | null = null;
  /** Given out of this window's text, what the window before gave out of it included. */
  text: string;
  readonly #facts: RunningTextFacts;
  #active = false;
  #last: Written | null = null;
  #compressed = 0;
  #repetitive = false;

  constructor(facts: RunningTextFacts, text: string) {
    this.#facts = facts;
    this.text = text;
  }

  /** Gives out from now on; the windows before are done. */
  activate(): void {
    this.#active = true;
    if (this.#last) this.show(this.#last);
  }

  /**
   * Given out is what will pass the thresholds if it goes on like this: what fails them is searched again, from what
   * was given out on.
   */
  show(written: Written): void {
    this.#last = written;
    const { tokenizer, endToken, whole, onText } = this.#facts;
    if (!this.#active || whole || !this.#isLikely(written)) return;
    const count = written.tokens.at(-1) === endToken ? written.tokens.length - 1 : written.tokens.length;
    const tokens = written.tokens.slice(0, count);
    const text = tokenizer.decode(tokens);
    // A character may be spread over tokens: what is not whole yet is left for the next time.
    if (text.length <= this.text.length || text.endsWith('\ufffd') || !text.startsWith(this.text)) return;
    if (this.#isRepetitive(text)) return;
    const added = text.slice(this.text.length);
    this.tokens = tokens;
    this.logProbabilities = written.logProbabilities.slice(
      0,
      written.logProbabilities.length - written.tokens.length + count,
    );
    this.text = text;
    onText(added);
  }

  #isLikely({ logProbabilities, noSpeechProbability }: Written): boolean {
    const { logProbabilityThreshold, noSpeechThreshold } = this.#facts.decoding;
    if (noSpeechThreshold !== null && noSpeechProbability > noSpeechThreshold) return false;
    const sum = logProbabilities.reduce((a, b) => a + b, 0);
    return logProbabilityThreshold === null || sum / (logProbabilities.length + 1) >= logProbabilityThreshold;
  }

  #isRepetitive(text: string): boolean {
    const { compressionRatioThreshold } = this.#facts.decoding;
    if (compressionRatioThreshold === null) return false;
    if (text.length >= this.#compressed + compressEvery) {
      this.#compressed = text.length;
      this.#repetitive = compressionRatio(text.trim()) > compressionRatioThreshold;
    }
    return this.#repetitive;
  }
}

export type { WindowText };

export class RunningText {
  readonly #facts: RunningTextFacts;

  constructor(facts: RunningTextFacts) {
    this.#facts = facts;
  }

  /** The text of a window that begins with tokens which were given out before. */
  window(carried: readonly number[] = []): WindowText {
    return new WindowText(this.#facts, this.#facts.tokenizer.decode(carried));
  }

  /** Text tokens that were given out behind the first `count` of a window, which its segments do not have. */
  behind({ tokens }: WindowText, count: number): number[] {
    return tokens.slice(count).filter((id) => this.#facts.tokenizer.isText(id));
  }

  /** Gives out the rest of a window's text, which begins with what was given out of it, or is the beginning of that. */
  finish(window: WindowText, text: string): void {
    if (text.startsWith(window.text)) {
      const rest = text.slice(window.text.length);
      if (rest !== '') this.#facts.onText(rest);
    } else if (!window.text.startsWith(text)) {
      throw new Error('A text that was given out is not the text that was found.');
    }
  }
}
