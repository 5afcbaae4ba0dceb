/** Measures one attention call on plain arrays. */
import { countOf, refuse } from '../../checks.js';
import { Device } from '../../device/device.js';
import type { AttentionAlgorithm } from '../../device/operations.js';
import type { OperationTime } from '../../device/program.js';
import type { FloatingType } from '../../element-types.js';
import { type Statistics, statistics } from './statistics.js';

export interface AttentionCall {
  /** [batch, queries, heads * headSize]; [queries, batch, ...] for 'multi-query'. */
  query: Float32Array;
  /** [batch, keys, keyValueHeads * headSize]; [keys, batch, ...] for 'multi-query'. */
  key: Float32Array;
  /** As `key`. */
  value: Float32Array;
  batch?: number;
  heads: number;
  keyValueHeads?: number;
  headSize: number;
  causal?: boolean;
  /** Factor of the scores; 1 / sqrt(headSize) by default. */
  scale?: number;
  algorithm?: AttentionAlgorithm;
  /** 'auto' (the default: a usable GPU, otherwise the CPU), 'cpu', 'cuda' or 'cuda:N'. */
  device?: string;
  dtype?: FloatingType;
  threads?: number;
  /** Timed calls, after one warm-up call. */
  repeats?: number;
}

export interface AttentionMeasurement {
  /** Of the shape of `query`. */
  output: Float32Array;
  /** Microseconds per call. */
  time: Statistics;
  /** Stages of one call; empty if the device does not time the algorithm's stages separately. */
  stages: NonNullable<OperationTime['parts']>;
}

/** The number of positions in an array of `length` numbers. */
function positions(name: string, length: number, row: number): number {
  const count = length / row;
  if (Number.isSafeInteger(count) && count > 0) return count;
  refuse(`${name}.length`, `a multiple of ${row} (batch x heads x head size)`, length, { code: 'INVALID_SHAPE' });
}

/**
 * Computes attention and measures its time. Throws OneheadError INVALID_SHAPE, INVALID_ARGUMENT, NOT_SUPPORTED with
 * reasons, DEVICE_UNAVAILABLE.
 */
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
  countOf('repeats', repeats);
  const [width, shared] = [heads * headSize, keyValueHeads * headSize];
  const queries = positions('query', query.length, batch * width);
  const keys = positions('key', key.length, batch * shared);
  if (value.length !== key.length) {
    refuse('value.length', `that of key (${key.length})`, value.length, { code: 'INVALID_SHAPE' });
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
