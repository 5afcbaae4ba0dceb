/** Sizes of parameters and caches, and floors from a device's measured ceilings. */
import { listOf, refuse, requireObject } from '../../checks.js';
import { elementBytes } from '../../element-types.js';
import type { WhisperConfig } from '../../whisper/checkpoint/config.js';
import { checkpointSizes } from '../../whisper/checkpoint/weights.js';
import type { Precision } from '../../whisper/model/precision.js';
import { requireConfig, requireDecoder, requireNumbers, requireStorage } from './arguments.js';
import type { DecoderShape, OperationCost, Storage } from './model.js';

export interface ParameterCounts {
  /** Weights and biases of attention. */
  attention: number;
  feedForward: number;
  norms: number;
  /** Token and position embeddings. */
  embeddings: number;
  total: number;
}

/**
 * Parameters of a decoder-only model like GPT-2: tied embeddings, biases everywhere, a norm before each attention and
 * feed-forward layer and one at the end. `positions`: the number of learned position embeddings; 0 with rotary ones.
 */
export function decoderOnlyParameters(shape: DecoderShape & { positions?: number }): ParameterCounts {
  requireDecoder(shape);
  const { layers, width, heads, keyValueHeads, feedForward, vocabulary, positions = 0 } = shape;
  if (!Number.isFinite(positions)) refuse('shape.positions', 'a number', positions);
  const shared = (keyValueHeads * width) / heads;
  const attention = layers * (2 * (width + 1) * width + 2 * (width + 1) * shared);
  const inner = layers * ((width + 1) * feedForward + (feedForward + 1) * width);
  const norms = 2 * width * (2 * layers + 1);
  const embeddings = (vocabulary + positions) * width;
  return { attention, feedForward: inner, norms, embeddings, total: attention + inner + norms + embeddings };
}

/** Numbers of a Whisper model's parameters; `embedding` is also included in `decoder`. */
export function parameters(config: WhisperConfig) {
  requireConfig(config);
  const { encoder, decoder, embedding, total } = checkpointSizes(config, 2);
  return { encoder, decoder, embedding, total };
}

/** Bytes of the caches of a batch: of self-attention at full length, and of cross-attention. */
export function caches(config: WhisperConfig, options: { batch?: number; bytesPerElement?: number } = {}) {
  requireConfig(config);
  const { batch = 1, bytesPerElement = 2 } = { ...options };
  requireStorage({ batch, bytesPerElement });
  const { selfCacheBytes, crossCacheBytes } = checkpointSizes(config, bytesPerElement);
  return { selfBytes: batch * selfCacheBytes, crossBytes: batch * crossCacheBytes };
}

/** The bytes of each kind of element in a part of the model, for these types. */
export function storageOf(precision: Precision, batch: number, part: 'encoder' | 'decoder' = 'decoder'): Storage {
  requireObject('precision', precision);
  requireObject('precision.encoder', precision.encoder);
  requireObject('precision.decoder', precision.decoder);
  const { encoder, decoder, cache } = precision;
  const { weights, values } = part === 'encoder' ? encoder : decoder;
  return {
    batch,
    bytesPerElement: elementBytes[values],
    bytesPerWeight: elementBytes[weights],
    bytesPerWeightScale: weights === 'int8' ? 4 : 0,
    bytesPerCached: elementBytes[cache],
    bytesPerCacheScale: cache === 'int8' ? 4 : 0,
  };
}

/** The measured limits of a device. */
export interface Ceilings {
  bytesPerSecond: number;
  /** The rate of matrix products; a multiply-add counts as two operations. */
  operationsPerSecond: number;
}

export interface Floor {
  microseconds: number;
  bound: 'memory' | 'arithmetic';
}

/** Bytes that must be read from or written to memory; activations are excluded, since they may stay in caches. */
export function memoryBytes(cost: OperationCost): number {
  requireNumbers('cost', cost, ['parameterBytes', 'cacheBytesRead', 'cacheBytesWritten']);
  return cost.parameterBytes + cost.cacheBytesRead + cost.cacheBytesWritten;
}

/**
 * The least time of one operation: that of its bytes at the device's bandwidth or of its arithmetic at the multiply
 * rate, whichever is longer. `activations`: also counts activations, for tensors larger than the processor's caches.
 */
export function floor(cost: OperationCost, ceilings: Ceilings, options: { activations?: boolean } = {}): Floor {
  requireNumbers('cost', cost, ['activationBytes', 'operations']);
  requireNumbers('ceilings', ceilings, ['bytesPerSecond', 'operationsPerSecond']);
  const { activations = false } = { ...options };
  const bytes = memoryBytes(cost) + (activations ? cost.activationBytes : 0);
  const memory = (1e6 * bytes) / ceilings.bytesPerSecond;
  const arithmetic = (1e6 * cost.operations) / ceilings.operationsPerSecond;
  return memory >= arithmetic
    ? { microseconds: memory, bound: 'memory' }
    : { microseconds: arithmetic, bound: 'arithmetic' };
}

/** The floor of operations that run in sequence, in microseconds. */
export function floorOf(costs: readonly OperationCost[], ceilings: Ceilings, options?: { activations?: boolean }) {
  listOf('costs', costs);
  return costs.reduce((sum, cost) => sum + floor(cost, ceilings, options).microseconds, 0);
}
