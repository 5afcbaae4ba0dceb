/**
 * A pool of sample arrays. Garbage collection of the arrays of many short recordings would be late and cause long
 * pauses. Lengths are powers of two up to a minute, and whole minutes above that, which are not kept.
 */

/** The logarithm of the minimum length, which is four seconds. */
const minimumPower = 16;
/** The step of longer lengths, about a minute. */
export const longStep = 1 << 20;
/** Bytes of unused arrays that are kept. */
const keptBytes = 1 << 25;

/** Unused arrays, by the logarithm of their length. */
const unused: Float32Array[][] = [];
let unusedBytes = 0;

/** Returns an array of at least `length`. Its contents are undefined. */
export function takeArray(length: number): Float32Array {
  if (length > longStep) return new Float32Array(Math.ceil(length / longStep) * longStep);
  const power = Math.max(minimumPower, Math.ceil(Math.log2(length)));
  const array = unused[power]?.pop();
  if (!array) return new Float32Array(2 ** power);
  unusedBytes -= array.byteLength;
  return array;
}

/** Returns an unused array of `takeArray` to the pool. */
export function giveArray(array: Float32Array): void {
  if (array.length > longStep || unusedBytes + array.byteLength > keptBytes) return;
  unusedBytes += array.byteLength;
  const power = Math.log2(array.length);
  unused[power] ??= [];
  unused[power].push(array);
}
