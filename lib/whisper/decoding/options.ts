/** The options of decoding: their defaults, which are openai/whisper's, and their checks. */
import { integerIn, numberIn, refuse } from '../../checks.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { mostPatience } from '../model/slots.js';
import { type SymbolClass, suppressionMask } from './suppression.js';

export interface DecodingOptions {
  /** Beams of the search at temperature 0, 1 to 16; 1 (the default) takes the likeliest token each time. */
  beamSize?: number;
  /** Finished candidates that end a beam search, as a multiple of the beams: above 0, 2 at most; 1 by default. */
  patience?: number;
  /** Candidates are ranked by log-probability / ((5 + length) / 6) ^ this; by log-probability / length when absent. */
  lengthPenalty?: number;
  /** Sequences drawn at temperatures above 0, of which the likeliest is taken: 1 to 16; 5 by default. */
  bestOf?: number;
  /**
   * One temperature, or several that are tried in turn until the text passes the thresholds below. 0 means no chance. By default 0, 0.2,
   * 0.4, 0.6, 0.8, 1.
   */
  temperature?: number | readonly number[];
  /** Draws are repeated by the same seed, on every device: a whole number, 0 by default. */
  seed?: number;
  /** Text that compresses better than this repeats itself, and the next temperature is tried; 2.4 by default, null for never. */
  compressionRatioThreshold?: number | null;
  /** Text with a mean log-probability below this is tried again; -1 by default, null for never. */
  logProbabilityThreshold?: number | null;
  /** Windows with a higher probability of silence and a mean log-probability below the threshold are silent; 0.6 by default, null for never. */
  noSpeechThreshold?: number | null;
  /** Divides the logits of text tokens written before in the window; 1, the default, for none. */
  repetitionPenalty?: number;
  /** No sequence of this many text tokens comes twice in a window; 0, the default, for no such rule. */
  noRepeatNgramSize?: number;
  /** Tokens never written, by number or as a class; ['default'] unless set. */
  suppressTokens?: readonly (number | SymbolClass)[];
  /** True (the default): a window does not begin with a blank or end at once. */
  suppressBlank?: boolean;
  /** True: words with their times, from the attention to the audio, in the same pass. */
  wordTimestamps?: boolean;
  /** Log-probabilities of that many of the likeliest tokens at each place, 64 at most; 0 by default. */
  topLogProbabilities?: number;
}

/** The options with their defaults. */
export interface Decoding {
  beamSize: number;
  patience: number;
  lengthPenalty: number | null;
  bestOf: number;
  temperatures: readonly number[];
  seed: number;
  compressionRatioThreshold: number | null;
  logProbabilityThreshold: number | null;
  noSpeechThreshold: number | null;
  repetitionPenalty: number;
  noRepeatNgramSize: number;
  top: number;
  words: boolean;
  suppressed: Uint8Array;
}

/** The temperatures of openai/whisper's transcribe. */
export const usualTemperatures: readonly number[] = [0, 0.2, 0.4, 0.6, 0.8, 1];
const mostSequences = 16;

function threshold(argument: string, value: number | null | undefined, usual: number): number | null {
  if (value === undefined) return usual;
  return value === null ? null : numberIn(argument, value, -1e6, 1e6);
}

/** Checks the options. Throws OneheadError INVALID_ARGUMENT. */
export async function resolveDecoding(
  options: DecodingOptions,
  { config, generation, tokenizer }: Checkpoint,
  temperaturesByDefault: readonly number[] = usualTemperatures,
): Promise<Decoding> {
  const { temperature = temperaturesByDefault } = options;
  const temperatures = typeof temperature === 'number' ? [temperature] : [...temperature];
  if (temperatures.length === 0) refuse('temperature', 'a number or a list of some', 'an empty list');
  for (const one of temperatures) numberIn('temperature', one, 0, 100);
  if (options.suppressTokens !== undefined && !Array.isArray(options.suppressTokens)) {
    refuse('suppressTokens', 'a list of token ids and classes', typeof options.suppressTokens);
  }
  return {
    beamSize: integerIn('beamSize', options.beamSize ?? 1, 1, mostSequences),
    patience: numberIn('patience', options.patience ?? 1, 0, mostPatience, true),
    lengthPenalty:
      options.lengthPenalty === undefined ? null : numberIn('lengthPenalty', options.lengthPenalty, -100, 100),
    bestOf: integerIn('bestOf', options.bestOf ?? 5, 1, mostSequences),
    temperatures,
    seed: integerIn('seed', options.seed ?? 0, 0, 2 ** 31 - 1),
    compressionRatioThreshold: threshold('compressionRatioThreshold', options.compressionRatioThreshold, 2.4),
    logProbabilityThreshold: threshold('logProbabilityThreshold', options.logProbabilityThreshold, -1),
    noSpeechThreshold: threshold('noSpeechThreshold', options.noSpeechThreshold, 0.6),
    repetitionPenalty: numberIn('repetitionPenalty', options.repetitionPenalty ?? 1, 0, 100, true),
    noRepeatNgramSize: integerIn('noRepeatNgramSize', options.noRepeatNgramSize ?? 0, 0, config.targetPositions),
    top: integerIn('topLogProbabilities', options.topLogProbabilities ?? 0, 0, Math.min(64, config.vocabulary)),
    words: options.wordTimestamps ?? false,
    suppressed: await suppressionMask(
      generation,
      config.vocabulary,
      options.suppressTokens ?? ['default'],
      options.suppressBlank ?? true,
      tokenizer,
    ),
  };
}
