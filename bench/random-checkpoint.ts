/** Whisper checkpoints with random weights, for measuring speed without downloading real ones. */
import { closeSync, mkdirSync, openSync, writeFileSync, writeSync } from 'node:fs';
import { join } from 'node:path';
import { bfloat16Bytes, randomNumbers } from '../lib/profiler/measuring/random-weights.js';
import { whisperConfigJson } from '../lib/profiler/measuring/shapes.js';
import { parseConfig, type WhisperConfig } from '../lib/whisper/checkpoint/config.js';
import { wholeJson } from '../lib/whisper/checkpoint/tokenizer-files.js';
import {
  specialTokensBehind,
  stockTokens,
  stockVocabulary,
  tokenizerOf,
} from '../lib/whisper/checkpoint/vocabulary.js';
import { checkpointTensors } from '../lib/whisper/checkpoint/weights.js';

/** Random numbers, which are repeated; speed does not depend on their values. */
const blockElements = 1_000_003;

/** Writes a checkpoint of a Whisper size in bfloat16, with reproducible weights. Returns the folder. */
export function writeRandomCheckpoint(folder: string, name: string): string {
  const json = whisperConfigJson(name);
  const vocabulary = json.vocab_size as number;
  const generation = {
    no_timestamps_token_id: vocabulary - 1502,
    lang_to_id: { '<|en|>': 50259 },
    task_to_id: { transcribe: vocabulary - 1506, translate: vocabulary - 1507 },
    is_multilingual: true,
    max_length: 448,
    decoder_start_token_id: json.decoder_start_token_id,
    bos_token_id: json.eos_token_id,
    eos_token_id: json.eos_token_id,
    pad_token_id: json.eos_token_id,
  };
  mkdirSync(folder, { recursive: true });
  writeFileSync(join(folder, 'config.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'generation_config.json'), JSON.stringify(generation));

  const header: Record<string, unknown> = {};
  const tensors = checkpointTensors(parseConfig(json, 'config.json'));
  let offset = 0;
  for (const { name: tensor, shape } of tensors) {
    const bytes = 2 * shape.reduce((product, count) => product * count, 1);
    header[`model.${tensor}`] = { dtype: 'BF16', shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  const headerBytes = Buffer.from(JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(BigInt(headerBytes.length));
  const file = openSync(join(folder, 'model.safetensors'), 'w');
  writeSync(file, prefix);
  writeSync(file, headerBytes);
  const [random, ones] = [randomNumbers(blockElements), new Float32Array(blockElements).fill(1)].map(bfloat16Bytes);
  for (const { name: tensor, shape } of tensors) {
    const bytes = 2 * shape.reduce((product, n) => product * n, 1);
    const block = /layer_norm/.test(tensor) && tensor.endsWith('weight') ? ones : random;
    for (let at = 0; at < bytes; at += block.length) writeSync(file, block, 0, Math.min(block.length, bytes - at));
  }
  closeSync(file);
  return folder;
}

/**
 * Adds the files that other programs need to a checkpoint: openai/whisper's tokenizer, and the preprocessor's config.
 */
export async function addOtherFiles(
  folder: string,
  { sourcePositions, vocabulary, mels }: WhisperConfig,
): Promise<void> {
  const preprocessor = {
    feature_extractor_type: 'WhisperFeatureExtractor',
    feature_size: mels,
    ...{ sampling_rate: 16_000, hop_length: 160, n_fft: 400 },
    ...{ chunk_length: 30, n_samples: 480_000, nb_max_frames: 3000 },
  };
  writeFileSync(join(folder, 'preprocessor_config.json'), JSON.stringify(preprocessor));
  const textTokens = stockTokens.multilingual;
  const languages = vocabulary - textTokens - 8 - (sourcePositions + 1);
  const special = specialTokensBehind(textTokens, languages, sourcePositions + 1);
  const json = wholeJson(tokenizerOf(await stockVocabulary('multilingual'), special, folder));
  writeFileSync(join(folder, 'tokenizer.json'), JSON.stringify(json));
  writeFileSync(join(folder, 'tokenizer_config.json'), JSON.stringify({ tokenizer_class: 'WhisperTokenizer' }));
}
