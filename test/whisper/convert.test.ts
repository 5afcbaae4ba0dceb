import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { type ConvertOptions, convertCheckpoint } from '../../lib/whisper/checkpoint/convert.js';
import {
  bfloat16ToNumber,
  float16ToNumber,
  numberToBfloat16,
  numberToFloat16,
} from '../../lib/whisper/checkpoint/half.js';
import type { TensorEntry } from '../../lib/whisper/checkpoint/safetensors.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';

const micro = 'models/micro';
const sharded = 'test/fixtures/reference/half';
const bfloat = 'test/fixtures/reference/bfloat';

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'onehead-convert-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

async function convert(from: string, options: ConvertOptions): Promise<string> {
  const to = join(await folder(), 'converted');
  await convertCheckpoint(from, to, options);
  return to;
}

async function bytesOf({ file, offset, bytes }: TensorEntry): Promise<Buffer> {
  return (await readFile(file)).subarray(offset, offset + bytes);
}

async function numbers(directory: string, name: string): Promise<{ shape: number[]; values: number[] }> {
  const entry = (await readCheckpoint(directory)).tensors.get(name)!;
  const data = await bytesOf(entry);
  const values = Array.from({ length: entry.bytes / 2 }, (_, i) => {
    const bits = data.readUInt16LE(2 * i);
    return entry.dtype === 'bfloat16' ? bfloat16ToNumber(bits) : float16ToNumber(bits);
  });
  return { shape: entry.shape, values };
}

async function logits(directory: string): Promise<Float32Array> {
  using model = await WhisperModel.load(directory, { dtype: 'float32', threads: 2 });
  const samples = Float32Array.from({ length: 80_000 }, (_, i) => 0.3 * Math.sin(i * i * 1e-6));
  const encoded = await model.encode(await model.features(samples));
  const logits = await model.logits(encoded, [2757, 2758, 2760, 300, 301]);
  return await logits.toFloat32Array();
}

function distance(a: Float32Array, b: Float32Array): number {
  const norm = (of: (i: number) => number) => Math.sqrt(a.reduce((sum, _, i) => sum + of(i) ** 2, 0));
  return norm((i) => a[i] - b[i]) / norm((i) => b[i]);
}

describe('16-bit floats', () => {
  it('are all read and written without change', () => {
    for (let bits = 0; bits < 65536; ++bits) {
      const half = float16ToNumber(bits);
      expect(Number.isNaN(half) || numberToFloat16(half) === bits || half === 0).toBe(true);
      const brain = bfloat16ToNumber(bits);
      expect(Number.isNaN(brain) || numberToBfloat16(brain) === bits).toBe(true);
    }
  });

  it('are rounded to the nearest, ties to even', () => {
    expect([1 + 2 ** -11, 1 + 3 * 2 ** -11, 65519, 65520, 2 ** -25, 3 * 2 ** -25, 0.1].map(numberToFloat16)).toEqual([
      0x3c00, 0x3c02, 0x7bff, 0x7c00, 0, 2, 0x2e66,
    ]);
    expect([1 + 2 ** -8, 1 + 3 * 2 ** -8, -0.1, 3.4e38].map(numberToBfloat16)).toEqual([
      0x3f80, 0x3f82, 0xbdcd, 0x7f80,
    ]);
    expect(Number.isNaN(float16ToNumber(numberToFloat16(Number.NaN)))).toBe(true);
    expect(Number.isNaN(bfloat16ToNumber(numberToBfloat16(Number.NaN)))).toBe(true);
  });
});

describe('converting a checkpoint', () => {
  const name = 'model.decoder.layers.1.encoder_attn.v_proj.weight';

  it('pools heads by their mean, and changes config.json accordingly', async () => {
    const to = await convert(micro, { keyValueHeads: 2, parts: ['cross'] });
    const { config } = await readCheckpoint(to);
    expect(config.decoder).toMatchObject({ heads: 4, crossKeyValueHeads: 2, keyValueHeads: 4 });
    expect(config.encoder.keyValueHeads).toBe(4);
    const [before, after] = [await numbers(micro, name), await numbers(to, name)];
    expect(after.shape).toEqual([64, 128]);
    for (const [head, row, column] of [
      [0, 0, 0],
      [0, 31, 5],
      [1, 7, 127],
    ]) {
      const at = (which: number) => before.values[((2 * head + which) * 32 + row) * 128 + column];
      const found = after.values[(head * 32 + row) * 128 + column];
      expect(found).toBe(float16ToNumber(numberToFloat16((at(0) + at(1)) / 2)));
    }
  });

  it('takes the first head, or new random ones, the same in every run', async () => {
    const first = await numbers(await convert(micro, { keyValueHeads: 1, method: 'first' }), name);
    expect(first.values).toEqual((await numbers(micro, name)).values.slice(0, 32 * 128));
    const random = async () =>
      (await numbers(await convert(micro, { keyValueHeads: 1, method: 'random' }), name)).values;
    const values = await random();
    expect(values).toEqual(await random());
    const spread = Math.sqrt(values.reduce((sum, value) => sum + value ** 2, 0) / values.length);
    expect(spread).toBeGreaterThan(0.018);
    expect(spread).toBeLessThan(0.022);
  });

  it('and back by repeating heads computes the same, for programs that support only multi-head attention', async () => {
    const shared = await convert(micro, { keyValueHeads: 1, parts: ['cross', 'self', 'encoder'] });
    const repeated = await convert(shared, { keyValueHeads: 4, parts: ['cross', 'self', 'encoder'] });
    const fields = /_key_value_heads/;
    expect(await readFile(join(shared, 'config.json'), 'utf8')).toMatch(fields);
    expect(await readFile(join(repeated, 'config.json'), 'utf8')).not.toMatch(fields);
    expect((await numbers(repeated, name)).shape).toEqual([128, 128]);
    expect(distance(await logits(shared), await logits(repeated))).toBeLessThan(1e-5);
    expect(distance(await logits(shared), await logits(micro))).toBeGreaterThan(1e-2);
  });

  it.each([micro, sharded, bfloat])('of %s to its own number of heads changes no tensor', async (from) => {
    const { config, tensors } = await readCheckpoint(from);
    const to = await convert(from, { keyValueHeads: config.decoder.heads, parts: ['cross', 'self'] });
    const after = (await readCheckpoint(to)).tensors;
    expect([...after.keys()].sort()).toEqual([...tensors.keys()].sort());
    for (const [tensor, entry] of tensors) {
      expect(after.get(tensor)).toMatchObject({ dtype: entry.dtype, shape: entry.shape });
      expect((await bytesOf(after.get(tensor)!)).equals(await bytesOf(entry)), tensor).toBe(true);
    }
  });

  it('keeps everything else: other files, other fields of config.json as they were written, the card', async () => {
    const to = await convert(micro, { keyValueHeads: 1 });
    const others = (await readdir(micro)).filter(
      (file) => !['config.json', 'README.md', 'model.safetensors'].includes(file),
    );
    for (const file of others) expect(await readFile(join(to, file))).toEqual(await readFile(join(micro, file)));
    const config = await readFile(join(to, 'config.json'), 'utf8');
    expect(config).toContain('"dropout": 0.0,');
    expect(JSON.parse(config)).toEqual({
      ...JSON.parse(await readFile(join(micro, 'config.json'), 'utf8')),
      cross_key_value_heads: 1,
      decoder_key_value_heads: 1,
    });
    const card = await readFile(join(to, 'README.md'), 'utf8');
    expect(card).toContain(await readFile(join(micro, 'README.md'), 'utf8').then((text) => text.trimEnd()));
    expect(card).toContain('`cross_key_value_heads`: 1 (query heads: 4)');
  });

  it('of shards writes one file', async () => {
    const to = await convert(sharded, { keyValueHeads: 1, parts: ['encoder'] });
    expect((await readdir(to)).filter((file) => file.includes('safetensors'))).toEqual(['model.safetensors']);
    expect((await readCheckpoint(to)).config.encoder.keyValueHeads).toBe(1);
  });

  it.each<[Partial<ConvertOptions>, string]>([
    [{ keyValueHeads: 3 }, 'cross: 4 key/value heads of 4 query heads cannot be converted to 3'],
    [{ keyValueHeads: 8 }, 'cannot be converted to 8'],
    [{ keyValueHeads: 0 }, 'Expected keyValueHeads to be a whole number of at least 1 but received 0.'],
    [
      { keyValueHeads: 1, parts: [] },
      'Expected parts to be a list of cross, self, encoder but received an empty list.',
    ],
    [
      { keyValueHeads: 1, parts: ['decoder' as 'self'] },
      "Expected parts to be a list of cross, self, encoder but received ['decoder'].",
    ],
    [
      { keyValueHeads: 1, method: 'median' as 'mean' },
      "Expected method to be mean, first, random but received 'median'.",
    ],
  ])('refuses %o, and writes nothing', async (options, message) => {
    const to = join(await folder(), 'refused');
    await expect(convertCheckpoint(micro, to, options as ConvertOptions)).rejects.toThrow(message);
    await expect(readdir(to)).rejects.toThrow('ENOENT');
  });

  it('overwrites nothing', async () => {
    const to = await folder();
    await writeFile(join(to, 'mine'), 'kept');
    await expect(convertCheckpoint(micro, to, { keyValueHeads: 1 })).rejects.toThrow('is not empty');
    expect(await readdir(to)).toEqual(['mine']);
    await expect(convertCheckpoint(micro, micro, { keyValueHeads: 1 })).rejects.toThrow('is the checkpoint itself');
    await expect(convertCheckpoint(micro, join(to, 'mine', 'x'), { keyValueHeads: 1 })).rejects.toThrow(
      'Cannot write to',
    );
  });

  it('leaves an empty folder if it is aborted or fails', async () => {
    const to = await folder();
    const signal = AbortSignal.abort(new Error('enough'));
    await expect(convertCheckpoint(micro, to, { keyValueHeads: 1, signal })).rejects.toThrow('enough');
    expect(await readdir(to)).toEqual([]);
    const broken = join(await folder(), 'broken');
    await mkdir(broken);
    await expect(convertCheckpoint(broken, to, { keyValueHeads: 1 })).rejects.toThrow('contains no config.json');
  });
});
