/** What a device can do at most, measured with its own operations: the roof of the roofline. */
import type { Device } from '../../device/device.js';
import type { Program } from '../../device/program.js';
import type { FloatingType } from '../../element-types.js';
import type { Ceilings } from '../io-model/index.js';
import { RandomWeights } from './random-weights.js';

/**
 * Bytes to stream, beyond any cache; and the width of square products. An emulated device is for tests and gets crumbs.
 */
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
 * The higher of a streaming read's (a product with one row) and a copy's bytes a second, and the rate of a large square
 * product. The best of seven, since ceilings are asked for.
 */
export async function measureCeilings(device: Device, dtype: FloatingType): Promise<Ceilings> {
  const { bytes, width } = sizes(device.kind);
  const element = dtype === 'float32' ? 4 : 2;
  const inputs = Math.min(width, 2048);
  const outputs = bytes / element / inputs;
  const weights = await RandomWeights.create(Math.max(inputs * outputs, width * width));
  try {
    const table = await weights.load(device, dtype, [outputs, inputs]);
    const square = await weights.load(device, dtype, [width, width]);
    const row = device.tensor('float32', [1, inputs]);
    const matrix = device.tensor(dtype, [width, width]);
    const [from, to] = [0, 1].map(() => device.tensor(dtype, [outputs / 2, inputs]));
    using read = device.record('read', (ops) => void ops.linear(row, table));
    using copy = device.record('copy', (ops) => void ops.copy(from, { output: to }));
    using product = device.record('product', (ops) => void ops.linear(matrix, square));
    // Half of the bytes are read and as many written.
    const ceilings = {
      bytesPerSecond: bytes / Math.min(await fastest(read), await fastest(copy)),
      operationsPerSecond: (2 * width ** 3) / (await fastest(product)),
    };
    for (const tensor of [table, square, row, matrix, from, to]) tensor.dispose();
    return ceilings;
  } finally {
    await weights.dispose();
  }
}
