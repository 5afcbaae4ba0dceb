/** A search in a window, and its result. */
import type { Tensor } from '../../device/tensor.js';

/** A window to encode: its samples, or what was encoded before. */
export type ModelWindow =
  | {
      /** `windowSamples` of them for its positions. */
      samples: Float32Array;
      /** Samples from there on are zeros, and need not be copied; unknown unless given. */
      end?: number;
      /** The highest log10 power that features are measured against; -infinity: the window's own. */
      peak: number;
    }
  | {
      /** [windows, positions, width] in the model's dtype, of which the window at `index` is taken. */
      encoded: Tensor;
      index: number;
    };

/** One search: a sequence that takes the likeliest token or draws, or the beams of one. */
export interface Search {
  /** Up to and without what is generated: previous text, <|startoftranscript|> and its like. */
  prompt: readonly number[];
  /** Tokens that the text begins with; they count as generated, but were not. */
  prefix?: readonly number[];
  /**
   * A guess of the text behind the prefix, such as an earlier result for less of the same audio. It is read in one
   * pass, and kept as far as decoding would choose the same tokens. For one sequence only (`beams` 1). If it is given,
   * even empty, `times` include those of the prefix.
   */
  draft?: readonly number[];
  /** Index in the prompt of <|startoftranscript|>, where the probability of silence and the language are read. */
  startIndex: number;
  /** New tokens before the end token may come, and at most; the prefix not counted. */
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
  /** Log-probabilities wanted of each place, besides the chosen token's. */
  top: number;
  /** Whether the times of tokens are wanted. */
  words: boolean;
  /** Audio positions with sound, for times of words; all unless given. */
  frames?: number;
  /** Whether the logits behind <|startoftranscript|> are wanted. */
  startLogits?: boolean;
}

export type RankedTokens = { token: number; logProbability: number }[];

/** A sequence that a search found. */
export interface Candidate {
  /** The prefix and what was generated, without the end token. */
  tokens: number[];
  /** One for each generated token, and for the end token if it was reached. */
  logProbabilities: number[];
  sum: number;
  ended: boolean;
  /** The cache row that holds each position. */
  rows: Int32Array;
}

/** Attention weights of a text's tokens, summed over heads. */
export interface TextAttention {
  /** float32 [rows, frames]: a row for each token that was generated, and perhaps one more for the end token. */
  weights: Float32Array;
  rows: number;
  /** Audio positions with sound. */
  frames: number;
  /** Tokens before the first row's: those of a prefix. */
  before: number;
}

export interface SearchResult extends Omit<Candidate, 'rows'> {
  noSpeechProbability: number;
  /** The likeliest tokens of each place, likeliest first, where they were asked for. */
  top?: RankedTokens[];
  /** If requested: the second at which each token begins and, one more, at which the last one ends. */
  times?: number[];
  /** The second at which each token ends, where that may be before the next begins. */
  ends?: number[];
  /** The attention of the tokens, if words are timed by attention and loudness. */
  attention?: TextAttention;
  /** float32 [vocabulary], where they were asked for. */
  startLogits?: Float32Array;
  /** Tokens of the draft that were kept, where one was given. */
  accepted?: number;
}

/** Most beams of a window. */
export const mostBeams = 16;
/** The most patience that there is room for: candidates a beam. */
export const mostPatience = 2;
/** Most log-probabilities of each place. */
export const mostTop = 64;

/** The score of a text for its length: openai/whisper's MaximumLikelihoodRanker. */
export function rank(
  { sum, tokens: { length } }: Pick<Candidate, 'sum' | 'tokens'>,
  lengthPenalty: number | null,
): number {
  return sum / (lengthPenalty === null ? Math.max(1, length) : ((5 + length) / 6) ** lengthPenalty);
}

/** The best ranked of some. */
export function likeliest<Ranked extends Pick<Candidate, 'sum' | 'tokens'>>(
  candidates: readonly Ranked[],
  lengthPenalty: number | null,
): Ranked {
  return candidates.reduce((best, one) => (rank(one, lengthPenalty) > rank(best, lengthPenalty) ? one : best));
}
