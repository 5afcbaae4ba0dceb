/** Writes and reads of several tensors in one job. */
import type { NativeRead, NativeWrite, TensorData } from './native.js';
import type { Tensor } from './tensor.js';

/** Elements to write and to read, beginning at element `first` (0 by default); reads are of all others by default. */
export interface TransferPieces {
  writes?: readonly (readonly [tensor: Tensor, data: TensorData, first?: number])[];
  reads?: readonly (readonly [tensor: Tensor, first?: number, count?: number])[];
}

/** Elements that were read. Floating types are converted to float32. */
export type ReadData = Float32Array | Int32Array | Uint8Array;

/** Converts writes and reads to the arguments of the addon. */
export function nativePieces({ writes = [], reads = [] }: TransferPieces): {
  writes: NativeWrite[];
  reads: NativeRead[];
} {
  return {
    writes: writes.map(([tensor, data, first = 0]) => [tensor.native, data, first]),
    reads: reads.map(([tensor, first = 0, count = tensor.size - first]) => [tensor.native, first, count]),
  };
}
