/** From a window's text to segments: drafts in times of what is decoded, then segments in times of the recording. */
import type { PreprocessorConfig } from '../checkpoint/config.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { WindowResult } from '../decoding/windows.js';
import type { RankedTokens } from '../model/search.js';
import type { CheckedTranscribeOptions } from './options.js';
import type { WindowSegment } from './segments.js';
import type { Segment } from './types.js';
import { addTimedWords, addWords, cutLong, joinTokens, mergePunctuations, usualPunctuations } from './words.js';

/** A segment before it is given out. */
export type Draft = Omit<Segment, 'id'>;

/** Seconds to the hundredth of a millisecond, without floating-point tails such as 2.9600000000000004. */
export function round(seconds: number): number {
  return Math.round(seconds * 1e5) / 1e5;
}

/** Facts that do not change during a transcription. */
export interface SegmentFacts {
  preprocessor: PreprocessorConfig;
  tokenizer: WhisperTokenizer;
  options: Pick<CheckedTranscribeOptions, 'prependPunctuations' | 'appendPunctuations' | 'tokenLogProbabilities'>;
  /** True where each window's language is told. */
  languages: boolean;
  /** True where text may have been given out before it is known what segments it makes: none is left out then. */
  everything: boolean;
  /** The recording's language, as far as it is known. */
  language(): string | null;
}

export class SegmentBuilder {
  /** The recording's time of a time in what is decoded: another one where silence was left out. */
  toRecording: (seconds: number, isEnd: boolean) => number = (seconds) => seconds;
  /** Seconds: where the last word ended. */
  speechEnd = 0;
  readonly #about: SegmentFacts;
  #count = 0;

  constructor(about: SegmentFacts) {
    this.#about = about;
  }

  /**
   * Segments of a window that begins at sample `begin`, with words where they are wanted: their times are those of what
   * is decoded.
   */
  draft(begin: number, segments: readonly WindowSegment[], attempt: WindowResult): Draft[] {
    const { hop, sampleRate } = this.#about.preprocessor;
    const offset = begin / sampleRate;
    const seek = Math.round((this.toRecording(offset, false) * sampleRate) / hop);
    // Tokens that the text was given to begin with have no probabilities.
    const given = attempt.tokens.length - attempt.logProbabilities.length + Number(attempt.ended);
    const logs = [...new Array<number>(given).fill(0), ...attempt.logProbabilities];
    const ranked = attempt.top && [...new Array<RankedTokens>(given).fill([]), ...attempt.top];
    let place = 0;
    const drafts = segments.map(({ start, end, tokens }): Draft => {
      const behind = place + tokens.length;
      const top = ranked?.slice(place, behind);
      const logprobs = this.#about.options.tokenLogProbabilities ? logs.slice(place, behind) : undefined;
      place = behind;
      return {
        seek,
        start: offset + start,
        end: offset + end,
        text: this.#about.tokenizer.decode(tokens),
        tokens,
        temperature: attempt.temperature,
        avg_logprob: attempt.averageLogProbability,
        compression_ratio: attempt.compressionRatio,
        no_speech_prob: attempt.noSpeechProbability,
        ...((this.#about.languages || attempt.language !== this.#about.language()) && {
          language: attempt.language ?? undefined,
        }),
        ...(logprobs && { logprobs }),
        ...(top && { top_logprobs: top }),
      };
    });
    if (attempt.times) this.#addWords(drafts, offset, attempt, attempt.times);
    return drafts;
  }

  #addWords(drafts: Draft[], offset: number, attempt: WindowResult, times: readonly number[]): void {
    const isText = (id: number) => this.#about.tokenizer.isText(id);
    const prefix = attempt.tokens.length - attempt.logProbabilities.length + Number(attempt.ended);
    const tokens = attempt.tokens
      .slice(
        0,
        drafts.reduce((count, draft) => count + draft.tokens.length, 0),
      )
      .map((id, i) => ({
        id,
        probability: i < prefix ? 1 : Math.exp(attempt.logProbabilities[i - prefix]),
        start: times[i],
        end: attempt.ends?.[i] ?? times[i + 1],
      }))
      .filter(({ id }) => isText(id));
    const words = joinTokens(tokens, attempt.language ?? this.#about.language(), this.#about.tokenizer);
    // Words with known ends were timed with their pauses; words of the other method are corrected as in openai/whisper.
    const lengths = attempt.ends ? null : cutLong(words);
    const { prependPunctuations = usualPunctuations.prepend, appendPunctuations = usualPunctuations.append } =
      this.#about.options;
    mergePunctuations(words, prependPunctuations, appendPunctuations);
    this.speechEnd = lengths
      ? addWords(drafts, { words, ...lengths }, isText, offset, this.speechEnd)
      : addTimedWords(drafts, words, isText, offset, this.speechEnd);
  }

  /**
   * Segments as they are given out: with the recording's times, numbered, and without those that have no length or no
   * text. What their window heard ends at `limit`, in seconds of what is decoded: the model may write times behind it,
   * but nobody speaks there.
   */
  publish(drafts: readonly Draft[], limit = Number.POSITIVE_INFINITY): Segment[] {
    const back = (seconds: number, isEnd: boolean) =>
      round(this.toRecording(Math.min(seconds, limit), isEnd || seconds >= limit));
    const times = <T extends { start: number; end: number }>(one: T): T => ({
      ...one,
      start: back(one.start, false),
      end: back(one.end, true),
    });
    return drafts
      .filter(({ start, end, text }) => (start !== end || this.#about.everything) && text.trim() !== '')
      .map((draft) => ({
        id: this.#count++,
        ...times(draft),
        ...(draft.words && { words: draft.words.map(times) }),
      }));
  }
}
