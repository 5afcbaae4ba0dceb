/** Resolves the options of decoding for a model. */
import { integerIn, refuse } from '../../checks.js';
import type { Checked } from '../../options/options.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { maximumTop } from '../model/search.js';
import { type decodingOptions, defaultTemperatures } from './options.js';
import { type LengthLimits, type PromptOptions, promptTokens } from './prompt.js';
import { sharedMask } from './suppression.js';

/** How windows are decoded: the options of decoding with all defaults. */
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

const orNull = (threshold: number | 'none'): number | null => (threshold === 'none' ? null : threshold);

/** Returns the resolved options. Throws OneheadError INVALID_ARGUMENT for options that the model does not support. */
export async function resolveDecoding(
  options: Checked<typeof decodingOptions>,
  { config, generation, tokenizer }: Checkpoint,
  temperatures: readonly number[] = defaultTemperatures,
): Promise<Decoding> {
  const { temperature = temperatures } = options;
  return {
    beamSize: options.beamSize,
    patience: options.patience,
    lengthPenalty: options.lengthPenalty ?? null,
    bestOf: options.bestOf,
    temperatures: typeof temperature === 'number' ? [temperature] : [...temperature],
    seed: options.seed,
    compressionRatioThreshold: orNull(options.compressionRatioThreshold),
    logProbabilityThreshold: orNull(options.logProbabilityThreshold),
    noSpeechThreshold: orNull(options.noSpeechThreshold),
    repetitionPenalty: options.repetitionPenalty,
    noRepeatNgramSize: integerIn('noRepeatNgramSize', options.noRepeatNgramSize, 0, config.targetPositions),
    top: integerIn('topLogProbabilities', options.topLogProbabilities, 0, Math.min(maximumTop, config.vocabulary)),
    words: options.wordTimestamps,
    suppressed: await sharedMask(
      generation,
      config.vocabulary,
      options.suppressTokens,
      options.suppressBlank,
      tokenizer,
    ),
  };
}

/** Throws OneheadError INVALID_ARGUMENT for length limits that exceed the room of a window without previous text. */
export function checkLengths(
  { minNewTokens = 0, maxNewTokens }: LengthLimits,
  prompt: PromptOptions,
  { config, generation }: Checkpoint,
): void {
  const [first = null] = generation.languages.keys();
  const begin = promptTokens(generation, { ...prompt, language: prompt.language ?? first });
  const room = config.targetPositions - begin.length;
  if (maxNewTokens !== undefined) integerIn('maxNewTokens', maxNewTokens, 0, room);
  integerIn('minNewTokens', minNewTokens, 0, maxNewTokens ?? room);
}

/** Throws OneheadError INVALID_ARGUMENT for token ids outside the vocabulary. */
export function checkTokens(argument: string, tokens: readonly number[] | undefined, vocabulary: number): void {
  const wrong = tokens?.find((id) => id >= vocabulary);
  if (wrong !== undefined) refuse(argument, `a list of token ids from 0 to ${vocabulary - 1}`, [wrong]);
}
