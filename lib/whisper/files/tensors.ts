/** The positions of a checkpoint's tensors, whichever file holds them. */
import { type FloatingType, floatingTypes } from '../../element-types.js';

/** The position of a tensor in a file. Offsets and sizes are in bytes. */
export interface TensorEntry {
  file: string;
  offset: number;
  bytes: number;
  /** A type that can be loaded (`isLoaded`), or the file's name of another type. */
  dtype: string;
  shape: number[];
  /**
   * Scales of int8 and int16: one for each `each` consecutive elements. Integers are divided by their scale, or
   * multiplied if `factor` is true.
   */
  scales?: { offset: number; dtype: string; each: number; factor?: boolean };
}

export type TensorIndex = Map<string, TensorEntry>;

/** Quantized types by their names in native code: elements and bytes of a block. */
export const encodings: ReadonlyMap<string, { elements: number; bytes: number }> = new Map([
  ['int8', { elements: 1, bytes: 1 }],
  ['int16', { elements: 1, bytes: 2 }],
  ['q4_0', { elements: 32, bytes: 18 }],
  ['q4_1', { elements: 32, bytes: 20 }],
  ['q5_0', { elements: 32, bytes: 22 }],
  ['q5_1', { elements: 32, bytes: 24 }],
  ['q8_0', { elements: 32, bytes: 34 }],
  ['q2_k', { elements: 256, bytes: 84 }],
  ['q3_k', { elements: 256, bytes: 110 }],
  ['q4_k', { elements: 256, bytes: 144 }],
  ['q5_k', { elements: 256, bytes: 176 }],
  ['q6_k', { elements: 256, bytes: 210 }],
]);

export function isPlain(dtype: string): dtype is FloatingType {
  return (floatingTypes as readonly string[]).includes(dtype);
}

/** True for types that a device can load. */
export function isLoaded(dtype: string): boolean {
  return isPlain(dtype) || encodings.has(dtype);
}

/** Limit of a file's tensors; models have far fewer. */
export const maximumTensors = 1 << 16;

/** The number of elements of a shape, or null if it is greater than a file can hold. */
export function elementsOf(shape: readonly number[]): number | null {
  const count = shape.reduce((product, size) => product * size, 1);
  return Number.isSafeInteger(count) && count <= 2 ** 40 ? count : null;
}
