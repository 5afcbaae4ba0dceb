/**
 * Makes segments from a window's text: first drafts with times of the decoded audio, then segments of the recording.
 */
import type { PreprocessorConfig } from '../checkpoint/config.js';
import type { WhisperTokenizer } from '../checkpoint/tokenizer.js';
import type { WindowResult } from '../decoding/windows.js';
import type { RankedTokens } from '../model/search.js';
import type { CheckedTranscribeOptions } from './options.js';
import type { WindowSegment } from './segments.js';
import type { Segment } from './types.js';
import {
  addTimedWords,
  addWords,
  defaultPunctuations,
  joinTokens,
  mergePunctuations,
  shortenLongWords,
} from './words.js';

/** A segment before it is published, with times of the decoded audio. */
export type Draft = Omit<Segment, 'id'>;

/** Rounds seconds to hundredths of a millisecond, to avoid values such as 2.9600000000000004. */
export function round(seconds: number): number {
  return Math.round(seconds * 1e5) / 1e5;
}

/** Settings of a transcription. */
export interface SegmentSettings {
  preprocessor: PreprocessorConfig;
  tokenizer: WhisperTokenizer;
  options: Pick<CheckedTranscribeOptions, 'prependPunctuations' | 'appendPunctuations' | 'tokenLogProbabilities'>;
  /** True if all segments have their language. */
  languages: boolean;
  /** True if segments without duration are kept, since their text may have been published. */
  keepsEmpty: boolean;
  /** The recording's language; null until it is known. */
  language(): string | null;
}

export class SegmentBuilder {
  /**
   * Maps seconds of the decoded audio to seconds of the recording. They differ if silence was removed, or with clips.
   */
  toRecording: (seconds: number, isEnd: boolean) => number = (seconds) => seconds;
  /** The end of the last word in seconds of the decoded audio. */
  speechEnd = 0;
  readonly #settings: SegmentSettings;
  #count = 0;

  constructor(settings: SegmentSettings) {
    this.#settings = settings;
  }

  /** Returns drafts of the segments of a window that begins at sample `begin`, with words if they were requested. */
  draft(begin: number, segments: readonly WindowSegment[], attempt: WindowResult): Draft[] {
    const { hop, sampleRate } = this.#settings.preprocessor;
    const offset = begin / sampleRate;
    const seek = Math.round((this.toRecording(offset, false) * sampleRate) / hop);
    // The tokens of a prefix have no log-probabilities.
    const prefix = attempt.tokens.length - attempt.logProbabilities.length + Number(attempt.ended);
    const logs = [...new Array<number>(prefix).fill(0), ...attempt.logProbabilities];
    const ranked = attempt.top && [...new Array<RankedTokens>(prefix).fill([]), ...attempt.top];
    let token = 0;
    const drafts = segments.map(({ start, end, tokens }): Draft => {
      const next = token + tokens.length;
      const top = ranked?.slice(token, next);
      const logprobs = this.#settings.options.tokenLogProbabilities ? logs.slice(token, next) : undefined;
      token = next;
      return {
        seek,
        start: offset + start,
        end: offset + end,
        text: this.#settings.tokenizer.decode(tokens),
        tokens,
        temperature: attempt.temperature,
        avg_logprob: attempt.averageLogProbability,
        compression_ratio: attempt.compressionRatio,
        no_speech_prob: attempt.noSpeechProbability,
        ...((this.#settings.languages || attempt.language !== this.#settings.language()) && {
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
    const isText = (id: number) => this.#settings.tokenizer.isText(id);
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
    const words = joinTokens(tokens, attempt.language ?? this.#settings.language(), this.#settings.tokenizer);
    // The word times of the method 'speech' include pauses. Those of 'attention' are corrected as in openai/whisper.
    const durations = attempt.ends ? null : shortenLongWords(words);
    const { prependPunctuations = defaultPunctuations.prepend, appendPunctuations = defaultPunctuations.append } =
      this.#settings.options;
    mergePunctuations(words, prependPunctuations, appendPunctuations);
    this.speechEnd = durations
      ? addWords(drafts, { words, ...durations }, isText, offset, this.speechEnd)
      : addTimedWords(drafts, words, isText, offset, this.speechEnd);
  }

  /**
   * Numbers the drafts, maps their times to the recording, and drops those without duration or text. Times after
   * `limit`, the end of the window's audio in seconds, are set to it. A draft of blanks is kept if it begins within the
   * first `published` characters, those that `onText` has received.
   */
  publish(drafts: readonly Draft[], limit = Number.POSITIVE_INFINITY, published = 0): Segment[] {
    const mapped = (seconds: number, isEnd: boolean) =>
      round(this.toRecording(Math.min(seconds, limit), isEnd || seconds >= limit));
    const times = <T extends { start: number; end: number }>(item: T): T => ({
      ...item,
      start: mapped(item.start, false),
      end: mapped(item.end, true),
    });
    let position = 0;
    return drafts
      .filter(({ start, end, text }) => {
        const isKept = text.trim() !== '' || (text !== '' && position < published);
        position += text.length;
        return isKept && (start !== end || this.#settings.keepsEmpty);
      })
      .map((draft) => ({
        id: this.#count++,
        ...times(draft),
        ...(draft.words && { words: draft.words.map(times) }),
      }));
  }
}
