/** int8 operands, and the error of results. */
import { devices } from './devices.js';
import { random } from './reference.js';

export type Floating = 'float32' | 'float16' | 'bfloat16';

/** Integers, and one scale for each row. */
export function quantizedRows(rows: number, columns: number, seed: number) {
  const data = Int8Array.from(random(rows * columns, seed), (value) => Math.round(127 * value));
  const scales = random(rows, seed + 1).map((value) => 0.01 + 0.005 * value);
  return { data, scales };
}

export const largest = (values: ArrayLike<number>): number =>
  Array.from(values).reduce((a, b) => Math.max(a, Math.abs(b)), 0);

/** The largest difference, relative to the largest number. */
export function difference(values: ArrayLike<number>, expected: ArrayLike<number>): number {
  let maxError = 0;
  for (let i = 0; i < expected.length; ++i) maxError = Math.max(maxError, Math.abs(values[i] - expected[i]) || 0);
  return Array.from(values).some(Number.isNaN) ? Number.NaN : maxError / largest(expected);
}

export const gpus = devices.filter(({ kind }) => kind.startsWith('cuda'));
