/** Plain references of operations in double precision. */

export type Matrix = Float64Array;

/** Uniform numbers from -1 to 1, from a seed. */
export function random(count: number, seed: number): Float32Array {
  let state = seed >>> 0;
  return Float32Array.from({ length: count }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return state / 2 ** 31 - 1;
  });
}

/** Rounds float32 to bfloat16. */
function toBfloat16(values: Float32Array): Float32Array {
  const words = new Uint32Array(values.slice().buffer);
  for (let i = 0; i < words.length; ++i) words[i] = (words[i] + 0x7fff + ((words[i] >>> 16) & 1)) & 0xffff0000;
  return new Float32Array(words.buffer);
}

/** Rounds float32 to float16. */
function toFloat16(values: Float32Array): Float32Array {
  return values.map((value) => {
    const magnitude = Math.abs(value);
    if (!(magnitude < 65520)) return Number.isNaN(value) ? value : Math.sign(value) * Number.POSITIVE_INFINITY;
    // The spacing of float16 numbers of this magnitude; below 2^-14 it is constant.
    const unit = 2 ** (Math.max(Math.floor(Math.log2(magnitude || 2 ** -24)), -14) - 10);
    const scaled = value / unit;
    const below = Math.floor(scaled);
    const rest = scaled - below;
    return (rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below) * unit;
  });
}

/** Rounds values to a storage type. */
export function stored(values: Float32Array, dtype: string): Float32Array {
  if (dtype === 'bfloat16') return toBfloat16(values);
  return dtype === 'float16' ? toFloat16(values) : values;
}

function erf(x: number): number {
  // The series converges fast for small x, the continued fraction for large x.
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

/** x [rows, depth] times the transpose of weight [columns, depth]. */
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

/** Transposes x [rows, columns, width] to [columns, rows, width]. */
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

/** `limit(b, i)` is the number of keys that query i of sequence b sees. */
export function attention(
  q: ArrayLike<number>,
  k: ArrayLike<number>,
  v: ArrayLike<number>,
  { batch, queries, keys, heads, keyValueHeads, headSize }: AttentionSizes,
  limit: (sequence: number, query: number) => number,
): Matrix {
  const y = new Float64Array(batch * queries * heads * headSize);
  const weights = new Float64Array(keys);
  for (let b = 0; b < batch; ++b) {
    for (let i = 0; i < queries; ++i) {
      const seen = limit(b, i);
      for (let h = 0; h < heads; ++h) {
        const at = ((b * queries + i) * heads + h) * headSize;
        const first = (b * keys * keyValueHeads + Math.floor((h * keyValueHeads) / heads)) * headSize;
        const stride = keyValueHeads * headSize;
        let highest = Number.NEGATIVE_INFINITY;
        for (let n = 0; n < seen; ++n) {
          let sum = 0;
          for (let c = 0, row = first + n * stride; c < headSize; ++c) sum += q[at + c] * k[row + c];
          weights[n] = sum / Math.sqrt(headSize);
          highest = Math.max(highest, weights[n]);
        }
        let total = 0;
        for (let n = 0; n < seen; ++n) total += weights[n] = Math.exp(weights[n] - highest);
        for (let n = 0; n < seen; ++n) {
          const weight = weights[n] / total;
          for (let c = 0, row = first + n * stride; c < headSize; ++c) y[at + c] += weight * v[row + c];
        }
      }
    }
  }
  return y;
}

/**
 * The norm of the difference relative to the norm of the reference, or to `least` if that is larger. NaN becomes
 * infinity, so that it fails every comparison.
 */
export function relativeError(actual: ArrayLike<number>, expected: ArrayLike<number>, least = 0): number {
  if (actual.length !== expected.length) return Number.POSITIVE_INFINITY;
  let difference = 0;
  let norm = 0;
  for (let i = 0; i < expected.length; ++i) {
    difference += (actual[i] - expected[i]) ** 2;
    norm += expected[i] ** 2;
  }
  const error = Math.sqrt(difference / (Math.max(norm, least * least) || 1));
  return Number.isNaN(error) ? Number.POSITIVE_INFINITY : error;
}

/**
 * Quantizes rows to int8: each number as steps of its row's scale (largest magnitude / 127), and the dequantized
 * numbers.
 */
export function quantizedRows(values: Float32Array, width: number) {
  const bytes = new Int8Array(values.length);
  const scales = new Float32Array(values.length / width);
  scales.forEach((_, row) => {
    const given = values.subarray(row * width, (row + 1) * width);
    // The scale of a row with NaN or infinity is NaN, so that the row is not used.
    const largest = given.every(Number.isFinite)
      ? given.reduce((most, value) => Math.max(most, Math.abs(value)), 0)
      : Number.NaN;
    scales[row] = largest / 127;
    const inverse = scales[row] > 0 ? Math.fround(1 / scales[row]) : 0;
    given.forEach((value, i) => {
      bytes[row * width + i] = roundEven(Math.fround(value * inverse));
    });
  });
  return { bytes, scales, widened: Float32Array.from(bytes, (byte, i) => byte * scales[Math.floor(i / width)]) };
}

/** Rounds to the nearest integer, ties to even. */
function roundEven(value: number): number {
  const below = Math.floor(value);
  const rest = value - below;
  return rest > 0.5 || (rest === 0.5 && below % 2 !== 0) ? below + 1 : below;
}
