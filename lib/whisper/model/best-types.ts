/** Finds the fastest floating type of a CPU. It is measured once, and the times are kept in the user's cache folder. */
import { mkdir, readFile, rename, writeFile } from 'node:fs/promises';
import { cpus, homedir } from 'node:os';
import { dirname, join } from 'node:path';
import { Device } from '../../device/device.js';
import type { Operations } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { FloatingType } from '../../element-types.js';
import { encoderFeedForward, encoderSelfAttention } from '../../layers/layers.js';
import type { LinearParameters } from '../../layers/parameters.js';
import type { BestTypes } from './precision.js';

/** Microseconds of an encoder layer and of a decode step's product in each type. */
export interface TypeTimes {
  encoder: Record<'float32' | 'bfloat16', number>;
  decoder: Record<'float32' | 'bfloat16', number>;
}

const types = ['float32', 'bfloat16'] as const;
/** Rounds of measurement. The fastest one counts, since other work on the machine can only add time. */
const rounds = 5;
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
  return ['2', cpus()[0]?.model.trim() ?? 'unknown', kernels, `oneDNN ${onednn}`, limits, `${threads} threads`].join(
    '; ',
  );
}

/** Reads the valid entries of the file; none if it is missing or damaged. */
async function readTimes(): Promise<Record<string, TypeTimes>> {
  const text = await readFile(bestTypesFile(), 'utf8').catch(() => '{}');
  try {
    const entries = JSON.parse(text) as Record<string, TypeTimes>;
    const isTimes = (entry: TypeTimes) =>
      [entry?.encoder, entry?.decoder].every((times) => types.every((type) => times?.[type] > 0));
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

/** Times programs in turns. Returns the microseconds of each one's fastest round. */
async function fastestTimes(programs: readonly Program[]): Promise<number[]> {
  for (const program of programs) await program.prepare();
  const best = programs.map(() => Number.POSITIVE_INFINITY);
  for (let round = 0; round < rounds; ++round) {
    for (const [i, program] of programs.entries()) best[i] = Math.min(best[i], await program.time());
  }
  return best;
}

async function encoderLayer(device: Device, values: FloatingType, owned: { dispose(): void }[]): Promise<Program> {
  const keep = <T extends { dispose(): void }>(resource: T): T => {
    owned.push(resource);
    return resource;
  };
  const zeros = async (type: FloatingType, shape: number[]): Promise<Tensor> =>
    keep(await device.load(type, shape, [{ elements: shape.reduce((a, b) => a * b) }]));
  const linear = async (inputs: number, outputs: number): Promise<LinearParameters> => ({
    weight: await zeros(values, [outputs, inputs]),
    bias: await zeros('float32', [outputs]),
  });
  const norm = { weight: await zeros('float32', [width]), bias: await zeros('float32', [width]) };
  const self = { norm, queryKeyValue: await linear(width, 3 * width), out: await linear(width, width) };
  const forward = { norm, up: await linear(width, 4 * width), down: await linear(4 * width, width) };
  const x = keep(device.tensor('float32', [1, positions, width]));
  const layer = (ops: Operations) => {
    const types = { values, activations: values };
    const mixed = encoderSelfAttention(ops, x, self, { shape: { heads, keyValueHeads: heads }, types });
    encoderFeedForward(ops, mixed, forward, { types });
  };
  return keep(device.record(`encoder layer, ${values}`, layer));
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

async function measure(device: Device): Promise<TypeTimes> {
  const owned: { dispose(): void }[] = [];
  try {
    const layers = [await encoderLayer(device, 'float32', owned), await encoderLayer(device, 'bfloat16', owned)];
    const steps = [await stepProduct(device, 'float32', owned), await stepProduct(device, 'bfloat16', owned)];
    const [encoder, decoder] = [await fastestTimes(layers), await fastestTimes(steps)];
    return {
      encoder: { float32: encoder[0], bfloat16: encoder[1] },
      decoder: { float32: decoder[0], bfloat16: decoder[1] },
    };
  } finally {
    for (const resource of owned) resource.dispose();
  }
}

/**
 * Chooses a type for encoder and decoder: float32 if it is more than 5% faster, otherwise bfloat16, which takes half
 * the memory.
 */
export function chosenTypes({ encoder, decoder }: TypeTimes): BestTypes {
  const choose = ({ float32, bfloat16 }: TypeTimes['encoder']): FloatingType =>
    float32 < 0.95 * bfloat16 ? 'float32' : 'bfloat16';
  return { encoder: choose(encoder), decoder: choose(decoder) };
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
