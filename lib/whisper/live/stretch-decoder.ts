/** Decodes a stretch of a stream as one short window, which begins with its confirmed text. */
import type { EngineRequest } from '../../engine/request.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { shortWindow } from '../decoding/audio-context.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { WindowResult, WindowSettings } from '../decoding/windows.js';
import type { ModelWindow } from '../model/search.js';
import {
  defaultPunctuations,
  joinTokens,
  mergePunctuations,
  shortenLongWords,
  type TimedWord,
} from '../transcription/words.js';
import type { HeldAudio } from './held-audio.js';
import { repetitionBegin } from './repetition.js';

/** A stretch of the stream and its known text. `begin` and `end` are samples. */
export interface Stretch {
  begin: number;
  end: number;
  /** Tokens of the text before the stretch. */
  previous: readonly number[];
  /** Tokens of the confirmed text at the start of the stretch. */
  prefix: readonly number[];
  /** Tokens that probably follow the prefix; see `Search.draft`. */
  draft: readonly number[];
  /** Maximum number of new tokens. */
  maximumTokens: number;
}

export interface DecodedStretch {
  /** The words after the prefix. Times are seconds from the start of the stretch. */
  words: TimedWord[];
  attempt: WindowResult;
  /** True if looping text was cut off. */
  repeats: boolean;
}

/**
 * Seconds of silence that are encoded after the audio. With less, Whisper hallucinates in windows that are not full.
 */
const marginSeconds = 4;

export class StretchDecoder {
  readonly #model: WhisperModel;
  readonly #request: EngineRequest;
  readonly #audio: HeldAudio;
  readonly #tokenizer: WhisperTokenizer;

  constructor(model: WhisperModel, request: EngineRequest, audio: HeldAudio, tokenizer: WhisperTokenizer) {
    this.#model = model;
    this.#request = request;
    this.#audio = audio;
    this.#tokenizer = tokenizer;
  }

  async decode(stretch: Stretch, settings: WindowSettings): Promise<DecodedStretch> {
    const { begin, end, previous, prefix, draft, maximumTokens } = stretch;
    const { checkpoint } = this.#model;
    const { attempt } = await this.#withWindow(begin, end, (fullWindow, frames) => {
      const { window } = shortWindow(checkpoint, fullWindow, frames, marginSeconds) ?? { window: fullWindow };
      const options = { previous, prefix, draft, frames };
      return this.#model.decodeWindow(this.#request, window, options, { ...settings, maxNewTokens: maximumTokens });
    });
    return this.#words(stretch, attempt);
  }

  /** Returns the probability of each language, by its code, between two samples of the stream. */
  languages(begin: number, end: number): Promise<Map<string, number>> {
    return this.#withWindow(begin, end, (window, frames) =>
      this.#model.windowLanguages(this.#request, window, { frames, margin: marginSeconds }),
    );
  }

  /** Calls `use` with the window of the samples from `begin` to `end`, and the number of its positions with sound. */
  #withWindow<T>(begin: number, end: number, use: (window: ModelWindow, frames: number) => Promise<T>): Promise<T> {
    const { hop, fftSize } = this.#model.checkpoint.preprocessor;
    const frames = Math.max(1, Math.floor((end - begin) / (2 * hop)));
    return this.#model.buffers.use((samples) => {
      this.#audio.fill(samples, begin - fftSize / 2, end);
      return use({ samples, peak: Number.NEGATIVE_INFINITY }, frames);
    });
  }

  /** Joins the new tokens to words, up to the first repetition of a loop. */
  #words({ prefix }: Stretch, attempt: WindowResult): DecodedStretch {
    const { tokens, times, ends, logProbabilities, language } = attempt;
    const loop = repetitionBegin(tokens);
    const end = loop === null ? tokens.length : Math.max(prefix.length, loop);
    const timed = tokens
      .slice(prefix.length, end)
      .map((id, i) => ({
        id,
        logprob: logProbabilities[i],
        probability: Math.exp(logProbabilities[i]),
        start: times![prefix.length + i],
        end: ends?.[prefix.length + i] ?? times![prefix.length + i + 1],
      }))
      .filter(({ id }) => this.#tokenizer.isText(id));
    const words = joinTokens(timed, language, this.#tokenizer);
    if (!ends) shortenLongWords(words);
    // Punctuation after the last word may still change with the next word. It stays separate, so that it is not
    // confirmed together with that word.
    const marks = words.length - 1 - words.findLastIndex(({ word }) => !defaultPunctuations.append.includes(word));
    mergePunctuations(words.slice(0, words.length - marks), defaultPunctuations.prepend, defaultPunctuations.append);
    // Merging does not change the order of the words' tokens.
    let next = 0;
    for (const word of words) {
      const wordTokens = timed.slice(next, next + word.tokens.length);
      word.logprobs = wordTokens.map(({ logprob }) => logprob);
      next += wordTokens.length;
    }
    return { words: words.filter(({ word }) => word !== ''), attempt, repeats: loop !== null };
  }
}
