/** All forms of checkpoints, written by the programs that they come from (tools/reference/make_formats.py). */
import { createHash } from 'node:crypto';
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { Device, WeightsFile } from '../../lib/device/device.js';
import { derivedMerges } from '../../lib/whisper/checkpoint/byte-pairs.js';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { convertCheckpoint } from '../../lib/whisper/checkpoint/convert.js';
import { resolveModel } from '../../lib/whisper/checkpoint/hub.js';
import { specialTokensBehind, stockVocabulary, suppressedTokens } from '../../lib/whisper/checkpoint/vocabulary.js';
import { decoded } from '../../lib/whisper/checkpoint/weight-files.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { cudaKind, gpu, hasCuda } from '../device/devices.js';
import { relativeError } from '../device/reference.js';

const root = new URL('../fixtures/checkpoints/', import.meta.url).pathname;
const scratch = mkdtempSync(join(tmpdir(), 'onehead-formats-'));
afterAll(() => rmSync(scratch, { recursive: true }));

const exact: [string, string][] = [
  ['openai/model.pt', 'openai'],
  ['openai', 'openai'],
  ['pytorch', 'pytorch'],
  ['ctranslate2-float16', 'ctranslate2'],
  ['ctranslate2-float16/model.bin', 'ctranslate2'],
  ['ggml/f32.bin', 'ggml'],
  ['ggml/f16.bin', 'ggml'],
];
const inexact: [string, string[]][] = [
  ['ctranslate2-bfloat16', ['bfloat16']],
  ['ctranslate2-int8', ['int8', 'float16']],
  ['ctranslate2-int8_float16', ['int8', 'float16']],
  ['ctranslate2-int16', ['int16', 'float32']],
  ...['q4_0', 'q4_1', 'q5_0', 'q5_1', 'q8_0'].map((type): [string, string[]] => [
    `ggml/${type}.bin`,
    [type, 'float16', 'float32'],
  ]),
];

const sound = Float32Array.from({ length: 32_000 }, (_, i) => 0.3 * Math.sin(i / 7) * Math.sin(i / 999));
const prompt = [257, 258, 262, ...Array.from({ length: 20 }, (_, i) => 40 + i)];

/** The logits of a prompt, which depend on every weight. */
async function logitsOf(path: string, device = 'cpu'): Promise<Float32Array> {
  const model = await WhisperModel.load(path, { device, dtype: 'float32', ...(device === 'cpu' && { threads: 1 }) });
  try {
    using logits = await model.logits(await model.encode(await model.features([sound])), [prompt]);
    return await logits.toFloat32Array();
  } finally {
    model.dispose();
  }
}

describe('the same weights', async () => {
  const source = await logitsOf(`${root}source`);

  it.each(exact)('in %s compute the same', async (name, format) => {
    const checkpoint = await readCheckpoint(await resolveModel(root + name));
    const original = await readCheckpoint(`${root}source`);
    expect(checkpoint.format).toBe(format);
    expect(checkpoint.config).toEqual({ ...original.config, suppressTokens: expect.anything() });
    const { suppressTokens, beginSuppressTokens, ...rest } = original.generation;
    expect(checkpoint.generation).toMatchObject(rest);
    expect(checkpoint.preprocessor).toEqual(original.preprocessor);
    const [ours, theirs] = await Promise.all([checkpoint.tokenizer(), original.tokenizer()]);
    expect(ours.encode(" It's ♪ naïve")).toEqual(theirs.encode(" It's ♪ naïve"));
    expect(ours.decode([72, 195, 188, 300])).toBe(theirs.decode([72, 195, 188, 300]));
    expect(await logitsOf(root + name)).toEqual(source);
  });

  it.each(inexact)('in %s compute nearly the same, and exactly the same when converted', async (name, types) => {
    const { tensors, tokenizer } = await readCheckpoint(root + name);
    expect(new Set([...tensors.values()].map(({ dtype }) => dtype))).toEqual(new Set(types));
    expect((await tokenizer()).decode([72, 105])).toBe('Hi');
    const logits = await logitsOf(root + name);
    const distance = Math.hypot(...logits.map((value, i) => value - source[i])) / Math.hypot(...source);
    expect(distance).toBeGreaterThan(0);
    expect(distance).toBeLessThan(name.includes('q4') ? 0.5 : name.includes('q5') ? 0.25 : 0.05);
    const folder = join(scratch, name.replaceAll('/', '-'));
    expect((await convertCheckpoint(root + name, folder)).format).toBe(
      name.startsWith('ggml') ? 'ggml' : 'ctranslate2',
    );
    expect(await logitsOf(folder)).toEqual(logits);
  });

  it.runIf(gpu || hasCuda)('on a GPU', async () => {
    for (const name of ['ggml/q5_1.bin', 'ctranslate2-int8']) {
      const [ours, cpu] = [await logitsOf(root + name, cudaKind), await logitsOf(root + name)];
      expect(relativeError(ours, cpu)).toBeLessThan(1e-3);
    }
  });
});

describe('quantized types', () => {
  const device = new Device('cpu', { threads: 1 });
  afterAll(() => device.close());

  it('are decoded like gguf and numpy do', async () => {
    const expected: Record<string, Record<string, string>> = JSON.parse(readFileSync(`${root}numbers.json`, 'utf8'));
    expect(Object.keys(expected)).toEqual(expect.arrayContaining(inexact.slice(1).map(([name]) => name)));
    for (const [name, digests] of Object.entries(expected)) {
      const { tensors } = await readCheckpoint(root + name);
      const found = new Map<string, string>();
      for (const [tensor, entry] of tensors) {
        found.set(
          createHash('sha256')
            .update(await decoded(device, tensor, entry))
            .digest('hex'),
          tensor,
        );
      }
      // Products that CTranslate2 stores as one are several here.
      const whole = Object.entries(digests).filter(([tensor]) => !/attention\/linear_[01]\//.test(tensor));
      expect(whole.length).toBeGreaterThan(5);
      for (const [tensor, digest] of whole) expect(found.has(digest), `${name} ${tensor}`).toBe(true);
    }
  });

  it("of all of ggml's blocks", async () => {
    const expected: Record<string, { blocks: string; numbers: string }> = JSON.parse(
      readFileSync(`${root}blocks.json`, 'utf8'),
    );
    for (const [encoding, { blocks, numbers }] of Object.entries(expected)) {
      const file = join(scratch, encoding);
      const bytes = Buffer.from(blocks, 'base64');
      const data = Buffer.from(numbers, 'base64');
      // Repeated so often that they are read in several pieces.
      const times = 600;
      writeFileSync(file, Buffer.concat(Array(times).fill(bytes)));
      using weights = new WeightsFile(file);
      const elements = (data.length / 4) * times;
      const loaded = await device.load('float32', [elements], [{ file: weights, offset: 0, encoding, elements }]);
      const found = Buffer.from((await loaded.toFloat32Array()).buffer);
      expect(found.equals(Buffer.concat(Array(times).fill(data))), encoding).toBe(true);
    }
  });

  it('are refused if blocks, scales or the file are too short', async () => {
    using file = new WeightsFile(join(root, 'ggml/q8_0.bin'));
    const load = (part: object) => device.load('float32', [64], [{ file, offset: 0, elements: 64, ...part }]);
    await expect(load({ encoding: 'q9_9' })).rejects.toMatchObject({ code: 'INVALID_DTYPE' });
    await expect(load({ encoding: 'q2_k' })).rejects.toMatchObject({ code: 'INVALID_SHAPE' });
    await expect(load({ encoding: 'q8_0', offset: file.size - 67 })).rejects.toMatchObject({ code: 'MODEL_INVALID' });
    const scales = { offset: file.size - 8, dtype: 'float32', each: 32 };
    expect((await load({ encoding: 'int8', scales })).shape).toEqual([64]);
    await expect(load({ encoding: 'int8', scales: { ...scales, each: 31 } })).rejects.toMatchObject({
      code: 'MODEL_INVALID',
    });
    await expect(load({ encoding: 'int8', scales: { ...scales, each: 0 } })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
    await expect(load({ encoding: 'int8', scales: { ...scales, dtype: 'int32' } })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
    });
  });
});

describe("openai/whisper's vocabularies", () => {
  it.each([
    ['multilingual', 50257, 99, [1, 2, 7, 8, 9, 10, 14, 25], 88, 2425],
    ['english', 50256, 99, [1, 2, 7, 8, 9, 10, 14, 25], 90, 18435],
  ] as const)('%s', async (name, size, languages, first, count, hello) => {
    const vocabulary = await stockVocabulary(name);
    expect(vocabulary.tokens.length).toBe(size);
    expect(vocabulary.tokens[hello]).toBe('ĠHello'.replace('ĠHello', vocabulary.tokens[hello]));
    expect(vocabulary.tokens.indexOf('Ġ')).toBe(220);
    expect(vocabulary.tokens.indexOf('ĠHello')).toBe(hello);
    expect(derivedMerges(vocabulary.tokens.slice(0, 3000))).toEqual(vocabulary.merges!.slice(0, 2744));
    const suppressed = suppressedTokens(vocabulary, specialTokensBehind(size, languages, 1501));
    expect(suppressed.slice(0, 8)).toEqual(first);
    expect(suppressed.length).toBe(count);
  });
});

describe('a folder', () => {
  it('with one file is that file', async () => {
    const folder = join(scratch, 'one');
    cpSync(`${root}ggml/q5_0.bin`, join(folder, 'any-name'), { recursive: true });
    expect((await readCheckpoint(folder)).format).toBe('ggml');
  });

  it('with several files is refused, asking for one', async () => {
    await expect(readCheckpoint(`${root}ggml`)).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining('contains several files of weights (f16.bin, f32.bin, q4_0.bin, ...); give one'),
    });
  });

  it('prefers safetensors', async () => {
    const folder = join(scratch, 'both');
    cpSync(`${root}source`, folder, { recursive: true });
    cpSync(`${root}ggml/q5_0.bin`, join(folder, 'ggml.bin'));
    expect((await readCheckpoint(folder)).format).toBe('safetensors');
  });

  it('is written with all files of a Hugging Face folder', async () => {
    const folder = join(scratch, 'written');
    await convertCheckpoint(`${root}openai/model.pt`, folder);
    expect(readdirSync(folder).sort()).toEqual([
      'README.md',
      'config.json',
      'generation_config.json',
      'model.safetensors',
      'preprocessor_config.json',
      'tokenizer.json',
      'tokenizer_config.json',
    ]);
    const [before, after] = [await readCheckpoint(`${root}openai`), await readCheckpoint(folder)];
    expect(after.generation).toEqual(before.generation);
    expect([...after.tensors.values()].every(({ dtype }) => dtype === 'float16')).toBe(true);
  });
});
