/** Decodes a stretch of a stream: one window, encoded no longer than necessary, after the confirmed text. */
import type { EngineRequest } from '../../engine/request.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import { shortWindow } from '../decoding/audio-context.js';
import type { WhisperModel } from '../decoding/whisper-model.js';
import type { WindowResult, WindowSettings } from '../decoding/windows.js';
import { cutLong, joinTokens, mergePunctuations, type TimedWord, usualPunctuations } from '../transcription/words.js';
import type { HeldAudio } from './held-audio.js';
import { repetitionBegin } from './repetition.js';

/** A stretch of the stream, and its known text. Positions are samples. */
export interface Stretch {
  begin: number;
  end: number;
  /** Tokens of the text before it. */
  previous: readonly number[];
  /** Tokens of the text with which it begins. */
  prefix: readonly number[];
  /** Tokens that probably follow. */
  draft: readonly number[];
  /** Maximum new tokens. */
  most: number;
}

export interface Heard {
  /** The words after the prefix. Times are seconds from the start of the stretch. */
  words: TimedWord[];
  attempt: WindowResult;
  /** True if looping text was cut off. */
  repeats: boolean;
}

/** Seconds of silence after the audio; with less, Whisper invents text in windows that are not full. */
const marginSeconds = 4;

export class Listener {
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

  async hear(stretch: Stretch, settings: WindowSettings): Promise<Heard> {
    const { begin, end, previous, prefix, draft, most } = stretch;
    const { checkpoint } = this.#model;
    const { hop, fftSize } = checkpoint.preprocessor;
    const frames = Math.max(1, Math.floor((end - begin) / (2 * hop)));
    const { attempt } = await this.#model.buffers.use((samples) => {
      this.#audio.fill(samples, begin - fftSize / 2, end);
      const whole = { samples, peak: Number.NEGATIVE_INFINITY };
      const { window } = shortWindow(checkpoint, whole, frames, marginSeconds) ?? { window: whole };
      const own = { previous, prefix, draft, frames };
      return this.#model.decodeWindow(this.#request, window, own, { ...settings, maxNewTokens: most });
    });
    return this.#heard(stretch, attempt);
  }

  #heard({ prefix }: Stretch, attempt: WindowResult): Heard {
    const { tokens, times, ends, logProbabilities, language } = attempt;
    const circle = repetitionBegin(tokens);
    const end = circle === null ? tokens.length : Math.max(prefix.length, circle);
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
    if (!ends) cutLong(words);
    // Punctuation after the last word is certain only with the next word, so it is not confirmed with it.
    const marks = words.length - 1 - words.findLastIndex(({ word }) => !usualPunctuations.append.includes(word));
    mergePunctuations(words.slice(0, words.length - marks), usualPunctuations.prepend, usualPunctuations.append);
    // Merging does not change the order of the words' tokens.
    let place = 0;
    for (const word of words) {
      const own = timed.slice(place, place + word.tokens.length);
      word.logprobs = own.map(({ logprob }) => logprob);
      place += own.length;
    }
    return { words: words.filter(({ word }) => word !== ''), attempt, repeats: circle !== null };
  }
}
