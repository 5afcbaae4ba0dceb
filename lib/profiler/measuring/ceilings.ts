/** Measures a device's ceilings for the roofline: its memory bandwidth and multiply rate. */
import type { Device } from '../../device/device.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import { elementBytes, type FloatingType } from '../../element-types.js';
import type { Ceilings } from '../io-model/index.js';
import { RandomWeights, randomNumbers } from './random-weights.js';

const numbers = randomNumbers(1 << 16);

/** Bytes to stream, more than caches hold, and the width of square products; small on an emulated device, for tests. */
function sizes(kind: string): { bytes: number; width: number } {
  if (kind === 'cuda-emulated') return { bytes: 1 << 16, width: 64 };
  return kind.startsWith('cuda') ? { bytes: 1 << 30, width: 8192 } : { bytes: 1 << 28, width: 2048 };
}

async function fastest(program: Program, repeats = 7): Promise<number> {
  await program.time();
  let best = Number.POSITIVE_INFINITY;
  for (let i = 0; i < repeats; ++i) best = Math.min(best, await program.time());
  return best / 1e6;
}

/**
 * A streaming read (a product with one row), which can be timed repeatedly: other processes and virtual machines that
 * share the memory change its speed.
 */
export class StreamingRead {
  readonly #tensors: readonly Tensor[];
  readonly #program: Program;
  readonly #bytes: number;

  private constructor(device: Device, table: Tensor, bytes: number) {
    const row = device.tensor('float32', [1, table.shape[1]]);
    this.#tensors = [table, row];
    this.#program = device.record('read', (ops) => void ops.linear(row, table));
    this.#bytes = bytes;
  }

  /** @param bytes More than caches hold by default. */
  static async create(
    device: Device,
    dtype: FloatingType,
    weights: RandomWeights,
    bytes: number = sizes(device.kind).bytes,
  ): Promise<StreamingRead> {
    const { inputs, outputs } = StreamingRead.shape(device.kind, dtype, bytes);
    return new StreamingRead(device, await weights.load(device, dtype, [outputs, inputs]), bytes);
  }

  /** The shape of the table that is read, [outputs, inputs]. */
  static shape(kind: string, dtype: FloatingType, bytes: number = sizes(kind).bytes) {
    const inputs = Math.min(sizes(kind).width, 2048);
    return { inputs, outputs: bytes / elementBytes[dtype] / inputs };
  }

  /** Microseconds of one read. */
  time(): Promise<number> {
    return this.#program.time();
  }

  /** Bytes per second, the best of seven reads. */
  async bytesPerSecond(): Promise<number> {
    return this.#bytes / (await fastest(this.#program));
  }

  /** Bytes per second of a read that took this many microseconds. */
  rate(microseconds: number): number {
    return (1e6 * this.#bytes) / microseconds;
  }

  dispose(): void {
    this.#program.dispose();
    for (const tensor of this.#tensors) tensor.dispose();
  }
}

/**
 * Measures bytes per second, the higher of a streaming read and a copy, and operations per second of a large square
 * product; each the best of seven.
 */
export async function measureCeilings(device: Device, dtype: FloatingType): Promise<Ceilings> {
  const { width } = sizes(device.kind);
  const { inputs, outputs } = StreamingRead.shape(device.kind, dtype);
  const weights = await RandomWeights.create(Math.max(inputs * outputs, width * width));
  try {
    const read = await StreamingRead.create(device, dtype, weights);
    const square = await weights.load(device, dtype, [width, width]);
    const matrix = device.tensor(dtype, [width, width]);
    // Zeros would multiply faster than other numbers.
    for (let at = 0; at < matrix.size; at += numbers.length) {
      await matrix.write(numbers.subarray(0, Math.min(numbers.length, matrix.size - at)), at);
    }
    const [from, to] = [0, 1].map(() => device.tensor(dtype, [outputs / 2, inputs]));
    using copy = device.record('copy', (ops) => void ops.copy(from, { output: to }));
    using product = device.record('product', (ops) => void ops.linear(matrix, square));
    // Half of the bytes are read, and the same number written.
    const copied = (outputs * inputs * elementBytes[dtype]) / (await fastest(copy));
    const ceilings = {
      bytesPerSecond: Math.max(await read.bytesPerSecond(), copied),
      operationsPerSecond: (2 * width ** 3) / (await fastest(product)),
    };
    read.dispose();
    for (const tensor of [square, matrix, from, to]) tensor.dispose();
    return ceilings;
  } finally {
    await weights.dispose();
  }
}
