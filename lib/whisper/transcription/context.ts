/** The previous text of each window, as in openai/whisper; hotwords are those of faster-whisper. */
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { lastOf, previousRoom } from '../decoding/prompt.js';
import type { TranscribeOptions } from './options.js';
import { firstTokens, lastTokens } from './prompt-tokens.js';

type ContextOptions = Pick<
  TranscribeOptions,
  | 'prompt'
  | 'carryPrompt'
  | 'prefix'
  | 'hotwords'
  | 'allowSpecialTokens'
  | 'conditionOnPreviousText'
  | 'promptResetTemperature'
>;

export class TextContext {
  readonly #options: ContextOptions;
  readonly #room: number;
  readonly #initial: readonly number[];
  readonly #hotwords: readonly number[];
  readonly #prefix: readonly number[];
  /** The last `#room` tokens of the prompt and the text so far. */
  #tokens: number[];
  #first = true;

  constructor(options: ContextOptions, tokenizer: WhisperTokenizer, targetPositions: number) {
    const { prompt, hotwords, prefix, carryPrompt, allowSpecialTokens } = options;
    this.#options = options;
    this.#room = previousRoom(targetPositions);
    const encode = (text: string) => tokenizer.encode(text, { special: allowSpecialTokens ?? false });
    this.#initial = lastTokens(prompt ?? '', this.#room, encode);
    this.#hotwords = firstTokens(hotwords ?? '', this.#room, encode);
    this.#prefix = firstTokens(prefix ?? '', this.#room, encode);
    this.#tokens = carryPrompt ? [] : [...this.#initial];
  }

  /** Returns the previous text and the prefix of the next window. */
  next(): { previous: number[]; prefix: readonly number[] } {
    const prefix = this.#first ? this.#prefix : [];
    this.#first = false;
    const hotwords = prefix.length > 0 ? [] : this.#hotwords;
    const carried = this.#options.carryPrompt ? lastOf(this.#initial, this.#room - hotwords.length) : [];
    const left = this.#room - hotwords.length - carried.length;
    return { previous: [...hotwords, ...carried, ...lastOf(this.#tokens, left)], prefix };
  }

  /** Adds the text of a window. */
  add(tokens: readonly number[], temperature: number): void {
    const { conditionOnPreviousText, promptResetTemperature } = this.#options;
    if (!conditionOnPreviousText || temperature > (promptResetTemperature ?? 0.5)) this.#tokens = [];
    else this.#tokens = [...this.#tokens, ...tokens].slice(-this.#room);
  }
}
