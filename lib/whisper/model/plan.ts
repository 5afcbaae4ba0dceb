/** The memory of a model on a device, and the number of windows and rows that fit. */
import type { Device } from '../../device/device.js';
import { type ComputeType, elementBytes } from '../../element-types.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import { checkpointSizes, checkpointTensors, type TensorPart, tensorPart } from '../checkpoint/weights.js';
import type { Precision } from './precision.js';
import { mostPatience, mostTop } from './search.js';
import { attentionBytes, type WordHeads } from './word-heads.js';

export interface Capacity {
  windows: number;
  rows: number;
}

/** Bytes of each part of a model's memory. */
export interface MemoryPlan {
  weights: number;
  /** Keys and values of the audio. */
  crossCache: number;
  selfCache: number;
  /** Attention to the audio that words are timed by. */
  alignment: number;
  /** Tokens, masks, beams and their like. */
  state: number;
  total: number;
}

/**
 * Windows that a GPU is given at most unless told otherwise: more hardly add speed, since then the cross-attention
 * caches are what is read.
 */
const mostWindows = 64;
/** The share of a GPU's free memory that is taken at most: temporaries, cuBLASLt and others need some. */
const shareTaken = 0.7;
const cpuCapacity: Capacity = { windows: 8, rows: 16 };
/** The emulated GPU is for tests, and clears all memory that it gives. */
const emulatedCapacity: Capacity = { windows: 2, rows: 5 };

/** The type of a part's tensors. */
export function typeOfPart(part: TensorPart, { encoder, decoder }: Precision): ComputeType {
  if (part === 'vector') return 'float32';
  if (part === 'convolution') return encoder.values;
  return part === 'encoder' ? encoder.weights : decoder.weights;
}

/** Bytes of the weights, where none is too sensitive for 8 bits. */
export function weightBytes(config: WhisperConfig, precision: Precision): number {
  return checkpointTensors(config).reduce((sum, specification) => {
    const type = typeOfPart(tensorPart(specification), precision);
    const elements = specification.shape.reduce((product, size) => product * size, 1);
    return sum + elements * elementBytes[type] + (type === 'int8' ? 4 * specification.shape[0] : 0);
  }, 0);
}

/** Bytes of an element of the caches, with its part of the scale that a head of a position has. */
export function cacheElementBytes({ width, decoder }: WhisperConfig, { cache }: Precision): number {
  return elementBytes[cache] + (cache === 'int8' ? (4 * decoder.heads) / width : 0);
}

/** Computes the model's own memory; the temporaries of its programs come on top. */
export function memoryPlan(
  config: WhisperConfig,
  words: WordHeads,
  precision: Precision,
  { windows, rows }: Capacity,
): MemoryPlan {
  const { targetPositions, vocabulary } = config;
  const sizes = checkpointSizes(config, cacheElementBytes(config, precision));
  const tops = 8 * Math.min(mostTop, vocabulary) * targetPositions;
  const beams = targetPositions * 4 * (3 + 3 * mostPatience);
  const plan = {
    weights: weightBytes(config, precision),
    crossCache: windows * sizes.crossCacheBytes,
    selfCache: rows * sizes.selfCacheBytes,
    alignment: rows * attentionBytes(config, words),
    state: rows * (tops + beams + 5 * vocabulary),
  };
  return { ...plan, total: Object.values(plan).reduce((sum, bytes) => sum + bytes, 0) };
}

/** The counts that were asked for, or else those that a CPU is given. */
export function cpuCapacityFor(wanted: Partial<Capacity>, usual = cpuCapacity): Capacity {
  const windows = wanted.windows ?? Math.min(usual.windows, wanted.rows ?? usual.windows);
  return { windows, rows: wanted.rows ?? Math.max(usual.rows, windows) };
}

/** The counts that were asked for, or else what fits into a GPU's free memory. */
export function chooseCapacity(
  config: WhisperConfig,
  words: WordHeads,
  precision: Precision,
  wanted: Partial<Capacity>,
  device: Device,
): Capacity {
  const free = device.memory().available;
  if (free === undefined || device.kind.startsWith('cuda-emulated')) {
    return cpuCapacityFor(wanted, free === undefined ? cpuCapacity : emulatedCapacity);
  }
  const fits = (windows: number) => {
    const rows = wanted.rows ?? 2 * windows;
    return memoryPlan(config, words, precision, { windows, rows }).total <= shareTaken * free;
  };
  let windows = wanted.windows ?? mostWindows;
  while (wanted.windows === undefined && windows > 1 && !fits(windows)) windows -= 1;
  return { windows, rows: wanted.rows ?? 2 * windows };
}
