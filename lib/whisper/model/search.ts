/** A search in a window, and its result. */
import type { Tensor } from '../../device/tensor.js';

/** A window to encode: its samples, or encoder output that the caller has. */
export type ModelWindow =
  | {
      /** `windowSamples` of them for its positions. */
      samples: Float32Array;
      /** All samples from this one on are zeros and need not be copied. Default: unknown. */
      end?: number;
      /**
       * Frames with sound. The features after them are set to zero. Default: all, so that features after the sound are
       * those of silence.
       */
      soundFrames?: number;
      /** The highest log10 power that features are normalized by; -infinity: the window's own. */
      peak: number;
    }
  | {
      /** [windows, positions, width] in the type of the encoder's values. The window is the one at `index`. */
      encoded: Tensor;
      index: number;
    };

/** One search: a sequence that takes the likeliest token or samples, or the beams of one. */
export interface Search {
  /** All tokens before the text: previous text, <|startoftranscript|>, language, task. */
  prompt: readonly number[];
  /** Given tokens that the text begins with. They are part of the result, without log-probabilities. */
  prefix?: readonly number[];
  /**
   * A guess of the text after the prefix, such as an earlier result for less of the same audio. It is read in one pass
   * and accepted up to the first token that decoding would not choose. Not for beams. If it is present, even empty,
   * `times` include those of the prefix.
   */
  draft?: readonly number[];
  /** Index in the prompt of <|startoftranscript|>, where the probability of silence and the language are read. */
  startIndex: number;
  /** The minimum and maximum number of new tokens before the end token, without the prefix. */
  minimum: number;
  maximum: number;
  timestamps: boolean;
  /** Above 1: a beam search. */
  beams: number;
  temperature: number;
  /** Seed of the noise of sampling. */
  seed: number;
  /** Finished candidates for each beam. */
  patience: number;
  /** null: scores are divided by the length, as openai/whisper does; else by ((5 + length) / 6) ^ penalty. */
  lengthPenalty: number | null;
  repetitionPenalty: number;
  noRepeatNgramSize: number;
  /** uint8 [vocabulary]; see `suppressionMask`. The array is compared by identity and must not change. */
  suppressed: Uint8Array;
  /** The number of likeliest tokens that are returned for each position; 0 for none. */
  top: number;
  /** Whether data for word times is returned. */
  words: boolean;
  /** The number of audio positions with sound, for word times. Default: all. */
  frames?: number;
  /** Whether the logits after <|startoftranscript|> are returned. */
  startLogits?: boolean;
}

export type RankedTokens = { token: number; logProbability: number }[];

/** A text that a search found. */
export interface Candidate {
  /** The prefix and what was generated, without the end token. */
  tokens: number[];
  /** One for each generated token, and for the end token if it was reached. */
  logProbabilities: number[];
  /** The sum of the log-probabilities. */
  sum: number;
  /** True if the end token was reached. */
  ended: boolean;
  /** The cache row that holds each position. */
  rows: Int32Array;
}

/** Cross-attention weights of a text's tokens, averaged over heads. */
export interface TextAttention {
  /** float32 [rows, frames]: a row for each generated token, and one for the end token if it was reached. */
  weights: Float32Array;
  rows: number;
  /** Audio positions with sound. */
  frames: number;
  /** The number of tokens before that of the first row: those of a prefix. */
  before: number;
}

export interface SearchResult extends Omit<Candidate, 'rows'> {
  noSpeechProbability: number;
  /** If requested: the likeliest tokens of each position, likeliest first. */
  top?: RankedTokens[];
  /** If requested: the seconds at which the tokens begin, and one more at which the last one ends. */
  times?: number[];
  /** The seconds at which the tokens end, if the method of word times leaves pauses between tokens. */
  ends?: number[];
  /** The attention of the tokens, if word times are computed by the method 'speech'. */
  attention?: TextAttention;
  /** float32 [vocabulary], if requested. */
  startLogits?: Float32Array;
  /** The number of accepted draft tokens, if there was a draft. */
  accepted?: number;
}

/** The maximum number of beams of a search. */
export const maximumBeams = 16;
/** The maximum patience: finished candidates for each beam. */
export const maximumPatience = 2;
/** The maximum number of log-probabilities of each position. */
export const maximumTop = 64;

/**
 * The score of a text for its length: openai/whisper's MaximumLikelihoodRanker. Only generated tokens count, without
 * the prefix and the end token.
 */
export function rank(
  { sum, logProbabilities, ended }: Pick<Candidate, 'sum' | 'logProbabilities' | 'ended'>,
  lengthPenalty: number | null,
): number {
  const length = logProbabilities.length - Number(ended);
  return sum / (lengthPenalty === null ? Math.max(1, length) : ((5 + length) / 6) ** lengthPenalty);
}

/** The candidate with the highest rank. */
export function likeliest<Ranked extends Pick<Candidate, 'sum' | 'logProbabilities' | 'ended'>>(
  candidates: readonly Ranked[],
  lengthPenalty: number | null,
): Ranked {
  return candidates.reduce((best, next) => (rank(next, lengthPenalty) > rank(best, lengthPenalty) ? next : best));
}

/**
 * The number of finished texts at which a beam search ends. A half is rounded to the even number, as Python's `round`
 * does in openai/whisper.
 */
export function requiredCandidates(beams: number, patience: number): number {
  const exact = beams * patience;
  const below = Math.floor(exact);
  const rounded = exact - below === 0.5 ? below + (below % 2) : Math.round(exact);
  return Math.min(Math.max(1, rounded), beams * maximumPatience);
}
