/** Makes segments of a window's text: drafts with times of the decoded audio, then segments with the recording's. */
import type { PreprocessorConfig } from '../checkpoint/config.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { WindowResult } from '../decoding/windows.js';
import type { RankedTokens } from '../model/search.js';
import type { CheckedTranscribeOptions } from './options.js';
import type { WindowSegment } from './segments.js';
import type { Segment } from './types.js';
import { addTimedWords, addWords, cutLong, joinTokens, mergePunctuations, usualPunctuations } from './words.js';

/** A segment before it is published. Its times are those of the decoded audio. */
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
  /** True if each segment names its language. */
  languages: boolean;
  /** True if text is published before its segments are known: none may be left out then. */
  keepsEmpty: boolean;
  /** The recording's language; null until it is known. */
  language(): string | null;
}

export class SegmentBuilder {
  /** Maps seconds of the decoded audio to the recording. They differ if silence or clips were left out. */
  toRecording: (seconds: number, isEnd: boolean) => number = (seconds) => seconds;
  /** The end of the last word in seconds. */
  speechEnd = 0;
  readonly #facts: SegmentFacts;
  #count = 0;

  constructor(facts: SegmentFacts) {
    this.#facts = facts;
  }

  /** Drafts of the segments of a window that begins at sample `begin`, with words if they are wanted. */
  draft(begin: number, segments: readonly WindowSegment[], attempt: WindowResult): Draft[] {
    const { hop, sampleRate } = this.#facts.preprocessor;
    const offset = begin / sampleRate;
    const seek = Math.round((this.toRecording(offset, false) * sampleRate) / hop);
    // The tokens of a prefix have no probabilities.
    const given = attempt.tokens.length - attempt.logProbabilities.length + Number(attempt.ended);
    const logs = [...new Array<number>(given).fill(0), ...attempt.logProbabilities];
    const ranked = attempt.top && [...new Array<RankedTokens>(given).fill([]), ...attempt.top];
    let at = 0;
    const drafts = segments.map(({ start, end, tokens }): Draft => {
      const next = at + tokens.length;
      const top = ranked?.slice(at, next);
      const logprobs = this.#facts.options.tokenLogProbabilities ? logs.slice(at, next) : undefined;
      at = next;
      return {
        seek,
        start: offset + start,
        end: offset + end,
        text: this.#facts.tokenizer.decode(tokens),
        tokens,
        temperature: attempt.temperature,
        avg_logprob: attempt.averageLogProbability,
        compression_ratio: attempt.compressionRatio,
        no_speech_prob: attempt.noSpeechProbability,
        ...((this.#facts.languages || attempt.language !== this.#facts.language()) && {
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
    const isText = (id: number) => this.#facts.tokenizer.isText(id);
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
    const words = joinTokens(tokens, attempt.language ?? this.#facts.language(), this.#facts.tokenizer);
    // 'speech' knows the pauses between words. Words timed by 'attention' are corrected as in openai/whisper.
    const lengths = attempt.ends ? null : cutLong(words);
    const { prependPunctuations = usualPunctuations.prepend, appendPunctuations = usualPunctuations.append } =
      this.#facts.options;
    mergePunctuations(words, prependPunctuations, appendPunctuations);
    this.speechEnd = lengths
      ? addWords(drafts, { words, ...lengths }, isText, offset, this.speechEnd)
      : addTimedWords(drafts, words, isText, offset, this.speechEnd);
  }

  /**
   * Numbers the drafts, maps their times to the recording, and leaves out those without length or text. `limit` is the
   * end of the window's audio in seconds: times that the model wrote after it are cut.
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
      .filter(({ start, end, text }) => (start !== end || this.#facts.keepsEmpty) && text.trim() !== '')
      .map((draft) => ({
        id: this.#count++,
        ...times(draft),
        ...(draft.words && { words: draft.words.map(times) }),
      }));
  }
}
