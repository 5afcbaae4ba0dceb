/** Features and encoder output as tensors of the caller, for direct use of the model's stages. */
import type { Device } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import { handled } from './handled.js';
import type { RuntimeParts, RuntimePrograms } from './programs.js';

/** Runs the jobs of each index, one index after another, which fill `result`. Disposes of it if a job fails. */
async function filled(result: Tensor, count: number, jobs: (index: number) => Promise<unknown>[]): Promise<Tensor> {
  try {
    for (let index = 0; index < count; ++index) await Promise.all(jobs(index));
    return result;
  } catch (error) {
    result.dispose();
    throw error;
  }
}

/**
 * Features of windows: float32 [windows, mels, frames]. `samplesOf` returns the `windowSamples` samples of a window; it
 * is called after the previous window is done. The caller disposes of the features.
 */
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
    handled(
      device.transfer({
        writes: [
          [samples, samplesOf(index)],
          [peaks, Float32Array.of(Number.NEGATIVE_INFINITY)],
        ],
      }),
    ),
    handled(program.run({ signal })),
    device.copy(features, result, { toElement: index * features.size, count: features.size }),
  ]);
}

/**
 * The encoder's output for features [windows, mels, frames]: [windows, positions, width] in the type of the encoder's
 * values. The caller disposes of it.
 */
export async function encodedOf(
  { device, checkpoint, precision, encodeBatch }: RuntimeParts,
  programs: RuntimePrograms,
  input: Tensor,
  signal?: AbortSignal,
): Promise<Tensor> {
  const [count, ...shape] = input.shape;
  const { sourcePositions, width } = checkpoint.config;
  const result = device.tensor(precision.encoder.values, [count, sourcePositions, width]);
  const featuresSize = shape.reduce((product, size) => product * size, 1);
  const encodedSize = sourcePositions * width;
  // Batches are powers of two, so that few programs are recorded.
  const batches: { begin: number; size: number }[] = [];
  for (let begin = 0; begin < count; begin += batches.at(-1)!.size) {
    batches.push({ begin, size: 2 ** Math.floor(Math.log2(Math.min(encodeBatch, count - begin))) });
  }
  return filled(result, batches.length, (index) => {
    const { begin, size } = batches[index];
    const { features, encoded, program } = programs.encoder(size);
    return [
      handled(device.copy(input, features, { fromElement: begin * featuresSize, count: features.size })),
      handled(program.run({ signal })),
      device.copy(encoded, result, { toElement: begin * encodedSize, count: encoded.size }),
    ];
  });
}
