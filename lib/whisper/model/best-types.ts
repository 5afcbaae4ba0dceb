/** The fastest floating type of a CPU: measured once, and kept in the user's cache folder. */
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

/** The measurement: microseconds of an encoder layer and of a decode step's product in each type. */
export interface TypeTimes {
  encoder: Record<'float32' | 'bfloat16', number>;
  decoder: Record<'float32' | 'bfloat16', number>;
}

const types = ['float32', 'bfloat16'] as const;
/** Runs of each case, in turns; the fastest counts, since what disturbs only ever slows. */
const turns = 5;
/** An encoder layer like tiny's, of a third of a window. */
const [positions, width, heads] = [500, 384, 6];
/** A step's product that no cache below the third level holds. */
const [outputs, inputs] = [16_384, 512];

const folder = () => join(process.env.XDG_CACHE_HOME ?? join(homedir(), '.cache'), 'onehead');
/** The file that keeps the measurements. */
export const bestTypesFile = (): string => join(folder(), 'best-types.json');

/** Everything that the times depend on. */
function keyOf(threads: number): string {
  const { kernels, onednn } = Device.cpu();
  const limits = process.env.ONEDNN_MAX_CPU_ISA ?? process.env.DNNL_MAX_CPU_ISA ?? '';
  return ['1', cpus()[0]?.model.trim() ?? 'unknown', kernels, `oneDNN ${onednn}`, limits, `${threads} threads`].join(
    '; ',
  );
}

async function kept(): Promise<Record<string, TypeTimes>> {
  const text = await readFile(bestTypesFile(), 'utf8').catch(() => '{}');
  try {
    const found = JSON.parse(text) as Record<string, TypeTimes>;
    const isTimes = (one: TypeTimes) =>
      [one?.encoder, one?.decoder].every((times) => types.every((type) => times?.[type] > 0));
    return Object.fromEntries(Object.entries(found ?? {}).filter(([, one]) => isTimes(one)));
  } catch {
    return {};
  }
}

/** A cache: where it cannot be written, the next process measures again. */
async function keep(key: string, times: TypeTimes): Promise<void> {
  const file = bestTypesFile();
  try {
    await mkdir(dirname(file), { recursive: true });
    await writeFile(`${file}.${process.pid}`, `${JSON.stringify({ ...(await kept()), [key]: times }, null, 2)}\n`);
    await rename(`${file}.${process.pid}`, file);
  } catch {}
}

/** Times programs in turns; gives the least of each. */
async function least(programs: readonly Program[]): Promise<number[]> {
  for (const program of programs) await program.prepare();
  const best = programs.map(() => Number.POSITIVE_INFINITY);
  for (let turn = 0; turn < turns; ++turn) {
    for (const [i, program] of programs.entries()) best[i] = Math.min(best[i], await program.time());
  }
  return best;
}

async function encoderLayer(device: Device, values: FloatingType, owned: { dispose(): void }[]): Promise<Program> {
  const own = <T extends { dispose(): void }>(one: T): T => {
    owned.push(one);
    return one;
  };
  const load = async (type: FloatingType, shape: number[]): Promise<Tensor> =>
    own(await device.load(type, shape, [{ elements: shape.reduce((a, b) => a * b) }]));
  const linear = async (from: number, to: number): Promise<LinearParameters> => ({
    weight: await load(values, [to, from]),
    bias: await load('float32', [to]),
  });
  const norm = { weight: await load('float32', [width]), bias: await load('float32', [width]) };
  const self = { norm, queryKeyValue: await linear(width, 3 * width), out: await linear(width, width) };
  const forward = { norm, up: await linear(width, 4 * width), down: await linear(4 * width, width) };
  const x = own(device.tensor('float32', [1, positions, width]));
  const layer = (ops: Operations) => {
    const parts = { values, activations: values };
    const mixed = encoderSelfAttention(ops, x, self, { heads, keyValueHeads: heads }, parts);
    encoderFeedForward(ops, mixed, forward, parts);
  };
  return own(device.record(`encoder layer, ${values}`, layer));
}

async function stepProduct(device: Device, values: FloatingType, owned: { dispose(): void }[]): Promise<Program> {
  // Written memory: pages that were never touched are one page, which no product reads as it reads weights.
  const weight = device.tensor(values, [outputs, inputs]);
  owned.push(weight);
  const rows = new Float32Array(inputs * 512).fill(0.5);
  for (let at = 0; at < weight.size; at += rows.length) await weight.write(rows, at);
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
    const [encoder, decoder] = [await least(layers), await least(steps)];
    return {
      encoder: { float32: encoder[0], bfloat16: encoder[1] },
      decoder: { float32: decoder[0], bfloat16: decoder[1] },
    };
  } finally {
    for (const one of owned) one.dispose();
  }
}

/**
 * float32 where it is as fast: it is the more exact. bfloat16 takes half the memory, so it stays where float32 gains
 * little.
 */
export function chosenTypes({ encoder, decoder }: TypeTimes): BestTypes {
  const choose = (times: TypeTimes['encoder'], gain: number): FloatingType =>
    times.float32 < gain * times.bfloat16 ? 'float32' : 'bfloat16';
  return { encoder: choose(encoder, 0.95), decoder: choose(decoder, 0.95) };
}

/** Measurements of this process: devices opened later with as many threads need not read the file. */
const known = new Map<string, Promise<TypeTimes>>();

/** A device's times: those that are kept, or else measured now, in some tens of milliseconds. */
export function typeTimes(device: Device, threads: number): Promise<TypeTimes> {
  const key = keyOf(threads);
  let times = known.get(key);
  if (!times) {
    times = (async () => {
      const found = (await kept())[key];
      if (found) return found;
      const measured = await measure(device);
      await keep(key, measured);
      return measured;
    })();
    known.set(key, times);
    times.catch(() => known.delete(key));
  }
  return times;
}
