/** What a window is told of the text before it: openai/whisper's rules, and faster-whisper's for hotwords. */
import { OneheadError } from '../../errors.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { previousRoom } from '../decoding/prompt.js';
import type { TranscribeOptions } from './types.js';

type ContextOptions = Pick<
  TranscribeOptions,
  'prompt' | 'carryPrompt' | 'prefix' | 'hotwords' | 'conditionOnPreviousText' | 'promptResetTemperature'
>;

function tokensOf(
  argument: string,
  value: string | readonly number[] | undefined,
  tokenizer: WhisperTokenizer,
  vocabulary: number,
): number[] {
  if (value === undefined) return [];
  if (typeof value === 'string') return value.trim() === '' ? [] : tokenizer.encode(` ${value.trim()}`);
  const fits = Array.isArray(value) && value.every((id) => Number.isInteger(id) && id >= 0 && id < vocabulary);
  if (!fits) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected ${argument} to be a text or a list of token ids from 0 to ${vocabulary - 1}.`,
      { argument },
    );
  }
  return [...value];
}

export class TextContext {
  readonly #options: ContextOptions;
  readonly #room: number;
  readonly #initial: readonly number[];
  readonly #hotwords: readonly number[];
  readonly #prefix: readonly number[];
  /** The prompt and all text so far, of which no more than `#room` tokens are kept. */
  #tokens: number[];
  #first = true;

  constructor(options: ContextOptions, tokenizer: WhisperTokenizer, targetPositions: number, vocabulary: number) {
    this.#options = options;
    this.#room = previousRoom(targetPositions);
    this.#initial = tokensOf('prompt', options.prompt, tokenizer, vocabulary);
    this.#hotwords = tokensOf('hotwords', options.hotwords, tokenizer, vocabulary).slice(0, this.#room);
    this.#prefix = tokensOf('prefix', options.prefix, tokenizer, vocabulary);
    this.#tokens = options.carryPrompt ? [] : [...this.#initial];
  }

  /** What the next window is given. */
  next(): { previous: number[]; prefix: readonly number[] } {
    const prefix = this.#first ? this.#prefix : [];
    this.#first = false;
    const hotwords = prefix.length > 0 ? [] : this.#hotwords;
    const carried = this.#options.carryPrompt ? this.#initial.slice(-(this.#room - hotwords.length)) : [];
    const left = this.#room - hotwords.length - carried.length;
    return { previous: [...hotwords, ...carried, ...(left > 0 ? this.#tokens.slice(-left) : [])], prefix };
  }

  /** Takes what a window wrote. */
  add(tokens: readonly number[], temperature: number): void {
    const { conditionOnPreviousText = false, promptResetTemperature = 0.5 } = this.#options;
    if (!conditionOnPreviousText || temperature > promptResetTemperature) this.#tokens = [];
    else this.#tokens = [...this.#tokens, ...tokens].slice(-this.#room);
  }
}
