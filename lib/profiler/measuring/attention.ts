/** Measures one attention call on plain arrays. */
import { countOf, refuse, requireMemory, requireObject } from '../../checks.js';
import { Device } from '../../device/device.js';
import type { AttentionAlgorithm } from '../../device/operations.js';
import type { OperationTime } from '../../device/program.js';
import { type FloatingType, floatingTypes } from '../../element-types.js';
import { quoted } from '../../options/kinds.js';
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
  /** Query i sees keys 0 to i only; there must be at least as many keys as queries. */
  causal?: boolean;
  /** Factor of the scores, above 0; 1 / sqrt(headSize) by default. */
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

/** Throws OneheadError INVALID_ARGUMENT for values that the device would not refuse, or not clearly. */
function checkCall({ query, key, value, scale, causal, dtype, ...numbers }: AttentionCall): void {
  for (const [name, array] of Object.entries({ query, key, value })) {
    if (!(array instanceof Float32Array)) refuse(name, 'a Float32Array', array);
    requireMemory(name, array);
  }
  for (const name of ['batch', 'heads', 'keyValueHeads', 'headSize', 'repeats'] as const) {
    if (numbers[name] !== undefined || name === 'heads' || name === 'headSize') countOf(name, numbers[name]);
  }
  // A score that is masked would become NaN.
  if (scale !== undefined && !(Number.isFinite(scale) && scale > 0)) refuse('scale', 'a number above 0', scale);
  if (causal !== undefined && typeof causal !== 'boolean') refuse('causal', 'a boolean', causal);
  if (dtype !== undefined && !floatingTypes.includes(dtype)) refuse('dtype', quoted(floatingTypes), dtype);
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
export async function attention(call: AttentionCall): Promise<AttentionMeasurement> {
  requireObject('the call', call);
  checkCall(call);
  const { query, key, value, heads, headSize, scale, threads } = call;
  const { batch = 1, keyValueHeads = heads, causal = false, algorithm = 'auto', repeats = 5 } = call;
  const { device: kind = 'auto', dtype = 'float32' } = call;
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
