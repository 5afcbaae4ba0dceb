/** Plans the memory of a model on a device, and chooses the number of windows and rows. */
import type { Device } from '../../device/device.js';
import { type ComputeType, elementBytes } from '../../element-types.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import { checkpointSizes, checkpointTensors, type TensorPart, tensorPart } from '../checkpoint/weights.js';
import type { Precision } from './precision.js';
import { maximumPatience, maximumTop } from './search.js';
import { attentionBytes, type WordHeads } from './word-heads.js';

/** The options `windows` and `rows` of a model. */
export interface Capacity {
  windows: number;
  rows: number;
}

/** Bytes of each part of a model's memory. */
export interface MemoryPlan {
  weights: number;
  /** Keys and values of cross-attention. */
  crossCache: number;
  /** Keys and values of self-attention. */
  selfCache: number;
  /** Cross-attention scores or weights for word times. */
  alignment: number;
  /** Tokens, logits, log-probabilities, suppression masks, beams. */
  state: number;
  total: number;
}

/**
 * The default limit of windows on a GPU. More windows hardly increase the throughput, since reading their
 * cross-attention caches dominates a step.
 */
const maximumGpuWindows = 64;
/** The share of a GPU's free memory that a model may use. The rest is for temporaries, cuBLASLt and other programs. */
const usableShare = 0.7;
const cpuCapacity: Capacity = { windows: 8, rows: 16 };
/** Small, since the emulated GPU is for tests and clears all memory that it allocates. */
const emulatedCapacity: Capacity = { windows: 2, rows: 5 };

/** The type in which tensors of a part are stored. */
function typeOfPart(part: TensorPart, { encoder, decoder }: Precision): ComputeType {
  if (part === 'vector') return 'float32';
  if (part === 'convolution') return encoder.values;
  return part === 'encoder' ? encoder.weights : decoder.weights;
}

/** Bytes of the weights, if none is too sensitive for 8 bits. */
export function weightBytes(config: WhisperConfig, precision: Precision): number {
  return checkpointTensors(config).reduce((sum, specification) => {
    const type = typeOfPart(tensorPart(specification), precision);
    const elements = specification.shape.reduce((product, size) => product * size, 1);
    return sum + elements * elementBytes[type] + (type === 'int8' ? 4 * specification.shape[0] : 0);
  }, 0);
}

/** Bytes of one element of the caches, including its share of the scale that 8-bit heads have. */
export function cacheElementBytes({ width, decoder }: WhisperConfig, { cache }: Precision): number {
  return elementBytes[cache] + (cache === 'int8' ? (4 * decoder.heads) / width : 0);
}

/** Computes the memory of a model without the temporaries of its programs. */
export function memoryPlan(
  config: WhisperConfig,
  words: WordHeads,
  precision: Precision,
  { windows, rows }: Capacity,
): MemoryPlan {
  const { targetPositions, vocabulary } = config;
  const sizes = checkpointSizes(config, cacheElementBytes(config, precision));
  const topTokens = 8 * Math.min(maximumTop, vocabulary) * targetPositions;
  const beams = targetPositions * 4 * (3 + 3 * maximumPatience);
  const plan = {
    weights: weightBytes(config, precision),
    crossCache: windows * sizes.crossCacheBytes,
    selfCache: rows * sizes.selfCacheBytes,
    alignment: rows * attentionBytes(config, words),
    state: rows * (topTokens + beams + 5 * vocabulary),
  };
  return { ...plan, total: Object.values(plan).reduce((sum, bytes) => sum + bytes, 0) };
}

/** The requested capacity, completed by the defaults of a CPU. */
export function cpuCapacityFor(requested: Partial<Capacity>, defaults = cpuCapacity): Capacity {
  const windows = requested.windows ?? Math.min(defaults.windows, requested.rows ?? defaults.windows);
  return { windows, rows: requested.rows ?? Math.max(defaults.rows, windows) };
}

/** The requested capacity, completed by the defaults of a CPU or by what fits into a GPU's free memory. */
export function chooseCapacity(
  config: WhisperConfig,
  words: WordHeads,
  precision: Precision,
  requested: Partial<Capacity>,
  device: Device,
): Capacity {
  const free = device.memory().available;
  if (free === undefined || device.kind.startsWith('cuda-emulated')) {
    return cpuCapacityFor(requested, free === undefined ? cpuCapacity : emulatedCapacity);
  }
  const fits = (windows: number) => {
    const rows = requested.rows ?? 2 * windows;
    return memoryPlan(config, words, precision, { windows, rows }).total <= usableShare * free;
  };
  let windows = requested.windows ?? maximumGpuWindows;
  while (requested.windows === undefined && windows > 1 && !fits(windows)) windows -= 1;
  return { windows, rows: requested.rows ?? 2 * windows };
}
