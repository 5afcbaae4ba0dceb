/** Frees memory before garbage collection. */
import { native, type TensorData } from './native.js';

/**
 * Frees the memory of an array that nobody else uses. It has no elements then. Memory of arrays counts towards the size
 * at which V8 collects the whole heap, so without this the samples of a few dozen short recordings cause a collection,
 * and a pause. An array that is only a part of its buffer is left as it is.
 */
export function freeArray(array: TensorData): void {
  if (array.byteLength === array.buffer.byteLength) native().detach?.(array);
}
