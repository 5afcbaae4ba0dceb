/** Small pieces of memory that are written and read in one piece of work. */
import type { NativeRead, NativeWrite, TensorData } from './native.js';
import type { Tensor } from './tensor.js';

/** Elements to write and to read: those of a tensor from `at` on, all unless given. */
export interface TransferPieces {
  writes?: readonly (readonly [tensor: Tensor, data: TensorData, at?: number])[];
  reads?: readonly (readonly [tensor: Tensor, at?: number, count?: number])[];
}

/** Elements that were read; floating ones as float32. */
export type ReadData = Float32Array | Int32Array | Uint8Array;

/** The same for the addon. */
export function nativePieces({ writes = [], reads = [] }: TransferPieces): {
  writes: NativeWrite[];
  reads: NativeRead[];
} {
  return {
    writes: writes.map(([tensor, data, at = 0]) => [tensor.native, data, at]),
    reads: reads.map(([tensor, at = 0, count = tensor.size - at]) => [tensor.native, at, count]),
  };
}
