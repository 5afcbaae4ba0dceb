/** The operations in double precision and in the plainest way, for comparison. */

export type Matrix = Float64Array;

/** Seeded uniform numbers from -1 to 1. */
export function random(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** float32 rounded to bfloat16. */
export function toBfloat16(values: Float32Array): Float32Array {
  const words = new Uint32Array(values.slice().buffer);
  for (let i = 0; i < words.length; ++i) words[i] = (words[i] + 0x7fff + ((words[i] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(words.buffer);
}

/** float32 rounded to IEEE half precision. */
export function toFloat16(values: Float32Array): Float32Array {
  return values.map((value) => {
    const magnitude = Math.abs(value);
    if (!(magnitude < 65520)) return Number.isNaN(value) ? value : Math.sign(value) * Number.POSITIVE_INFINITY;
    // The distance between neighbours at this magnitude; below 2^-14 it stays the same.
    const unit = 2 ** (Math.max(Math.floor(Math.log2(magnitude || 2 ** -24)), -14) - 10);
    const scaled = value / unit;
    const below = Math.floor(scaled);
    const rest = scaled - below;
    return (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * unit;
  });
}

/** As a storage type keeps them. */
export function stored(values: Float32Array, dtype: string): Float32Array {
  if (dtype === 'bfloat16') return toBfloat16(values);
  return dtype === 'float16' ? toFloat16(values) : values;
}

function erf(x: number): number {
  // The series converges fast for small x; the continued fraction for the rest.
  const a = Math.abs(x);
  if (a < 2.5) {
    let sum = a;
    let term = a;
    for (let n = 1; n < 80; ++n) {
      term *= (-a * a) / n;
      sum += term / (2 * n + 1);
    }
    return Math.sign(x) * (2 / Math.sqrt(Math.PI)) * sum;
  }
  let fraction = 0;
  for (let n = 60; n > 0; --n) fraction = n / 2 / (a + fraction);
  return Math.sign(x) * (1 - Math.exp(-a * a) / Math.sqrt(Math.PI) / (a + fraction));
}

export const gelu = (x: number): number => (x * (1 + erf(x / Math.SQRT2))) / 2;

export function layerNorm(
  x: ArrayLike<number>,
  width: number,
  weight: ArrayLike<number>,
  bias: ArrayLike<number>,
): Matrix {
  const y = new Float64Array(x.length);
  for (let row = 0; row < x.length; row += width) {
    let mean = 0;
    let variance = 0;
    for (let i = 0; i < width; ++i) mean += x[row + i] / width;
    for (let i = 0; i < width; ++i) variance += (x[row + i] - mean) ** 2 / width;
    for (let i = 0; i < width; ++i)
      y[row + i] = ((x[row + i] - mean) / Math.sqrt(variance + 1e-5)) * weight[i] + bias[i];
  }
  return y;
}

/** x [rows, depth] times weight [columns, depth] transposed. */
export function product(x: ArrayLike<number>, weight: ArrayLike<number>, depth: number): Matrix {
  const rows = x.length / depth;
  const columns = weight.length / depth;
  const y = new Float64Array(rows * columns);
  for (let m = 0; m < rows; ++m) {
    for (let n = 0; n < columns; ++n) {
      let sum = 0;
      for (let k = 0; k < depth; ++k) sum += x[m * depth + k] * weight[n * depth + k];
      y[m * columns + n] = sum;
    }
  }
  return y;
}

/** x [rows, columns, width] to [columns, rows, width]. */
export function swapOuter(x: Float32Array, rows: number, columns: number): Float32Array {
  const width = x.length / (rows * columns);
  const y = new Float32Array(x.length);
  for (let i = 0; i < rows * columns; ++i) {
    const [row, column] = [Math.floor(i / columns), i % columns];
    y.set(x.subarray(i * width, (i + 1) * width), (column * rows + row) * width);
  }
  return y;
}

export interface AttentionSizes {
  batch: number;
  queries: number;
  keys: number;
  heads: number;
  keyValueHeads: number;
  headSize: number;
}

/** `limit(b, i)`: how many keys query i of sequence b sees. */
export function attention(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  { batch, queries, keys, heads, keyValueHeads, headSize }: AttentionSizes,
  limit: (sequence: number, query: number) => number,
): Matrix {
  const y = new Float64Array(batch * queries * heads * headSize);
  for (let b = 0; b < batch; ++b) {
    for (let i = 0; i < queries; ++i) {
      for (let h = 0; h < heads; ++h) {
        const shared = Math.floor((h * keyValueHeads) / heads);
        const at = ((b * queries + i) * heads + h) * headSize;
        const row = (n: number) => ((b * keys + n) * keyValueHeads + shared) * headSize;
        const scores = Array.from({ length: limit(b, i) }, (_, n) => {
          let sum = 0;
          for (let c = 0; c < headSize; ++c) sum += q[at + c] * k[row(n) + c];
          return sum / Math.sqrt(headSize);
        });
        const highest = Math.max(...scores);
        const weights = scores.map((score) => Math.exp(score - highest));
        const total = weights.reduce((a, b) => a + b, 0);
        weights.forEach((weight, n) => {
          for (let c = 0; c < headSize; ++c) y[at + c] += (weight / total) * v[row(n) + c];
        });
      }
    }
  }
  return y;
}

/** Norm of the difference over the norm of the reference; NaN becomes infinity, so that it fails every comparison. */
export function relativeError(got: ArrayLike<number>, wanted: ArrayLike<number>): number {
  if (got.length !== wanted.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < wanted.length; ++i) {
    difference += (got[i] - wanted[i]) ** 2;
    norm += wanted[i] ** 2;
  }
  const error = Math.sqrt(difference / (norm || 1));
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}
