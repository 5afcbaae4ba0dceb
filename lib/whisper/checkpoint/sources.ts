/** Recognizes the form of a checkpoint by the first bytes of its files, not by their names. */
import { readdir, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { OneheadError } from '../../errors.js';
import { BinaryFile, firstBytes, reading, statusOf } from '../files/bytes.js';
import { ctranslate2Model } from '../files/ctranslate2.js';
import { ggmlMagic } from '../files/ggml.js';
import type { TensorIndex } from '../files/tensors.js';
import { readTorch } from '../files/torch.js';
import { describeCTranslate2 } from './ctranslate2.js';
import type { CheckpointFormat, Description } from './description.js';
import { signatureBytes } from './foreign.js';
import { describeGgml, describeOpenai, isOpenai } from './openai.js';
import { openSafetensors, openShards } from './safetensors.js';

/** Weights: with a description of the model, or in a folder with config.json. */
export type Weights =
  | { format: CheckpointFormat; description: Description }
  | { format: CheckpointFormat; directory: string; tensors: TensorIndex };

type Kind = 'ggml' | 'zip' | 'ctranslate2';

/**
 * Recognizes the form of a file by its first bytes; null if it is unknown, or is not a file. Throws OneheadError
 * MODEL_INVALID if the file cannot be read.
 */
export async function kindOf(path: string): Promise<Kind | null> {
  if (!(await statusOf(path))?.isFile()) return null;
  const begin = await reading(path, () => firstBytes(path, signatureBytes));
  if (begin.length < 8) return null;
  if (begin.readUInt32LE() === ggmlMagic) return 'ggml';
  if (begin.readUInt32LE() === 0x0403_4b50) return 'zip';
  return ctranslate2Model(begin) === null ? null : 'ctranslate2';
}

/** Reads the tensor index of a state dict, such as transformers' pytorch_model.bin. */
function readState(path: string): Promise<TensorIndex> {
  return BinaryFile.with(path, 'PyTorch', (file: BinaryFile) =>
    readTorch(file, async ({ value, tensorIndex }) => {
      if (!(value instanceof Map)) file.refuse('it contains no tensors by their names');
      return tensorIndex(value);
    }),
  );
}

async function openFile(path: string, kind: Kind): Promise<Weights> {
  if (kind === 'ggml') {
    return { format: 'ggml', description: await BinaryFile.with(path, 'ggml', describeGgml) };
  }
  const directory = dirname(path);
  if (kind === 'ctranslate2') {
    const description = await BinaryFile.with(path, 'CTranslate2', (file) => describeCTranslate2(file, directory));
    return { format: 'ctranslate2', description };
  }
  return BinaryFile.with(path, 'PyTorch', (file: BinaryFile) =>
    readTorch(file, async (torch): Promise<Weights> => {
      const { value } = torch;
      if (isOpenai(value)) return { format: 'openai', description: await describeOpenai(file, value, torch) };
      if (!(value instanceof Map)) file.refuse('it contains no tensors by their names');
      if (!(await isFile(join(directory, 'config.json')))) {
        throw new OneheadError(
          'MODEL_INVALID',
          `${path} contains tensors without the sizes that openai/whisper's files have, and there is no config.json beside it; give the folder of a checkpoint.`,
        );
      }
      return { format: 'pytorch', directory, tensors: await torch.tensorIndex(value) };
    }),
  );
}

const isFile = (path: string): Promise<boolean> =>
  stat(path).then(
    (status) => status.isFile(),
    () => false,
  );

/** Names of files that are not weights and need not be opened. */
const notWeights = /\.(json|txt|md|py|flac|wav|mp3|svg|png)$|^\./;
/** The maximum number of files of a folder that are examined. */
const maximumFiles = 1000;

const preferred = 'pytorch_model.bin';

/** Opens the weights of a folder without safetensors; null if there are none. */
async function openFolder(directory: string, names: readonly string[]): Promise<Weights | null> {
  const index = names.find((name) => name === `${preferred}.index.json`);
  if (index)
    return { format: 'pytorch', directory, tensors: await openShards(directory, join(directory, index), readState) };
  const found: { name: string; kind: Kind }[] = [];
  const failures: unknown[] = [];
  for (const name of names.slice(0, maximumFiles)) {
    if (notWeights.test(name)) continue;
    const kind = await kindOf(join(directory, name)).catch((error) => {
      failures.push(error); // matters only if no other file has weights
      return null;
    });
    if (kind) found.push({ name, kind });
  }
  // Training writes optimizer states of the same form to the folder.
  const chosen = found.find(({ name }) => name === preferred) ?? found[0];
  if (!chosen && failures.length > 0) throw failures[0];
  if (!chosen) return null;
  if (found.length > 1 && chosen.name !== preferred) {
    const some = found.slice(0, 3).map(({ name }) => basename(name).slice(0, 50));
    throw new OneheadError(
      'MODEL_INVALID',
      `${directory} contains several files of weights (${some.join(', ')}${found.length > 3 ? ', ...' : ''}); give one of them.`,
    );
  }
  return openFile(join(directory, chosen.name), chosen.kind);
}

/** True for a file that is a model, or that has the weights of the model in its folder. */
export async function isModelFile(path: string): Promise<boolean> {
  return (await kindOf(path)) !== null;
}

/**
 * Opens the weights of a folder or file; null if there are none in a supported form. Throws OneheadError MODEL_INVALID
 * or MODEL_NOT_FOUND.
 */
export async function openWeights(path: string): Promise<Weights | null> {
  const kind = await kindOf(path);
  if (kind) return openFile(path, kind);
  const isFolder = (await statusOf(path))?.isDirectory();
  const names = isFolder ? await reading(path, () => readdir(path)) : [];
  if (names.some((name) => /^model\.safetensors(\.index\.json)?$/.test(name))) {
    return { format: 'safetensors', directory: path, tensors: await openSafetensors(path) };
  }
  return openFolder(path, names.sort());
}
