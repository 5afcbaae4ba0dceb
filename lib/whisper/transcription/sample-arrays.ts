/**
 * Arrays of samples, used again and again. As garbage, those of many short recordings would be collected late and in
 * long pauses. Lengths are powers of two.
 */

/** The shortest array: four seconds. */
const shortest = 16;
/** Bytes of unused arrays that are kept. */
const keptBytes = 1 << 25;

/** Unused arrays, by the logarithm of their length. */
const unused: Float32Array[][] = [];
let unusedBytes = 0;

/** Returns an array of at least `length`. Its contents are those of an earlier use. */
export function takeArray(length: number): Float32Array {
  const power = Math.max(shortest, Math.ceil(Math.log2(length)));
  const array = unused[power]?.pop();
  if (!array) return new Float32Array(2 ** power);
  unusedBytes -= array.byteLength;
  return array;
}

/** Gives back an array of `takeArray` that is not used any more. */
export function giveArray(array: Float32Array): void {
  if (unusedBytes + array.byteLength > keptBytes) return;
  unusedBytes += array.byteLength;
  const power = Math.log2(array.length);
  unused[power] ??= [];
  unused[power].push(array);
}
