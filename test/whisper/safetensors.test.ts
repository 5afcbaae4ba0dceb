import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, truncateSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { openSafetensors } from '../../lib/whisper/checkpoint/safetensors.js';
import { Whisper } from '../../lib/whisper/whisper.js';

const root = mkdtempSync(join(tmpdir(), 'onehead-safetensors-'));
afterAll(() => rmSync(root, { recursive: true }));

let folders = 0;
function folder(files: Record<string, string | Buffer>): string {
  const directory = join(root, String(++folders));
  mkdirSync(directory);
  for (const [name, content] of Object.entries(files)) writeFileSync(join(directory, name), content);
  return directory;
}

/** A file with this header, a stated header length of `length`, and `bytes` of data. */
function file(header: unknown, bytes: number, length?: bigint): Buffer {
  const text = Buffer.from(typeof header === 'string' ? header : JSON.stringify(header));
  const prefix = Buffer.alloc(8);
  prefix.writeBigUInt64LE(length ?? BigInt(text.length));
  return Buffer.concat([prefix, text, Buffer.alloc(bytes)]);
}

const tensor = (begin: number, end: number, shape = [(end - begin) / 4], dtype = 'F32') => ({
  dtype,
  shape,
  data_offsets: [begin, end],
});

describe('a valid file', () => {
  it('gives the position of each tensor', async () => {
    const header = { __metadata__: { format: 'pt' }, b: tensor(8, 16, [2, 1]), a: tensor(0, 8) };
    const directory = folder({ 'model.safetensors': file(header, 16) });
    const index = await openSafetensors(directory);
    const data = 8 + JSON.stringify(header).length;
    expect(Object.fromEntries(index)).toEqual({
      a: { file: join(directory, 'model.safetensors'), offset: data, bytes: 8, dtype: 'float32', shape: [2] },
      b: { file: join(directory, 'model.safetensors'), offset: data + 8, bytes: 8, dtype: 'float32', shape: [2, 1] },
    });
  });

  it('may be in shards', async () => {
    const index = await openSafetensors(
      folder({
        'model.safetensors.index.json': JSON.stringify({ weight_map: { a: 'one.safetensors', b: 'two.safetensors' } }),
        'one.safetensors': file({ a: tensor(0, 8) }, 8),
        'two.safetensors': file({ b: tensor(0, 4) }, 4),
      }),
    );
    expect([...index.keys()]).toEqual(['a', 'b']);
  });
});

describe('a broken or malicious file', () => {
  it.each<[string, Buffer, string]>([
    ['shorter than its length field', Buffer.alloc(5), 'it has 5 bytes'],
    ['a header longer than the file', file({}, 0, 1000n), 'claims 1000 bytes but the file has 10'],
    ['a header of exabytes', file({}, 0, 2n ** 63n), 'claims 9223372036854775808 bytes'],
    ['no JSON', file('{oops', 0), 'its header is not JSON'],
    ['a list', file([], 0), 'its header is not an object'],
    ['data cut short', file({ a: tensor(0, 8) }, 4), "tensor 'a' ends at byte 8 of the data, but the file has only 4"],
    ['overlapping tensors', file({ a: tensor(0, 8), b: tensor(4, 12) }, 12), "tensor 'b' overlaps"],
    ['a gap', file({ a: tensor(0, 4), b: tensor(8, 12) }, 12), "tensor 'b' leaves a gap"],
    ['bytes of no tensor', file({ a: tensor(0, 4) }, 12), '8 bytes at its end belong to no tensor'],
    [
      'a shape that does not fill its bytes',
      file({ a: tensor(0, 8, [3]) }, 8),
      'of shape [3] needs 12 bytes but has 8',
    ],
    ['a negative size', file({ a: tensor(0, 8, [-2]) }, 8), 'no valid shape'],
    ['sizes whose product overflows', file({ a: tensor(0, 8, [2 ** 40, 2 ** 40]) }, 8), 'needs'],
    [
      'offsets the wrong way round',
      file({ a: { dtype: 'F32', shape: [1], data_offsets: [4, 0] } }, 4),
      'no valid data offsets',
    ],
    ['an unknown type', file({ a: tensor(0, 8, [2], 'Q4') }, 8), 'unknown type "Q4"'],
    ['a type named after an object’s method', file({ a: tensor(0, 8, [2], 'toString') }, 8), 'unknown type'],
    ['no description', file({ a: null }, 0), 'unknown type undefined'],
  ])('with %s', async (_, content, message) => {
    const directory = folder({ 'model.safetensors': content });
    const error = await openSafetensors(directory).catch((caught) => caught);
    expect(error).toMatchObject({ code: 'MODEL_INVALID', message: expect.stringContaining(message) });
    expect(error.message).toContain(join(directory, 'model.safetensors'));
  });

  it.each<[string, Record<string, string>, string]>([
    ['that is not JSON', { 'model.safetensors.index.json': '{' }, 'is not JSON'],
    ['without a map', { 'model.safetensors.index.json': '{}' }, 'has no weight_map'],
    [
      'that leaves its folder',
      { 'model.safetensors.index.json': '{"weight_map":{"a":"../x"}}' },
      'not the name of a file beside it',
    ],
    [
      'with a missing shard',
      { 'model.safetensors.index.json': '{"weight_map":{"a":"x"}}' },
      '/x: there is no such file',
    ],
  ])('an index %s', async (_, files, message) => {
    await expect(openSafetensors(folder(files))).rejects.toThrow(message);
  });

  it('a tensor that is not in its shard', async () => {
    const directory = folder({
      'model.safetensors.index.json': '{"weight_map":{"z":"one.safetensors"}}',
      'one.safetensors': file({ a: tensor(0, 8) }, 8),
    });
    await expect(openSafetensors(directory)).rejects.toThrow(
      "places tensor 'z' in one.safetensors, which does not contain it",
    );
  });

  it('that does not exist', async () => {
    await expect(openSafetensors(folder({}))).rejects.toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });
});

describe('a checkpoint', () => {
  const micro = new URL('../../models/micro', import.meta.url).pathname;
  function copy(): string {
    const directory = join(root, String(++folders));
    cpSync(micro, directory, { recursive: true });
    return directory;
  }
  function edit(name: string, change: (json: Record<string, unknown>) => void): string {
    const directory = copy();
    const json = JSON.parse(readFileSync(join(directory, name), 'utf8'));
    change(json);
    writeFileSync(join(directory, name), JSON.stringify(json));
    return directory;
  }

  it('is read completely, except the tokenizer, which is read on demand', async () => {
    const checkpoint = await readCheckpoint(micro);
    expect(checkpoint.config.width).toBe(128);
    const tokenizer = await checkpoint.tokenizer();
    expect(tokenizer.decode([2770, 843, 1628, 2756])).toBe(' Add honey');
    expect(tokenizer.decode([2770])).toBe('');
    expect(tokenizer.decode(tokenizer.encode(' Äther – 東京'))).toBe(' Äther – 東京');
  });

  it.each<[string, () => string, string]>([
    ['there is no such folder', () => join(root, 'none'), 'There is no folder'],
    ['config.json is missing', () => folder({}), 'contains no config.json'],
    ['config.json is not JSON', () => folder({ 'config.json': '{oops' }), 'config.json is not JSON'],
    [
      'the shapes are of another config',
      () => edit('config.json', (json) => Object.assign(json, { decoder_ffn_dim: 256 })),
      "expected tensor 'decoder.layers.0.fc1.weight' to be [256,128]",
    ],
    [
      'layers are missing',
      () => edit('config.json', (json) => Object.assign(json, { decoder_layers: 4 })),
      '24 tensors of the model that config.json describes are missing (decoder.layers.3.self_attn.q_proj.weight',
    ],
    [
      'the weights are cut short',
      () => {
        const directory = copy();
        truncateSync(join(directory, 'model.safetensors'), 1_000_000);
        return directory;
      },
      'truncated?',
    ],
  ])('is refused if %s', async (_, make, message) => {
    await expect(readCheckpoint(make())).rejects.toThrow(message);
  });

  it('is refused if the tokenizer is broken', async () => {
    const directory = copy();
    writeFileSync(join(directory, 'tokenizer.json'), '{"model": 3}');
    const { tokenizer } = await readCheckpoint(directory);
    await expect(tokenizer()).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    await expect(Whisper.load(directory)).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  });
});
