/**
 * Recognizes files and folders that cannot be read as a Whisper checkpoint, for error messages that say what to do.
 * Files are recognized by their first bytes, folders by the names of their files.
 */
import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { parseJson } from '../../json.js';
import { firstBytes } from '../files/bytes.js';

/** `is` completes "<file> is ...". */
const contents: { begins: string; offset?: number; is: string }[] = [
  {
    begins: 'version https://git-lfs',
    is: 'a Git LFS pointer instead of the file: run `git lfs pull` in its folder, or download the file from the hub',
  },
  { begins: '<!doctype html', is: 'a web page: download the file itself, not the page that shows it' },
  { begins: '<html', is: 'a web page: download the file itself, not the page that shows it' },
  {
    begins: 'lmgg',
    is: 'a ggml file of whisper.cpp with the name of another format: give the file itself as the model',
  },
  {
    begins: 'GGUF',
    is: "a GGUF file: give the Hugging Face checkpoint that it was made from, such as 'openai/whisper-small'",
  },
  {
    begins: 'PK\u0003\u0004',
    is: 'a PyTorch file with the name of another format: rename it to pytorch_model.bin',
  },
  {
    begins: '\u0080\u0002',
    is: 'a PyTorch file from before 2020: load it in Python and save it again, as safetensors (save_pretrained) or with torch.save',
  },
  {
    begins: 'HDF',
    offset: 1,
    is: 'an HDF5 file of TensorFlow weights: save the model as safetensors with transformers (save_pretrained)',
  },
];

/** The number of first bytes by which a file is recognized. */
export const signatureBytes = 64;

/**
 * Describes a file by its first bytes, with advice, such as "a Git LFS pointer instead of the file: run ..."; null if
 * it is not recognized.
 */
export function foreignContent(begin: Uint8Array): string | null {
  const text = Buffer.from(begin.subarray(0, signatureBytes)).toString('latin1');
  const html = text.replace(/^\u00ef\u00bb\u00bf|^\s+/, '').toLowerCase();
  for (const { begins, offset = 0, is } of contents) {
    if (begins.startsWith('<') ? html.startsWith(begins) : text.startsWith(begins, offset)) return is;
  }
  return null;
}

/** Describes a file as `foreignContent` does; null if it is not recognized or cannot be read. */
export async function foreignFile(path: string): Promise<string | null> {
  const begin = await firstBytes(path, signatureBytes).catch(() => null);
  return begin && foreignContent(begin);
}

/**
 * Describes a folder without model.safetensors by the names in it (for a hub repository, the paths); null if it is not
 * recognized. `base` is the base model of an adapter, if it is known.
 */
export function foreignFolder(names: readonly string[], base?: string): string | null {
  const has = (pattern: RegExp) => names.some((name) => pattern.test(name));
  if (has(/^adapter_(config\.json|model\.(safetensors|bin))$/)) {
    const advice =
      'load both in Python, merge them with merge_and_unload(), and save the result with save_pretrained()';
    return `a PEFT adapter without its base model${base ? ` (${base})` : ''}: ${advice}`;
  }
  const original = "give the Hugging Face checkpoint that it was made from, such as 'openai/whisper-small'";
  if (has(/^(.*\/)?ggml-.*\.bin$/)) {
    return 'a collection of ggml files, which are one model each: download the one that you need, and give that file';
  }
  if (has(/\.gguf$/)) return `a GGUF model: ${original}`;
  if (has(/^weights(\.\d+)?\.(npz|safetensors)$/)) return `an MLX model: ${original}`;
  if (has(/^snapshots(\/|$)/) && has(/^(refs|blobs)(\/|$)/)) {
    return 'a model in the hub cache: give the folder of a revision in its `snapshots`, or the hub name of the model';
  }
  const save = 'save the model as safetensors with transformers (save_pretrained)';
  if (has(/^tf_model.*\.h5|^flax_model.*\.msgpack/)) return `a checkpoint of TensorFlow or Flax: ${save}`;
  if (has(/\.onnx$/) || has(/^onnx(\/|$)/)) return `an ONNX export: ${original}`;
  if (has(/^[^/]+\.(pt|pth|ckpt)$/)) return `a PyTorch checkpoint in a form that cannot be read: ${save}`;
  const step = names.findLast((name) => /^checkpoint-\d+$/.test(name));
  if (step) return `a folder of training checkpoints: give one of them, such as ${step}`;
  return null;
}

/** The base model that a PEFT adapter names, if any. */
export async function adapterBase(directory: string): Promise<string | undefined> {
  const text = await readFile(join(directory, 'adapter_config.json'), 'utf8').catch(() => '{}');
  try {
    const base = (parseJson(text) as { base_model_name_or_path?: unknown }).base_model_name_or_path;
    return typeof base === 'string' && base.length <= 100 ? base : undefined;
  } catch {
    return undefined;
  }
}
