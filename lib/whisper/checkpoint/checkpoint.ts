/** A Hugging Face Whisper folder, read and checked; the weights themselves stay on disk until a device takes them. */

import { readdir, stat } from 'node:fs/promises';
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
import { adapterBase, foreignFolder } from './foreign.js';
import { readJson } from './json.js';
import { openSafetensors, type TensorIndex } from './safetensors.js';
import { WhisperTokenizer } from './tokenizer.js';
import { readTokenizerFiles, specialTokens } from './tokenizer-files.js';
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

/** True when generation_config.json names the special tokens itself. */
function namesTokens(generation: unknown): boolean {
  const {
    no_timestamps_token_id: times,
    is_multilingual: multilingual,
    lang_to_id: languages,
    task_to_id: tasks,
  } = (generation ?? {}) as Record<string, unknown>;
  const some = (map: unknown) => typeof map === 'object' && map !== null && Object.keys(map).length > 0;
  return typeof times === 'number' && (multilingual === false || (some(languages) && some(tasks)));
}

async function readTokenizer(directory: string, generation: GenerationConfig): Promise<WhisperTokenizer> {
  const files = await readTokenizerFiles(directory);
  if (files === null) {
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `${directory} holds neither tokenizer.json nor vocab.json and merges.txt; copy those of the model that it was made from.`,
    );
  }
  return WhisperTokenizer.of(files, generation);
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
  const names = await readdir(directory);
  if (!names.some((name) => /^model\.safetensors(\.index\.json)?$/.test(name))) {
    const foreign = foreignFolder(names, await adapterBase(directory));
    if (foreign) throw new OneheadError('MODEL_INVALID', `${directory} is ${foreign}.`);
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
  const files = namesTokens(generationJson) ? null : await readTokenizerFiles(directory);
  const special = files ? specialTokens(files) : new Map<string, number>();
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
      tokenizer ??= readTokenizer(directory, generation);
      return tokenizer;
    },
  };
}
