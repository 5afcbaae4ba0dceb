/** Pseudorandom numbers from 0 to 1, determined by the seed. */
export function randomNumbers(seed: number): () => number {
  let bits = seed >>> 0;
  return () => {
    bits = (Math.imul(bits, 1664525) + 1013904223) >>> 0;
    return bits / 2 ** 32;
  };
}
