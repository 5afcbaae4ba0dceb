/**
 * Publishes text while a window is still being decoded (`onText`). The published pieces join to the result's text, and
 * none is taken back.
 */
import type { Written } from '../../engine/runtime.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { compressionRatio } from '../decoding/compression.js';
import type { PublishedText } from '../decoding/published-text.js';
import type { Decoding } from '../decoding/resolve.js';

/** The compression ratio is computed again after so many new characters. */
const compressEvery = 64;

export interface RunningTextSettings {
  tokenizer: WhisperTokenizer;
  decoding: Decoding;
  endToken: number;
  /** True if windows publish nothing before they are done. */
  whole: boolean;
  onText(text: string): void;
  warn(sentence: string): void;
}

/** The published part of a window's text. */
class WindowText implements PublishedText {
  tokens: readonly number[] = [];
  logProbabilities: readonly number[] = [];
  language: string | null = null;
  /** The published text, with what the previous window published of it. */
  text: string;
  readonly #settings: RunningTextSettings;
  #active = false;
  #last: Written | null = null;
  #compressed = 0;
  #repetitive = false;

  constructor(settings: RunningTextSettings, text: string) {
    this.#settings = settings;
    this.text = text;
  }

  /** Publishes from now on, since the previous windows are done. */
  activate(): void {
    this.#active = true;
    if (this.#last) this.show(this.#last);
  }

  /**
   * Publishes text that passes the thresholds so far. If it fails them later, the window is decoded again from the end
   * of the published text.
   */
  show(written: Written): void {
    this.#last = written;
    const { tokenizer, endToken, whole, onText } = this.#settings;
    if (!this.#active || whole || !this.#isLikely(written)) return;
    const count = written.tokens.at(-1) === endToken ? written.tokens.length - 1 : written.tokens.length;
    const tokens = written.tokens.slice(0, count);
    const text = tokenizer.decode(tokens);
    // A character may span tokens: an incomplete one waits for the next call.
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
    const { logProbabilityThreshold, noSpeechThreshold } = this.#settings.decoding;
    if (noSpeechThreshold !== null && noSpeechProbability > noSpeechThreshold) return false;
    const sum = logProbabilities.reduce((a, b) => a + b, 0);
    return logProbabilityThreshold === null || sum / (logProbabilities.length + 1) >= logProbabilityThreshold;
  }

  #isRepetitive(text: string): boolean {
    const { compressionRatioThreshold } = this.#settings.decoding;
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
  readonly #settings: RunningTextSettings;

  constructor(settings: RunningTextSettings) {
    this.#settings = settings;
  }

  /** The text of a window that begins with the tokens `carried`, which were published before. */
  window(carried: readonly number[] = []): WindowText {
    return new WindowText(this.#settings, this.#settings.tokenizer.decode(carried));
  }

  /** Returns the published text tokens after the first `count` tokens of a window, those of its segments. */
  publishedAfter({ tokens }: WindowText, count: number): number[] {
    return tokens.slice(count).filter((id) => this.#settings.tokenizer.isText(id));
  }

  /**
   * Publishes the rest of a window's text. The published text is its beginning, or it is the beginning of that. If it
   * is neither, the text after their common beginning is published, with a warning, since nothing can be taken back.
   */
  finish(window: WindowText, text: string): void {
    const { onText, warn } = this.#settings;
    const shared = sharedLength(window.text, text);
    const rest = text.slice(shared);
    if (rest === '') return;
    if (shared < window.text.length) {
      warn('The text that was published during decoding differs from the result; use the text of the result.');
    }
    onText(rest);
  }
}

/** The length of the common beginning of two texts. */
function sharedLength(one: string, other: string): number {
  const end = Math.min(one.length, other.length);
  for (let at = 0; at < end; ++at) if (one[at] !== other[at]) return at;
  return end;
}
