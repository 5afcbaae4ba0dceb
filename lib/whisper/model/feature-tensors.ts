/** Features and encoder output as tensors of the caller, for those who use the model's stages by themselves. */
import type { Device } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import type { RuntimeParts, RuntimePrograms } from './programs.js';

/** Submits the jobs of each index in turn, which fill `result`. Disposes it if one fails. */
async function filled(result: Tensor, count: number, work: (index: number) => Promise<unknown>[]): Promise<Tensor> {
  try {
    for (let index = 0; index < count; ++index) await Promise.all(work(index));
    return result;
  } catch (error) {
    result.dispose();
    throw error;
  }
}

/** Features of windows: float32 [windows, mels, frames]. `samplesOf` is asked for a window's `windowSamples` samples
 * when the window before it is done. */
export async function featuresOf(
  device: Device,
  programs: RuntimePrograms,
  windows: number,
  samplesOf: (index: number) => Float32Array,
  signal?: AbortSignal,
): Promise<Tensor> {
  const { samples, peaks, features, program } = programs.features();
  const result = device.tensor('float32', [windows, ...features.shape.slice(1)]);
  return filled(result, windows, (index) => [
    device.transfer({
      writes: [
        [samples, samplesOf(index)],
        [peaks, Float32Array.of(Number.NEGATIVE_INFINITY)],
      ],
    }),
    program.run({ signal }),
    device.copy(features, result, { toElement: index * features.size, count: features.size }),
  ]);
}

/** The encoder's output for features [windows, mels, frames]: [windows, positions, width]. */
export async function encodedOf(
  { device, checkpoint, precision, encodeBatch }: RuntimeParts,
  programs: RuntimePrograms,
  given: Tensor,
  signal?: AbortSignal,
): Promise<Tensor> {
  const [count, ...shape] = given.shape;
  const { sourcePositions, width } = checkpoint.config;
  const result = device.tensor(precision.encoder.values, [count, sourcePositions, width]);
  const featuresOfOne = shape.reduce((product, size) => product * size, 1);
  const encodedOfOne = sourcePositions * width;
  // In batches that programs exist for.
  const batches: { begin: number; size: number }[] = [];
  for (let begin = 0; begin < count; begin += batches.at(-1)!.size) {
    batches.push({ begin, size: 2 ** Math.floor(Math.log2(Math.min(encodeBatch, count - begin))) });
  }
  return filled(result, batches.length, (index) => {
    const { begin, size } = batches[index];
    const { features, encoded, program } = programs.encoder(size);
    return [
      device.copy(given, features, { fromElement: begin * featuresOfOne, count: features.size }),
      program.run({ signal }),
      device.copy(encoded, result, { toElement: begin * encodedOfOne, count: encoded.size }),
    ];
  });
}
