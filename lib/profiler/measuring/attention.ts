/** One attention call on plain arrays: its output, and how long it takes. */
import { Device } from '../../device/device.js';
import type { AttentionAlgorithm } from '../../device/operations.js';
import type { OperationTime } from '../../device/program.js';
import type { FloatingType } from '../../element-types.js';
import { OneheadError } from '../../errors.js';
import { type Statistics, statistics } from './statistics.js';

export interface AttentionCall {
  /** [batch, queries, heads * headSize]; [queries, batch, ...] for 'multi-query'. */
  query: Float32Array;
  /** [batch, keys, keyValueHeads * headSize]; [keys, batch, ...] for 'multi-query'. */
  key: Float32Array;
  value: Float32Array;
  batch?: number;
  heads: number;
  keyValueHeads?: number;
  headSize: number;
  causal?: boolean;
  /** Scale of the products; 1 / sqrt(headSize) by default. */
  scale?: number;
  algorithm?: AttentionAlgorithm;
  /** 'auto' (the default: a GPU that can be used, else the CPU), 'cpu', 'cuda' or 'cuda:N'. */
  device?: string;
  dtype?: FloatingType;
  threads?: number;
  /** Timed calls, after one to warm up. */
  repeats?: number;
}

export interface AttentionMeasurement {
  /** In query's shape. */
  output: Float32Array;
  /** Microseconds of a call. */
  time: Statistics;
  /** Stages of one call, if the device tells the algorithm's stages apart. */
  stages: NonNullable<OperationTime['parts']>;
}

function positions(name: string, length: number, row: number): number {
  const count = length / row;
  if (Number.isSafeInteger(count) && count > 0) return count;
  throw new OneheadError(
    'INVALID_SHAPE',
    `Expected ${name} to hold whole positions of ${row} numbers (batch x heads x head size) but received ${length} numbers.`,
    { argument: name, expected: `a multiple of ${row}`, received: String(length) },
  );
}

/** Throws OneheadError INVALID_SHAPE, INVALID_ARGUMENT, NOT_SUPPORTED with the reasons, DEVICE_UNAVAILABLE. */
export async function attention({
  query,
  key,
  value,
  batch = 1,
  heads,
  keyValueHeads = heads,
  headSize,
  causal = false,
  scale,
  algorithm = 'auto',
  device: kind = 'auto',
  dtype = 'float32',
  threads,
  repeats = 5,
}: AttentionCall): Promise<AttentionMeasurement> {
  if (!Number.isSafeInteger(repeats) || repeats < 1) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected repeats to be a whole number of at least 1 but received ${repeats}.`,
    );
  }
  const [width, shared] = [heads * headSize, keyValueHeads * headSize];
  const queries = positions('query', query.length, batch * width);
  const keys = positions('key', key.length, batch * shared);
  if (value.length !== key.length) {
    throw new OneheadError(
      'INVALID_SHAPE',
      `Expected value to hold as many numbers as key (${key.length}) but received ${value.length}.`,
      { argument: 'value', expected: String(key.length), received: String(value.length) },
    );
  }
  const shape = (length: number, size: number) =>
    algorithm === 'multi-query' ? [length, batch, size] : [batch, length, size];
  using device = new Device(kind, { threads });
  const q = device.tensor(dtype, shape(queries, width), query);
  const k = device.tensor(dtype, shape(keys, shared), key);
  const v = device.tensor(dtype, shape(keys, shared), value);
  const output = device.tensor(dtype, shape(queries, width));
  using program = device.record('attention', (ops) => {
    ops.attention(q, k, v, { heads, keyValueHeads, causal, scale, algorithm, output });
  });
  await program.run();
  const samples: number[] = [];
  for (let i = 0; i < repeats; ++i) samples.push(await program.time());
  const [{ parts = [] }] = await program.trace();
  return { output: await output.toFloat32Array(), time: statistics(samples), stages: parts };
}
