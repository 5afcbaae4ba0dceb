/** Writes and reads of several tensors in one job. */
import { listOf, requireMemory } from '../checks.js';
import { nativeTensor, optionsOf } from './arguments.js';
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
export function nativePieces(pieces: TransferPieces): { writes: NativeWrite[]; reads: NativeRead[] } {
  const { writes = [], reads = [] } = optionsOf('the pieces', pieces);
  return {
    writes: listOf('writes', writes).map((write) => {
      const [tensor, data, first = 0] = listOf('an element of writes', write) as typeof write;
      if (ArrayBuffer.isView(data)) requireMemory('the data of a write', data);
      return [nativeTensor('the tensor of a write', tensor), data, first];
    }),
    reads: listOf('reads', reads).map((read) => {
      const [tensor, first = 0, count] = listOf('an element of reads', read) as typeof read;
      const native = nativeTensor('the tensor of a read', tensor);
      return [native, first, count ?? tensor.size - first];
    }),
  };
}
