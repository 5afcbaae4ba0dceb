/** Files that are not Whisper checkpoints: one sentence says what they are and what to do. */
import { cpSync, mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Whisper } from '../../lib/whisper/whisper.js';

const micro = new URL('../../models/micro', import.meta.url).pathname;
const root = mkdtempSync(join(tmpdir(), 'onehead-foreign-'));
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;
function folder(files: Record<string, string | Buffer>, from?: string): string {
  const directory = join(root, String(++count));
  if (from) cpSync(from, directory, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    mkdirSync(dirname(join(directory, name)), { recursive: true });
    writeFileSync(join(directory, name), content);
  }
  return directory;
}

const pointer =
  'version https://git-lfs.github.com/spec/v1\noid sha256:4d7a214614ab2935c943f9e0ff69d22eadbb8f32b1\nsize 290403936\n';
const zip = Buffer.from('PK\u0003\u0004\u0000\u0000whisper-small/data.pkl');

describe('a folder of', () => {
  it.each<[string, Record<string, string | Buffer>, string]>([
    [
      'a PEFT adapter',
      {
        'adapter_config.json': '{"base_model_name_or_path": "openai/whisper-small"}',
        'adapter_model.safetensors': '',
        'tokenizer.json': '{}',
      },
      'is a PEFT adapter without its base model (openai/whisper-small): load both in Python, merge them with merge_and_unload()',
    ],
    [
      'a PEFT adapter whose settings are damaged',
      { 'adapter_config.json': '{' },
      'is a PEFT adapter without its base model:',
    ],
    ['whisper.cpp', { 'ggml-base.en.bin': '', 'README.md': '' }, 'is a collection of ggml files'],
    ['MLX', { 'weights.npz': '', 'config.json': '{"n_mels": 80}' }, 'is an MLX model'],
    ['ONNX', { 'config.json': '{}', 'onnx/encoder_model.onnx': '' }, 'is an ONNX export'],
    ['TensorFlow', { 'config.json': '{}', 'tf_model.h5': '' }, 'is a checkpoint of TensorFlow or Flax'],
    [
      'training',
      { 'checkpoint-500/a': '', 'checkpoint-1000/a': '' },
      'is a folder of training checkpoints: give one of them, such as checkpoint-',
    ],
    [
      'the hub cache',
      { 'refs/main': '', 'snapshots/0123/config.json': '', 'blobs/1': '' },
      'is a model in the hub cache: give the folder of a revision in its `snapshots`',
    ],
  ])('%s', async (_, files, message) => {
    const directory = folder(files);
    await expect(Whisper.load(directory)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining(`${directory} ${message}`),
    });
  });

  it.each<[string, string, string | Buffer, string]>([
    ['Git LFS’s pointer for its weights', 'model.safetensors', pointer, 'is a Git LFS pointer'],
    ['Git LFS’s pointer for its tokenizer', 'tokenizer.json', pointer, 'run `git lfs pull` in its folder'],
    ['a web page for its config', 'config.json', '\n<!DOCTYPE html><html>', 'is a web page: download the file itself'],
    [
      'a PyTorch file under another name',
      'model.safetensors',
      zip,
      'is a PyTorch file with the name of another format: rename it',
    ],
  ])('a checkpoint with %s', async (_, name, content, message) => {
    const directory = folder({ [name]: content }, micro);
    await expect(Whisper.load(directory)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(new RegExp(`^${join(directory, name)} .*${message}`)),
    });
  });
});

describe('a file', () => {
  it.each<[string, string | Buffer, string, string]>([
    ['small.pt', zip, 'MODEL_INVALID', 'is not a valid PyTorch file'],
    ['ggml-small.bin', 'lmgg\u0000\u0000\u0000\u0000', 'MODEL_INVALID', 'is not a valid ggml file'],
    ['a-pointer.pt', pointer, 'MODEL_INVALID', 'is a Git LFS pointer'],
    ['small.gguf', 'GGUF\u0003', 'MODEL_INVALID', 'is a GGUF file'],
    ['tf_model.h5', Buffer.from('\u0089HDF\r\n', 'latin1'), 'MODEL_INVALID', 'is an HDF5 file'],
    [
      'pytorch_model.bin',
      Buffer.from('\u0080\u0002\u008a', 'latin1'),
      'MODEL_INVALID',
      'is a PyTorch file from before 2020',
    ],
    ['model.safetensors', pointer, 'MODEL_INVALID', 'is a Git LFS pointer'],
    ['config.json', '{}', 'MODEL_NOT_FOUND', 'is a file but not a model; give a folder or file'],
  ])('%s', async (name, content, code, message) => {
    const file = join(folder({ [name]: content }), name);
    await expect(Whisper.load(file)).rejects.toMatchObject({
      code,
      message: expect.stringContaining(`${file} ${message}`),
    });
  });
});

// A link to itself cannot be read by anyone, unlike a file of another user, which root may read.
describe('what exists but cannot be read', () => {
  it.each([
    ['weights', 'model.safetensors'],
    ['the index of weights', 'model.safetensors.index.json'],
    ['weights of another form', 'pytorch_model.bin'],
  ])('%s', async (_, name) => {
    const directory = folder({ 'config.json': '{}' });
    symlinkSync(name, join(directory, name));
    await expect(Whisper.load(directory)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(new RegExp(`^Cannot read ${join(directory, name)}: .*; check the file`)),
    });
  });

  it('the model itself', async () => {
    const path = join(folder({ 'README.md': '' }), 'model');
    symlinkSync('model', path);
    await expect(Whisper.load(path)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(`^Cannot read ${path}: `),
    });
  });
});
