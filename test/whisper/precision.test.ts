/** Types of a model's parts: which are chosen, which are refused, and their loss of accuracy. */
import { execFile } from 'node:child_process';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { Device, haveBfloat16Products } from '../../lib/device/device.js';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { convertCheckpoint } from '../../lib/whisper/checkpoint/convert.js';
import { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import {
  bestTypes,
  bestTypesFile,
  chooseProducts,
  chosenTypes,
  integersAreFaster,
  typeTimes,
} from '../../lib/whisper/model/best-types.js';
import {
  isPrecision,
  precisionText,
  readPrecision,
  resolvePrecision,
  uniformPrecision,
} from '../../lib/whisper/model/precision.js';
import type { LoadOptions } from '../../lib/whisper/model/types.js';
import { heldout, samplesOf } from '../audio/support.js';
import { cudaKind, hasCuda } from '../device/devices.js';

const micro = 'models/micro';

async function folder(): Promise<string> {
  const made = await mkdtemp(join(tmpdir(), 'onehead-precision-'));
  onTestFinished(() => rm(made, { recursive: true, force: true }));
  return made;
}

let samples: Float32Array;
beforeAll(async () => {
  const expected = JSON.parse(await readFile(`${heldout}expected.json`, 'utf8'));
  samples = await samplesOf(expected.files[0].file.replace('.wav', '.flac'));
});

const modelOf = (directory: string, options: LoadOptions): Promise<WhisperModel> =>
  WhisperModel.load(directory, { device: 'cpu', threads: 2, windows: 1, ...options });

async function logits(directory: string, options: LoadOptions): Promise<Float32Array> {
  using model = await modelOf(directory, options);
  using encoded = await model.encode(await model.features(samples));
  using result = await model.logits(encoded, [2757, 2758, 2760, 300, 301]);
  return await result.toFloat32Array();
}

function distance(a: Float32Array, b: Float32Array): number {
  const norm = (of: (i: number) => number) => Math.sqrt(a.reduce((sum, _, i) => sum + of(i) ** 2, 0));
  return norm((i) => a[i] - b[i]) / norm((i) => b[i]);
}

describe('types of parts', () => {
  const best = async () => ({ encoder: 'float32', decoder: 'bfloat16' }) as const;
  let device: Device;
  beforeAll(() => {
    device = new Device('cpu', { threads: 1 });
  });
  afterAll(() => device.close());
  const text = async (...given: [dtype?: Parameters<typeof resolvePrecision>[1], precision?: object]) =>
    precisionText(await resolvePrecision(device, given[0] ?? 'auto', given[1], best));

  it('come from a name, from a measurement, or one by one', async () => {
    expect(await text('float32')).toBe('float32');
    expect(await text()).toBe('encoder float32, decoder bfloat16, cache bfloat16');
    expect(await text('int8')).toBe('int8');
    expect(await text('bfloat16', { cache: 'int8' })).toBe('encoder bfloat16, decoder bfloat16, cache int8');
    expect(await text('int8', { activations: 'bfloat16' })).toBe(
      'encoder int8 x bfloat16, decoder int8 x bfloat16, cache int8',
    );
    expect(await text('float32', { decoder: 'int8' })).toBe('encoder float32, decoder int8, cache int8');
    const { encoder, decoder } = await resolvePrecision(device, 'int8', undefined, best);
    expect([encoder.values, decoder.values]).toEqual(['float32', 'bfloat16']);
  });

  it('are not measured if they are given', async () => {
    const never = () => Promise.reject(new Error('measured'));
    for (const dtype of ['float32', 'bfloat16'] as const) await resolvePrecision(device, dtype, undefined, never);
    await resolvePrecision(device, 'auto', { cache: 'int8' }, never);
    await expect(resolvePrecision(device, 'auto', undefined, never)).rejects.toThrow('measured');
  });

  it('that are incompatible are refused in a sentence', async () => {
    await expect(text('float32', { activations: 'int8' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining("precision.activations to be 'float32' like the encoder's weights"),
    });
    await expect(text('bfloat16', { cache: 'float32' })).rejects.toThrow("precision.cache to be 'int8' or ");
    for (const wrong of ['cache=int4', 'cash=int8', 'int8', 'cache=int8,', '']) {
      expect(isPrecision(readPrecision(wrong))).toBe(false);
    }
    expect(readPrecision('cache=int8,weights=float32')).toEqual({ cache: 'int8', weights: 'float32' });
  });

  it('of a GPU are float16 by default, also with 8-bit parts', async () => {
    const gpu = { kind: 'cuda', defaultDtype: 'float16' } as Device;
    const never = () => Promise.reject(new Error('measured'));
    const whole = await resolvePrecision(gpu, 'int8', undefined, never);
    expect([precisionText(whole), whole.encoder.values, whole.decoder.values]).toEqual(['int8', 'float16', 'float16']);
    const cached = await resolvePrecision(gpu, 'auto', { cache: 'int8' }, never);
    expect(precisionText(cached)).toBe('encoder float16, decoder float16, cache int8');
    expect(precisionText(await resolvePrecision(gpu, 'auto', undefined, never))).toBe('float16');
  });
});

describe('the measurement', () => {
  beforeAll(async () => {
    process.env.XDG_CACHE_HOME = await mkdtemp(join(tmpdir(), 'onehead-cache-'));
  });
  afterAll(async () => {
    await rm(process.env.XDG_CACHE_HOME!, { recursive: true, force: true });
    delete process.env.XDG_CACHE_HOME;
  });

  it('is kept for the next process, and repeated if the file is damaged', async () => {
    using device = new Device('cpu', { threads: 2 });
    const times = await typeTimes(device, 2);
    for (const part of [times.encoder, times.decoder]) {
      expect(Math.min(part.float32, part.bfloat16)).toBeGreaterThan(0);
    }
    const kept = JSON.parse(await readFile(bestTypesFile(), 'utf8'));
    expect(Object.values(kept)).toEqual([times]);
    expect(Object.keys(kept)[0]).toMatch(/oneDNN \d.*; 2 threads$/);
    await writeFile(bestTypesFile(), '{"a": {"encoder": 3}}');
    await typeTimes(device, 3);
    expect(Object.keys(JSON.parse(await readFile(bestTypesFile(), 'utf8')))[0]).toMatch(/3 threads$/);
  });

  it('chooses float32 if bfloat16 is no faster', () => {
    const [fast, slow] = [
      { float32: 100, bfloat16: 50 },
      { float32: 299, bfloat16: 554 },
    ];
    expect(chosenTypes({ encoder: slow, decoder: fast })).toEqual({ encoder: 'float32', decoder: 'bfloat16' });
    expect(chosenTypes({ encoder: fast, decoder: slow })).toEqual({ encoder: 'bfloat16', decoder: 'float32' });
  });
});

describe('products of many rows in bfloat16', () => {
  const { kernels } = Device.cpu();
  const hasBoth = haveBfloat16Products(kernels);
  const decoder = { float32: 2, bfloat16: 1 };
  const times = {
    integers: { encoder: { float32: 49, bfloat16: 120, integers: 30 }, decoder },
    onednn: { encoder: { float32: 49, bfloat16: 26, integers: 30 }, decoder },
  };
  beforeAll(async () => {
    process.env.XDG_CACHE_HOME = await mkdtemp(join(tmpdir(), 'onehead-cache-'));
  });
  afterEach(() => {
    delete process.env.ONEHEAD_CPU_PRODUCTS;
  });
  afterAll(async () => {
    await rm(process.env.XDG_CACHE_HOME!, { recursive: true, force: true });
    delete process.env.XDG_CACHE_HOME;
  });
  const chosen = (threads: number, dtype: 'float32' | 'bfloat16' | 'int8') =>
    chooseProducts({ kind: 'cpu', threads } as Device, uniformPrecision(dtype));

  it('follow the times, and so does the type', () => {
    expect([integersAreFaster(times.integers), integersAreFaster(times.onednn)]).toEqual([true, false]);
    for (const each of Object.values(times)) expect(chosenTypes(each).encoder).toBe('bfloat16');
    const slow = { encoder: { float32: 49, bfloat16: 120, integers: 60 }, decoder };
    expect(chosenTypes(slow)).toEqual({ encoder: 'float32', decoder: 'bfloat16' });
    expect(integersAreFaster({ encoder: { float32: 2, bfloat16: 1 }, decoder })).toBe(false);
    // Less may be noise.
    expect(integersAreFaster({ encoder: { float32: 49, bfloat16: 50, integers: 26 }, decoder })).toBe(false);
  });

  it('are those that were faster when they were measured; 8 bits need no measurement', async () => {
    using device = new Device('cpu', { threads: 4 });
    const measured = await typeTimes(device, 4);
    expect(measured.encoder.integers === undefined).toBe(!hasBoth);
    const [[key]] = Object.entries(JSON.parse(await readFile(bestTypesFile(), 'utf8')));
    const other = (threads: number) => (key as string).replace('4 threads', `${threads} threads`);
    await writeFile(
      bestTypesFile(),
      JSON.stringify({ [other(5)]: times.integers, [other(6)]: times.onednn, [other(7)]: { encoder: {} } }),
    );
    // Several models that are loaded at once get the same answer.
    expect(await Promise.all([5, 6, 5, 6].map((threads) => chosen(threads, 'bfloat16')))).toEqual(
      hasBoth ? [true, false, true, false] : [undefined, undefined, undefined, undefined],
    );
    expect(await chosen(5, 'float32')).toBeUndefined();
    // There is no device 7 that could be measured.
    expect(await chosen(7, 'int8')).toBe(true);
    if (kernels !== 'portable') {
      const types = await bestTypes({ kind: 'cpu', threads: 7 } as Device, 'int8');
      expect(types).toEqual({ encoder: 'bfloat16', decoder: 'bfloat16' });
    }
  });

  it('are those that ONEHEAD_CPU_PRODUCTS names', async () => {
    process.env.ONEHEAD_CPU_PRODUCTS = 'onednn';
    expect([await chosen(5, 'bfloat16'), await chosen(7, 'int8')]).toEqual([false, false]);
    process.env.ONEHEAD_CPU_PRODUCTS = 'integers';
    expect([await chosen(6, 'bfloat16'), await chosen(7, 'bfloat16')]).toEqual([true, true]);
    process.env.ONEHEAD_CPU_PRODUCTS = 'amx';
    await expect(chosen(5, 'bfloat16')).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining("ONEHEAD_CPU_PRODUCTS to be 'onednn' or 'integers' but received"),
    });
  });

  it('give nearly the same logits', async () => {
    const exact = await logits(micro, { dtype: 'float32' });
    for (const products of ['onednn', 'integers']) {
      process.env.ONEHEAD_CPU_PRODUCTS = products;
      expect(distance(await logits(micro, { dtype: 'bfloat16' }), exact)).toBeLessThan(0.02);
    }
  });
});

describe('8 bits', () => {
  // What oneDNN takes is in every process with such a model. It reports each use of itself.
  it.skipIf(Device.cpu().kernels === 'portable')('never use oneDNN, not even for a measurement', async () => {
    const script = `import { Whisper } from './dist/index.js';
      const whisper = await Whisper.load('${micro}', { device: 'cpu', dtype: process.env.DTYPE });
      console.log((await whisper.transcribe('${micro}/sample.flac')).text);`;
    const run = async (dtype: string) => {
      const env = { ...process.env, DTYPE: dtype, XDG_CACHE_HOME: await folder(), ONEHEAD_CPU_PRODUCTS: '' };
      const verbose = { ONEDNN_VERBOSE: '1', DNNL_VERBOSE: '1' };
      const { stdout } = await promisify(execFile)(process.execPath, ['--input-type=module', '--eval', script], {
        env: { ...env, ...verbose },
        maxBuffer: 1 << 26,
      });
      return stdout;
    };
    expect(await run('float32')).toMatch(/^(one)?dnnl?_verbose/m);
    const text = await run('int8');
    expect(text).not.toMatch(/dnnl?_verbose/);
    expect(text.trim().length).toBeGreaterThan(10);
  });

  it.each([
    [{ dtype: 'int8' }, 0.08],
    [{ precision: { weights: 'int8', activations: 'float32', cache: 'float32' } }, 0.04],
    [{ dtype: 'float32', precision: { cache: 'int8' } }, 0.03],
    [{ dtype: 'float32', precision: { decoder: 'bfloat16' } }, 0.05],
  ] satisfies [LoadOptions, number][])('%o lose less of the logits than %d', async (options, limit) => {
    const exact = await logits(micro, { dtype: 'float32' });
    const error = distance(await logits(micro, options), exact);
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(limit);
  });

  // The emulation takes seconds for a window.
  it.runIf(hasCuda).each([
    [{ dtype: 'int8' }, 0.08],
    [{ dtype: 'int8', precision: { activations: 'float16' } }, 0.05],
    [{ dtype: 'bfloat16', precision: { encoder: 'float16', decoder: 'int8' } }, 0.08],
  ] satisfies [LoadOptions, number][])('on a GPU, %o lose less of the logits than %d', async (options, limit) => {
    const exact = await logits(micro, { dtype: 'float32' });
    const error = distance(await logits(micro, { device: cudaKind, ...options }), exact);
    expect(error).toBeGreaterThan(0);
    expect(error).toBeLessThan(limit);
  });

  it.runIf(hasCuda)('write on a GPU what they write on a CPU', async () => {
    const tokens = async (device: string) => {
      using model = await modelOf(micro, { device, dtype: 'int8', rows: 1 });
      using encoded = await model.encode(await model.features(samples));
      return await model.generate(encoded, { language: 'en', maxNewTokens: 16 });
    };
    expect(await tokens(cudaKind)).toEqual(await tokens('cpu'));
  });

  it('from a file are those computed when a model is loaded', async () => {
    const to = join(await folder(), 'int8');
    const { sensitive } = await convertCheckpoint(micro, to, { quantize: 'int8' });
    expect(sensitive).toEqual([]);
    const { tensors } = await readCheckpoint(to);
    expect(tensors.get('model.encoder.layers.0.fc1.weight')).toMatchObject({ dtype: 'int8', shape: [512, 128] });
    expect(tensors.get('model.encoder.conv1.weight')!.dtype).toBe('float16');
    const loaded = await logits(micro, { dtype: 'int8' });
    expect(await logits(to, { dtype: 'int8' })).toEqual(loaded);
    // By default such a file is computed in 8 bits; it also supports every other type.
    expect(await logits(to, {})).toEqual(loaded);
    expect(distance(await logits(to, { dtype: 'float32' }), await logits(micro, { dtype: 'float32' }))).toBeLessThan(
      0.04,
    );
  });

  it('are not used for weights that would lose too much', async () => {
    const to = join(await folder(), 'outlier');
    await convertCheckpoint(micro, to, {});
    const name = 'model.decoder.layers.1.self_attn.k_proj.weight';
    const { offset, bytes } = (await readCheckpoint(to)).tensors.get(name)!;
    const file = join(to, 'model.safetensors');
    const data = await readFile(file);
    for (let at = offset; at < offset + bytes; at += 256) data.writeUInt16LE(0x5640, at); // 100 in each row of 128
    await writeFile(file, data);
    using model = await WhisperModel.load(to, { device: 'cpu', dtype: 'int8', threads: 1, windows: 1 });
    const names = ['q', 'k', 'v'].map((letter) => `decoder.layers.1.self_attn.${letter}_proj`);
    expect(model.sensitive).toEqual(names);
    const smaller = join(await folder(), 'int8');
    const { sensitive } = await convertCheckpoint(to, smaller, { quantize: 'int8' });
    expect(sensitive.sort()).toEqual(names.map((one) => `model.${one}.weight`).sort());
    expect(await logits(smaller, {})).toEqual(await logits(to, { dtype: 'int8' }));
  });

  it('in damaged files are refused in a sentence', async () => {
    const to = join(await folder(), 'int8');
    await convertCheckpoint(micro, to, { quantize: 'int8' });
    const file = join(to, 'model.safetensors');
    const whole = await readFile(file);
    const length = Number(whole.readBigUInt64LE());
    const header = whole.subarray(8, 8 + length).toString();
    const load = () => logits(to, { dtype: 'int8' });
    const change = (from: RegExp, text: string) => {
      const changed = Buffer.from(header.replace(from, text).slice(0, length).padEnd(length));
      return writeFile(file, Buffer.concat([whole.subarray(0, 8), changed, whole.subarray(8 + length)]));
    };
    await change(/fc1\.weight_scale/, 'fc1.weight_other');
    await expect(load()).rejects.toMatchObject({ code: 'MODEL_INVALID', message: expect.stringContaining('I8') });
    await change(/"shape":\[512,128\]/, '"shape":[256,256]');
    await expect(load()).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringContaining('does not contain a factor for each row'),
    });
    await writeFile(file, whole);
    const entry = [...(await readCheckpoint(to)).tensors.values()].find(({ scales }) => scales?.factor)!;
    const broken = Buffer.from(whole);
    broken.writeFloatLE(Number.NaN, entry.scales!.offset + 8);
    await writeFile(file, broken);
    await expect(load()).rejects.toMatchObject({
      code: 'MODEL_INVALID',
      message: expect.stringMatching(/the scale of row 2 of tensor '.*' is not a finite number/),
    });
    await writeFile(file, whole.subarray(0, whole.length - 100));
    await expect(load()).rejects.toMatchObject({ code: 'MODEL_INVALID' });
  });

  it('are computed from heads that were converted first', async () => {
    const to = join(await folder(), 'int8');
    await expect(convertCheckpoint(micro, to, { quantize: 'int8', keyValueHeads: 1 })).rejects.toThrow('convert them');
    await expect(convertCheckpoint(micro, to, { quantize: 'int4' as 'int8' })).rejects.toThrow("'int8' but received");
  });
});
