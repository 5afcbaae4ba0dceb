/** Reads and checks a Whisper checkpoint. Its weights stay on disk until a device loads them. */
import { readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { OneheadError } from '../../errors.js';
import { statusOf } from '../files/bytes.js';
import type { TensorIndex } from '../files/tensors.js';
import {
  type GenerationConfig,
  type PreprocessorConfig,
  parseConfig,
  parseGenerationConfig,
  parsePreprocessorConfig,
  type WhisperConfig,
} from './config.js';
import type { CheckpointFormat, Description } from './description.js';
import { adapterBase, foreignFolder } from './foreign.js';
import { readJson } from './json.js';
import { openWeights } from './sources.js';
import { WhisperTokenizer } from './tokenizer.js';
import { readTokenizerFiles, specialTokens } from './tokenizer-files.js';
import { checkCheckpoint } from './weights.js';

export interface Checkpoint {
  /** The folder, or the file if the checkpoint is a single file. */
  directory: string;
  format: CheckpointFormat;
  /** Present if the checkpoint is not a Hugging Face folder. */
  description?: Description;
  config: WhisperConfig;
  generation: GenerationConfig;
  preprocessor: PreprocessorConfig;
  tensors: TensorIndex;
  /** The tokenizer. It is parsed by the first call, since a vocabulary of 50,000 tokens takes tens of megabytes. */
  tokenizer(): Promise<WhisperTokenizer>;
}

/** True if generation_config.json has the ids of the special tokens. */
function hasTokenIds(generation: unknown): boolean {
  const {
    no_timestamps_token_id: noTimestamps,
    is_multilingual: multilingual,
    lang_to_id: languages,
    task_to_id: tasks,
  } = (generation ?? {}) as Record<string, unknown>;
  const hasEntries = (map: unknown) => typeof map === 'object' && map !== null && Object.keys(map).length > 0;
  return typeof noTimestamps === 'number' && (multilingual === false || (hasEntries(languages) && hasEntries(tasks)));
}

async function readTokenizer(directory: string, generation: GenerationConfig): Promise<WhisperTokenizer> {
  const files = await readTokenizerFiles(directory);
  if (files === null) {
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `${directory} contains neither tokenizer.json nor vocab.json and merges.txt; copy them from the model that this one was made from.`,
    );
  }
  return WhisperTokenizer.of(files, generation);
}

function once<Value>(create: () => Promise<Value>): () => Promise<Value> {
  let value: Promise<Value> | undefined;
  return () => {
    value ??= create();
    return value;
  };
}

/** Makes a checkpoint from the description of a form without config.json and the other files. */
function fromDescription(directory: string, format: CheckpointFormat, description: Description): Checkpoint {
  const { file, tensors } = description;
  const config = parseConfig(description.config, file);
  const generation = parseGenerationConfig(description.generation, file, config, new Map());
  const preprocessor = parsePreprocessorConfig(description.preprocessor, file, config);
  checkCheckpoint(config, tensors, directory);
  const tokenizer = once(async () => WhisperTokenizer.of(await description.tokenizer(), generation));
  return { directory, format, description, config, generation, preprocessor, tensors, tokenizer };
}

/**
 * Reads the checkpoint in a folder or a file. Throws OneheadError MODEL_NOT_FOUND or MODEL_INVALID; the message names
 * the file and the problem.
 */
export async function readCheckpoint(path: string): Promise<Checkpoint> {
  const status = await statusOf(path);
  if (!status) {
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `There is no folder or file ${path}; give the path of a Whisper checkpoint.`,
    );
  }
  const weights = await openWeights(path);
  if (weights && 'description' in weights) return fromDescription(path, weights.format, weights.description);
  if (!weights && status.isDirectory()) {
    const foreign = foreignFolder(await readdir(path), await adapterBase(path));
    if (foreign) throw new OneheadError('MODEL_INVALID', `${path} is ${foreign}.`);
  }
  if (!weights) {
    await readConfig(path);
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `${path} contains neither model.safetensors nor model.safetensors.index.json; give the folder of a Hugging Face Whisper checkpoint, or another form that docs/models.md lists.`,
    );
  }
  return { ...(await readFolder(weights.directory, weights.tensors)), format: weights.format };
}

/** Reads config.json of a Hugging Face folder. */
async function readConfig(directory: string): Promise<unknown> {
  const json = await readJson(join(directory, 'config.json'));
  if (json !== null) return json;
  throw new OneheadError(
    'MODEL_NOT_FOUND',
    `${directory} contains no config.json; give the folder of a Hugging Face Whisper checkpoint, or another form that docs/models.md lists.`,
  );
}

/** Reads a Hugging Face folder whose tensors have been found. */
async function readFolder(directory: string, tensors: TensorIndex): Promise<Omit<Checkpoint, 'format'>> {
  const file = (name: string) => join(directory, name);
  const configJson = await readConfig(directory);
  const config = parseConfig(configJson, file('config.json'));
  const generationJson = await readJson(file('generation_config.json'));
  // Only old or hand-made checkpoints need the ids from the vocabulary, which takes time to read.
  const files = hasTokenIds(generationJson) ? null : await readTokenizerFiles(directory);
  const special = files ? specialTokens(files) : new Map<string, number>();
  const generation = parseGenerationConfig(generationJson, file('generation_config.json'), config, special);
  let where = file('preprocessor_config.json');
  let preprocessorJson = await readJson(where);
  if (preprocessorJson === null) {
    where = file('processor_config.json');
    preprocessorJson = ((await readJson(where)) as { feature_extractor?: unknown } | null)?.feature_extractor ?? null;
  }
  const preprocessor = parsePreprocessorConfig(preprocessorJson, where, config);
  checkCheckpoint(config, tensors, directory);
  const tokenizer = once(() => readTokenizer(directory, generation));
  return { directory, config, generation, preprocessor, tensors, tokenizer };
}
