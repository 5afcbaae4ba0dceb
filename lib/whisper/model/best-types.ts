/**
 * Finds the fastest floating type of a CPU, and the faster products of many rows in bfloat16. They are measured once,
 * and the times are kept in the user's cache folder.
 */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { cpus, homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { refuse } from '../../checks.js';
import { Device, haveBfloat16Products } from '../../device/device.js';
import type { Operations } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { FloatingType } from '../../element-types.js';
import { encoderFeedForward, encoderSelfAttention } from '../../layers/layers.js';
import type { LinearParameters } from '../../layers/parameters.js';
import type { BestTypes, DataType, Precision } from './precision.js';

/**
 * Microseconds of an encoder layer and of a decode step's product in each type. `integers`: a layer in bfloat16 with
 * products in 16-bit integers instead of oneDNN's. Only measured for kernels with products of bfloat16; others always
 * use integers, in `bfloat16`.
 */
export interface TypeTimes {
  encoder: Record<'float32' | 'bfloat16', number> & { integers?: number };
  decoder: Record<'float32' | 'bfloat16', number>;
}

const types = ['float32', 'bfloat16'] as const;
/** Rounds of measurement. The fastest one counts, since other work on the machine can only add time. */
const rounds = 5;
const maxRounds = 40;
/** An encoder layer with the shape of Whisper tiny's, for a third of a window. */
const [positions, width, heads] = [500, 384, 6];
/** A weight of a decode step that exceeds the second-level cache: 16 MiB in bfloat16. */
const [outputs, inputs] = [16_384, 512];

const folder = () => join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'onehead');
/** The file with the measured times. */
export const bestTypesFile = (): string => join(folder(), 'best-types.json');

/** Everything that the times depend on. */
function keyOf(threads: number): string {
  const { kernels, onednn } = Device.cpu();
  const limits = process.env.ONEDNN_MAX_CPU_ISA ?? process.env.DNNL_MAX_CPU_ISA ?? '';
  return ['4', cpus()[0]?.model.trim() ?? 'unknown', kernels, `oneDNN ${onednn}`, limits, `${threads} threads`].join(
    '; ',
  );
}

/** Reads the valid entries of the file; none if it is missing or damaged. */
async function readTimes(): Promise<Record<string, TypeTimes>> {
  const text = await readFile(bestTypesFile(), 'utf8').catch(() => '{}');
  try {
    const entries = JSON.parse(text) as Record<string, TypeTimes>;
    const isTimes = (entry: TypeTimes) =>
      [entry?.encoder, entry?.decoder].every((times) => types.every((type) => times?.[type] > 0)) &&
      (entry.encoder.integers ?? 1) > 0;
    return Object.fromEntries(Object.entries(entries ?? {}).filter(([, entry]) => isTimes(entry)));
  } catch {
    return {};
  }
}

/** Adds an entry to the file. If the file cannot be written, the next process measures again. */
async function writeTimes(key: string, times: TypeTimes): Promise<void> {
  const file = bestTypesFile();
  const temporary = `${file}.${process.pid}`;
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(temporary, `${JSON.stringify({ ...(await readTimes()), [key]: times }, null, 2)}\n`);
    await rename(temporary, file);
  } catch {}
}

/**
 * Times programs in turns, until some rounds in succession were not faster. Returns the microseconds of each one's
 * fastest round. Processes that start side by side, such as the workers of a queue, disturb most rounds.
 */
async function fastestTimes(programs: readonly Program[]): Promise<number[]> {
  for (const program of programs) await program.prepare();
  const best = programs.map(() => Number.POSITIVE_INFINITY);
  let settled = 0;
  for (let round = 0; round < maxRounds && settled < rounds; ++round) {
    settled += 1;
    for (const [i, program] of programs.entries()) {
      const time = await program.time();
      if (time < 0.98 * best[i]) settled = 0;
      best[i] = Math.min(best[i], time);
    }
  }
  return best;
}

async function encoderLayer(
  device: Device,
  values: FloatingType,
  owned: { dispose(): void }[],
  integerProducts?: boolean,
): Promise<Program> {
  const keep = <T extends { dispose(): void }>(resource: T): T => {
    owned.push(resource);
    return resource;
  };
  const zeros = async (type: FloatingType, shape: number[]): Promise<Tensor> =>
    keep(await device.load(type, shape, [{ elements: shape.reduce((a, b) => a * b) }]));
  // Biases keep the rows of products from being zeros, which are quantized faster.
  const halves = (size: number): Tensor => keep(device.tensor('float32', [size], new Float32Array(size).fill(0.5)));
  const linear = async (inputs: number, outputs: number): Promise<LinearParameters> => ({
    weight: await zeros(values, [outputs, inputs]),
    bias: halves(outputs),
  });
  const norm = { weight: halves(width), bias: halves(width) };
  const self = { norm, queryKeyValue: await linear(width, 3 * width), out: await linear(width, width) };
  const forward = { norm, up: await linear(width, 4 * width), down: await linear(4 * width, width) };
  const x = keep(device.tensor('float32', [1, positions, width]));
  const layer = (ops: Operations) => {
    const types = { values, activations: values };
    const mixed = encoderSelfAttention(ops, x, self, { shape: { heads, keyValueHeads: heads }, types });
    encoderFeedForward(ops, mixed, forward, { types });
  };
  return keep(device.record(`encoder layer, ${values}`, layer, { integerProducts }));
}

async function stepProduct(device: Device, values: FloatingType, owned: { dispose(): void }[]): Promise<Program> {
  // Every page is written: unwritten pages all map to one page of zeros, which stays in the cache, unlike weights.
  const weight = device.tensor(values, [outputs, inputs]);
  owned.push(weight);
  const rows = new Float32Array(inputs * 512).fill(0.5);
  for (let element = 0; element < weight.size; element += rows.length) await weight.write(rows, element);
  const x = device.tensor('float32', [1, inputs]);
  const program = device.record(`step, ${values}`, (ops) => {
    ops.linear(x, weight, { dtype: 'float32' });
  });
  owned.push(x, program);
  return program;
}

/** Whether oneDNN and 16-bit integers are both candidates for products in bfloat16. */
const hasBothProducts = (): boolean => haveBfloat16Products(Device.cpu().kernels);

async function measure(device: Device): Promise<TypeTimes> {
  const owned: { dispose(): void }[] = [];
  try {
    const both = hasBothProducts();
    const layers = [
      await encoderLayer(device, 'float32', owned),
      await encoderLayer(device, 'bfloat16', owned, both ? false : undefined),
      ...(both ? [await encoderLayer(device, 'bfloat16', owned, true)] : []),
    ];
    const steps = [await stepProduct(device, 'float32', owned), await stepProduct(device, 'bfloat16', owned)];
    const [encoder, decoder] = [await fastestTimes(layers), await fastestTimes(steps)];
    return {
      encoder: { float32: encoder[0], bfloat16: encoder[1], ...(both && { integers: encoder[2] }) },
      decoder: { float32: decoder[0], bfloat16: decoder[1] },
    };
  } finally {
    for (const resource of owned) resource.dispose();
  }
}

/**
 * Whether products of many rows in bfloat16 take less than half the time in 16-bit integers that they take by oneDNN.
 * With less, the choice, and so the last digits of results, would depend on what disturbs the measurement.
 */
export const integersAreFaster = ({ encoder }: TypeTimes): boolean =>
  encoder.integers !== undefined && encoder.integers < 0.5 * encoder.bfloat16;

/**
 * Chooses a type for encoder and decoder: float32 if it is more than 5% faster, otherwise bfloat16, which takes half
 * the memory. Of the products in bfloat16, those that are used count.
 */
export function chosenTypes(times: TypeTimes): BestTypes {
  const { encoder, decoder } = times;
  const choose = (float32: number, bfloat16: number): FloatingType =>
    float32 < 0.95 * bfloat16 ? 'float32' : 'bfloat16';
  return {
    encoder: choose(encoder.float32, integersAreFaster(times) ? encoder.integers! : encoder.bfloat16),
    decoder: choose(decoder.float32, decoder.bfloat16),
  };
}

/** Times that this process has read or measured, by key. */
const cache = new Map<string, Promise<TypeTimes>>();

/**
 * Returns the times of a CPU device with `threads` threads: from the file, or measured now, which takes some tens of
 * milliseconds.
 */
export function typeTimes(device: Device, threads: number): Promise<TypeTimes> {
  const key = keyOf(threads);
  let times = cache.get(key);
  if (!times) {
    times = (async () => {
      const stored = (await readTimes())[key];
      if (stored) return stored;
      const measured = await measure(device);
      await writeTimes(key, measured);
      return measured;
    })();
    cache.set(key, times);
    times.catch(() => cache.delete(key));
  }
  return times;
}

const threadsOf = (device: Device): number => device.threads ?? Device.cpu().threads;

/**
 * The fastest floating types of a CPU device, measured if they are not known. With `dtype` 'int8' they are those of the
 * values between products: attention and convolutions are faster in 16 bits on every CPU whose kernels are not the
 * portable ones, so nothing is measured.
 */
export async function bestTypes(device: Device, dtype: DataType | 'auto'): Promise<BestTypes> {
  if (dtype === 'int8' && Device.cpu().kernels !== 'portable') return { encoder: 'bfloat16', decoder: 'bfloat16' };
  return chosenTypes(await typeTimes(device, threadsOf(device)));
}

/** What ONEHEAD_CPU_PRODUCTS may be. */
const products = ['onednn', 'integers'] as const;

/** The products that the environment variable ONEHEAD_CPU_PRODUCTS names. Throws OneheadError INVALID_ARGUMENT. */
export function requestedProducts(): (typeof products)[number] | undefined {
  const given = process.env.ONEHEAD_CPU_PRODUCTS;
  if (!given) return undefined;
  const found = products.find((name) => name === given);
  return found ?? refuse('the environment variable ONEHEAD_CPU_PRODUCTS', "'onednn' or 'integers'", given);
}

/**
 * The value of `Device.integerProducts` for a model's types: what ONEHEAD_CPU_PRODUCTS names, or the faster products,
 * or undefined if there is no choice. Models in 8 bits use integers for their convolutions, since they need oneDNN for
 * nothing else, which saves its memory.
 */
export async function chooseProducts(device: Device, { encoder }: Precision): Promise<boolean | undefined> {
  if (device.kind !== 'cpu') return undefined;
  const requested = requestedProducts();
  if (requested) return requested === 'integers';
  if (encoder.weights === 'int8') return true;
  if (encoder.weights !== 'bfloat16' || !hasBothProducts()) return undefined;
  return integersAreFaster(await typeTimes(device, threadsOf(device)));
}
