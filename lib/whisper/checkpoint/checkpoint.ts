/** A Hugging Face Whisper folder, read and checked; the weights themselves stay on disk until a device takes them. */

import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { OneheadError } from '../../errors.js';
import {
  type GenerationConfig,
  type PreprocessorConfig,
  parseConfig,
  parseGenerationConfig,
  parsePreprocessorConfig,
  type WhisperConfig,
} from './config.js';
import { readJson } from './json.js';
import { openSafetensors, type TensorIndex } from './safetensors.js';
import { readSpecialTokens, WhisperTokenizer } from './tokenizer.js';
import { checkCheckpoint } from './weights.js';

export interface Checkpoint {
  directory: string;
  config: WhisperConfig;
  generation: GenerationConfig;
  preprocessor: PreprocessorConfig;
  tensors: TensorIndex;
  /** The tokenizer, parsed when first asked for: a vocabulary of 50,000 costs tens of megabytes. */
  tokenizer(): Promise<WhisperTokenizer>;
}

/** Throws OneheadError MODEL_NOT_FOUND or MODEL_INVALID, with the file and what is wrong with it. */
export async function readCheckpoint(directory: string): Promise<Checkpoint> {
  const status = await stat(directory).catch(() => null);
  if (!status?.isDirectory()) {
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `There is no folder ${directory}; name the folder of a Hugging Face Whisper checkpoint.`,
    );
  }
  const file = (name: string) => join(directory, name);
  const configJson = await readJson(file('config.json'));
  if (configJson === null) {
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `${directory} holds no config.json; name the folder of a Hugging Face Whisper checkpoint.`,
    );
  }
  const config = parseConfig(configJson, file('config.json'));
  const generationJson = await readJson(file('generation_config.json'));
  // Only old or home-made checkpoints leave out what the vocabulary tells too; a large one takes time to read.
  const complete = generationJson !== null && Object.hasOwn(generationJson as object, 'no_timestamps_token_id');
  const special = complete ? new Map<string, number>() : await readSpecialTokens(directory);
  const generation = parseGenerationConfig(generationJson, file('generation_config.json'), config, special);
  let where = file('preprocessor_config.json');
  let preprocessorJson = await readJson(where);
  if (preprocessorJson === null) {
    where = file('processor_config.json');
    preprocessorJson = ((await readJson(where)) as { feature_extractor?: unknown } | null)?.feature_extractor ?? null;
  }
  const preprocessor = parsePreprocessorConfig(preprocessorJson, where, config);
  const tensors = await openSafetensors(directory);
  checkCheckpoint(config, tensors, directory);
  let tokenizer: Promise<WhisperTokenizer> | undefined;
  return {
    directory,
    config,
    generation,
    preprocessor,
    tensors,
    tokenizer: () => {
      tokenizer ??= WhisperTokenizer.read(directory, generation);
      return tokenizer;
    },
  };
}
