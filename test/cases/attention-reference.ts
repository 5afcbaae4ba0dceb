/**
 * The reference of attention in double precision: appended rows, the keys that each entry sees, results and scores.
 */
import { attention, quantizedRows, swapOuter } from '../device/reference.js';
import type { AttentionShape } from './attention-case.js';
import { type Expected, within } from './case.js';

type Given = Record<string, Float32Array | Int32Array | Int8Array | Uint8Array | undefined>;

/** Columns of rows of `width` elements. */
function columnsOf(values: ArrayLike<number>, width: number, begin: number, count: number): Float32Array {
  const rows = values.length / width;
  return Float32Array.from(
    { length: rows * count },
    (_, i) => values[Math.floor(i / count) * width + begin + (i % count)],
  );
}

/** Keys or values of the cache, before and after the new rows are appended. */
class Side {
  readonly #width: number;
  readonly held: Float32Array | Int8Array;
  readonly scales: Float32Array | undefined;
  readonly #keys: number;
  readonly #shared: number;
  readonly #size: number;
  constructor(shape: AttentionShape, held: Float32Array | Int8Array, scales: Float32Array | undefined) {
    this.#shared = shape.keyValueHeads * shape.headSize;
    this.#width = this.#shared + (shape.columns ?? 0);
    this.#keys = shape.keys;
    this.#size = shape.headSize;
    this.held = held.slice();
    this.scales = scales?.slice();
  }
  /** Writes a row, quantized if the cache is int8. */
  put(sequence: number, position: number, row: Float32Array): void {
    const place = sequence * this.#keys + position;
    if (!this.scales) {
      this.held.set(row, place * this.#width);
      return;
    }
    const { bytes, scales } = quantizedRows(row, this.#size);
    this.held.set(bytes, place * this.#width);
    this.scales.set(scales, place * (this.#shared / this.#size));
  }
  /** Returns a row as numbers. */
  row(sequence: number, position: number): Float32Array {
    const place = sequence * this.#keys + position;
    const row = Float32Array.from(this.held.subarray(place * this.#width, place * this.#width + this.#shared));
    if (!this.scales) return row;
    const groups = this.#shared / this.#size;
    return row.map((byte, i) => byte * this.scales![place * groups + Math.floor(i / this.#size)]);
  }
}

export function wantedAttention(shape: AttentionShape, given: Given, swapped: boolean): Record<string, Expected> {
  const { batch, queries, keys, heads, keyValueHeads, headSize, causal, append, ranges, source, scores } = shape;
  const [width, shared] = [heads * headSize, keyValueHeads * headSize];
  const pool = shape.pool ?? batch;
  const stored = ranges ? 1 : pool;
  const batchFirst = (values: Float32Array, length: number, sequences: number) =>
    swapped ? swapOuter(values, length, sequences) : values;
  const all = given.all && batchFirst(given.all as Float32Array, queries, batch);
  const added = given.added && batchFirst(given.added as Float32Array, queries, batch);
  const query = all
    ? columnsOf(all, width + 2 * shared, 0, width)
    : batchFirst(given.query as Float32Array, queries, batch);
  const fresh = [0, shared].map((begin) =>
    all
      ? columnsOf(all, width + 2 * shared, width + begin, shared)
      : added && columnsOf(added, 2 * shared, begin, shared),
  );
  const sides = (['key', 'value'] as const).map((name, part) => {
    const held = given[name] ?? fresh[part];
    const values =
      held instanceof Float32Array && given[name] ? batchFirst(held, keys, stored) : (held as Float32Array | Int8Array);
    return new Side(shape, values, given[`${name}Scales`] as Float32Array | undefined);
  });

  const row = (b: number) => shape.rows?.[b] ?? b;
  const active = (b: number) => row(b) >= 0 && row(b) < pool;
  const start = (b: number) => Math.max(0, shape.starts?.[row(b)] ?? 0);
  if (append) {
    for (let b = 0; b < batch; ++b) {
      for (let i = 0; active(b) && i < queries && start(b) + i < keys; ++i) {
        const at = (b * queries + i) * shared;
        for (const [part, side] of sides.entries())
          side.put(row(b), start(b) + i, fresh[part]!.subarray(at, at + shared));
      }
    }
  }
  const expected: Record<string, Expected> = {};
  if (append) {
    for (const [part, name] of (['key', 'value'] as const).entries()) {
      const { held, scales } = sides[part];
      const whole = swapped ? swapOuter(held as Float32Array, stored, keys) : held;
      expected[name] = { values: whole };
      if (scales) expected[`${name}Scales`] = { values: scales };
    }
  }
  if (shape.outside) return { ...expected, y: { values: 'finite' } };

  /** The begin of an entry's keys in the pool, and the number of keys that it sees. */
  const range = (b: number): [number, number] => {
    const { begin, count } = ranges![row(b)] ?? { begin: -1, count: 0 };
    return begin < 0 ? [0, 0] : [begin, Math.max(0, Math.min(count, shape.longest ?? count, keys - begin))];
  };
  const limit = (b: number, i: number) => {
    if (!active(b)) return 0;
    if (ranges) return range(b)[1];
    return causal ? Math.min(keys, start(b) + i + 1) : keys;
  };
  /** The cache rows that an entry sees, in the order of its positions. */
  const seen = sides.map((side) => {
    const rows = new Float32Array(batch * keys * shared);
    for (let b = 0; b < batch; ++b) {
      const count = queries > 0 ? limit(b, queries - 1) : 0;
      for (let n = 0; n < count; ++n) {
        const from = ranges
          ? side.row(0, range(b)[0] + n)
          : side.row(source && n < start(b) ? source[row(b) * keys + n] : row(b), n);
        rows.set(from, (b * keys + n) * shared);
      }
    }
    return rows;
  });
  const factor = shape.scale === undefined ? 1 : shape.scale * Math.sqrt(headSize);
  const scaled = Float64Array.from(query, (element) => element * factor);
  const sizes = { batch, queries, keys, heads, keyValueHeads, headSize };
  const result = attention(scaled, seen[0], seen[1], sizes, limit);
  expected.y = {
    values: swapped ? swapOuter(Float32Array.from(result), batch, queries) : result,
    // With int8 caches, a CPU rounds queries and weights to 16 bits: each has an error of up to 1/65534 of its largest
    // element.
    tolerance: within(shape.bytes ? 1e-4 : 2e-6, 6e-3),
    zeros: true,
  };
  if (!scores) return expected;

  const { positions } = scores;
  const chosen = Math.max(...scores.heads) + 1;
  const to = new Float64Array(scores.sequences * positions * chosen * scores.keys);
  for (let entry = 0; entry < batch * queries; ++entry) {
    const b = Math.floor(entry / queries);
    const [target, place] = scores.row
      ? [scores.row[row(b)] ?? -1, scores.position[row(b)] ?? -1]
      : [entry, shape.rows ? (scores.position[row(b)] ?? -1) : scores.position[entry]];
    if (target < 0 || target >= scores.sequences || place < 0 || place >= positions) continue;
    for (let head = 0; head < heads; ++head) {
      if (scores.heads[head] < 0) continue;
      const group = Math.floor((head * keyValueHeads) / heads);
      for (let n = 0; n < Math.min(scores.keys, limit(b, entry % queries)); ++n) {
        let sum = 0;
        for (let c = 0; c < headSize; ++c) {
          sum +=
            scaled[(entry * heads + head) * headSize + c] * seen[0][(b * keys + n) * shared + group * headSize + c];
        }
        to[((target * positions + place) * chosen + scores.heads[head]) * scores.keys + n] = sum / Math.sqrt(headSize);
      }
    }
  }
  expected.to = { values: to, tolerance: within(shape.bytes ? 1e-4 : 1e-5, 1e-2), zeros: true };
  return expected;
}
