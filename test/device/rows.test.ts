/** Operations that work on chosen rows of a pool: each row as it would be alone, and nothing else of the pool touched. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { devices } from './devices.js';
import { attention, random, relativeError, stored } from './reference.js';

/** Whole numbers below `limit`. */
const below = (count: number, limit: number, seed: number) =>
  Array.from(random(count, seed), (x) => Math.min(limit - 1, Math.floor(((x + 1) / 2) * limit)));

/** 0 ... count - 1 in another order. */
function shuffled(count: number, seed: number): number[] {
  const keys = random(count, seed);
  return Array.from(keys.keys()).sort((a, b) => keys[a] - keys[b]);
}

/** Where two arrays differ; -1: nowhere. NaN is NaN. */
const firstDifference = (got: Float32Array, wanted: Float32Array) =>
  got.findIndex((value, i) => !Object.is(value, wanted[i]) && value !== wanted[i]);

describe.each(devices)('rows of a pool on $name', ({ open, dtypes }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  const integers = (values: readonly number[], shape = [values.length]) =>
    device.tensor('int32', shape, Int32Array.from(values));

  async function run(body: (ops: Operations) => void): Promise<void> {
    using program = device.record('rows', body, { poison: true });
    await program.run();
  }

  describe.each(dtypes)('attention in $dtype', ({ dtype, tolerance }) => {
    const given = (shape: number[], seed: number) => {
      const values = stored(
        random(
          shape.reduce((a, b) => a * b, 1),
          seed,
        ),
        dtype,
      );
      return { values, tensor: device.tensor(dtype, shape, values) };
    };
    const shapes = [
      { heads: 2, keyValueHeads: 2, headSize: 64 },
      { heads: 4, keyValueHeads: 1, headSize: 32 },
    ];

    it.each(
      [
        { algorithm: 'split-kv', queries: 1, indexed: true },
        { algorithm: 'split-kv', queries: 1, indexed: false },
        { algorithm: 'split-kv', queries: 3, indexed: false },
        { algorithm: 'memory-efficient', queries: 5, indexed: false },
      ].flatMap((use) => shapes.map((shape) => ({ ...use, ...shape }) as const)),
    )(
      '$algorithm: $queries positions append to caches of their rows, indexed $indexed, $heads heads on $keyValueHeads',
      async ({ algorithm, queries, indexed, heads, keyValueHeads, headSize }) => {
        const [pool, keys] = [9, 330];
        const [width, shared] = [heads * headSize, keyValueHeads * headSize];
        const rows = [...shuffled(pool, queries).slice(0, 5), -1, pool, -7];
        rows.splice(2, 0, -1);
        const batch = rows.length;
        const active = rows.filter((row) => row >= 0 && row < pool);
        // Those that share rows have one start, as the beams of a window have.
        const starts = Array.from({ length: pool }, (_, row) =>
          indexed ? 320 : below(pool, keys - queries + 1, 7)[row],
        );
        starts[active[0]] = indexed ? 320 : 0;
        starts[active[1]] = indexed ? 320 : keys - queries;
        const all = given([batch, queries, width + 2 * shared], 1);
        const row = (part: number, b: number, i: number) => {
          const at = (b * queries + i) * (width + 2 * shared) + width + part * shared;
          return all.values.subarray(at, at + shared);
        };
        // What nobody may read is NaN: rows that are not chosen, and positions behind the start.
        const caches = [2, 3].map((seed) => {
          const { values } = given([pool, keys, shared], seed);
          for (let r = 0; r < pool; ++r) {
            const from = active.includes(r) ? (r * keys + starts[r]) * shared : r * keys * shared;
            values.fill(Number.NaN, from, (r + 1) * keys * shared);
          }
          return { values, tensor: device.tensor(dtype, [pool, keys, shared], values) };
        });
        const source = below(pool * keys, active.length, 4).map((i) => active[i]);
        const output = device.tensor(dtype, [batch, queries, width], new Float32Array(batch * queries * width).fill(7));
        await run((ops) => {
          ops.attention(all.tensor.columns(0, width), caches[0].tensor, caches[1].tensor, {
            heads,
            keyValueHeads,
            algorithm: algorithm as 'split-kv',
            causal: true,
            rows: integers(rows),
            start: integers(starts),
            source: indexed ? integers(source, [pool, keys]) : undefined,
            append: { key: all.tensor.columns(width, shared), value: all.tensor.columns(width + shared, shared) },
            output,
          });
        });
        const seen = caches.map(({ values }, part) => {
          const entries = new Float32Array(batch * keys * shared);
          rows.forEach((r, b) => {
            if (!active.includes(r)) return;
            for (let n = 0; n < starts[r]; ++n) {
              const from = ((indexed ? source[r * keys + n] : r) * keys + n) * shared;
              entries.set(values.subarray(from, from + shared), (b * keys + n) * shared);
            }
            for (let i = 0; i < queries; ++i) entries.set(row(part, b, i), (b * keys + starts[r] + i) * shared);
          });
          return entries;
        });
        const q = Float32Array.from({ length: batch * queries * width }, (_, i) => {
          return all.values[Math.floor(i / width) * (width + 2 * shared) + (i % width)];
        });
        const size = { batch, queries, keys, heads, keyValueHeads, headSize };
        const limit = (b: number, i: number) => (active.includes(rows[b]) ? starts[rows[b]] + i + 1 : 0);
        const got = await output.toFloat32Array();
        expect(relativeError(got, attention(q, seen[0], seen[1], size, limit))).toBeLessThan(tolerance);
        rows.forEach((r, b) => {
          const own = got.subarray(b * queries * width, (b + 1) * queries * width);
          if (!active.includes(r)) expect(own.every((value) => value === 0)).toBe(true);
        });
        for (const [part, { values, tensor }] of caches.entries()) {
          const wanted = values.slice();
          rows.forEach((r, b) => {
            if (!active.includes(r)) return;
            for (let i = 0; i < queries; ++i) wanted.set(row(part, b, i), (r * keys + starts[r] + i) * shared);
          });
          expect(firstDifference(await tensor.toFloat32Array(), wanted)).toBe(-1);
        }
      },
    );

    it.each(
      [
        { algorithm: 'split-kv', queries: 1 },
        { algorithm: 'split-kv', queries: 2 },
        { algorithm: 'memory-efficient', queries: 1 },
        { algorithm: 'memory-efficient', queries: 50 },
      ].flatMap((use) => shapes.map((shape) => ({ ...use, ...shape }) as const)),
    )(
      '$algorithm: $queries positions see ranges of a pool of positions, $heads heads on $keyValueHeads',
      async ({ algorithm, queries, heads, keyValueHeads, headSize }) => {
        const [pool, positions, most] = [12, 400, 70];
        const [width, shared] = [heads * headSize, keyValueHeads * headSize];
        // Three beams, two, one that sees a single position, one that sees all, one cut off at the end, and some that see none.
        const rows = [4, 5, 6, -1, 9, 10, 0, 1, 2, 3, 7, 8];
        const begin = Array(pool).fill(0);
        const count = Array(pool).fill(0);
        const set = (row: number, ...range: [number, number]) => ([begin[row], count[row]] = range);
        for (const row of [4, 5, 6]) set(row, 33, 330);
        for (const row of [9, 10]) set(row, 90, 77);
        set(0, 399, 1);
        set(1, 0, positions);
        set(2, 390, 60);
        set(3, -1, 50);
        set(7, 20, 0);
        set(8, positions + 5, 9);
        const batch = rows.length;
        const ranges = rows.map((row) => {
          if (row < 0 || begin[row] < 0) return [0, 0];
          return [begin[row], Math.max(0, Math.min(count[row], positions - begin[row]))];
        });
        const q = given([batch, queries, width], 1);
        const [k, v] = [2, 3].map((seed) => {
          const { values } = given([1, positions, shared], seed);
          return { values, tensor: device.tensor(dtype, [1, positions, shared], values) };
        });
        const output = device.tensor(dtype, [batch, queries, width]);
        const [sequences, places] = [5, 3];
        const scoreRow = [-1, 3, 9, -1, 0, 1, 2, -1, -1, 4, -1, -1]; // row 2's is out of range
        const scorePosition = [0, 1, 0, 0, 2, 1, 0, 0, 0, -1, 0, 0];
        const to = device.tensor('float32', [sequences, places, 2, most]);
        await run((ops) => {
          ops.attention(q.tensor, k.tensor, v.tensor, {
            heads,
            keyValueHeads,
            algorithm: algorithm as 'split-kv',
            rows: integers(rows),
            keys: { begin: integers(begin), count: integers(count) },
            scores:
              queries > 1
                ? undefined
                : {
                    to,
                    heads: integers(heads === 2 ? [1, 0] : [1, -1, -1, 0]),
                    position: integers(scorePosition),
                    row: integers(scoreRow),
                  },
            output,
          });
        });
        const own = ({ values }: { values: Float32Array }) => {
          const entries = new Float32Array(batch * positions * shared);
          ranges.forEach(([first, seen], b) => {
            entries.set(values.subarray(first * shared, (first + seen) * shared), b * positions * shared);
          });
          return entries;
        };
        const size = { batch, queries, keys: positions, heads, keyValueHeads, headSize };
        const got = await output.toFloat32Array();
        expect(
          relativeError(
            got,
            attention(q.values, own(k), own(v), size, (b) => ranges[b][1]),
          ),
        ).toBeLessThan(tolerance);
        ranges.forEach(([, seen], b) => {
          const entry = got.subarray(b * queries * width, (b + 1) * queries * width);
          expect(entry.every((value) => value === 0)).toBe(seen === 0);
        });
        if (queries > 1) return;
        const wanted = new Float64Array(to.size);
        rows.forEach((row, b) => {
          const sequence = scoreRow[row] ?? -1;
          const place = scorePosition[row] ?? -1;
          if (sequence < 0 || sequence >= sequences || place < 0) return;
          for (const [column, head] of [heads - 1, 0].entries()) {
            const keyHead = Math.floor((head * keyValueHeads) / heads);
            for (let n = 0; n < Math.min(most, ranges[b][1]); ++n) {
              let sum = 0;
              for (let c = 0; c < headSize; ++c) {
                const key = ((ranges[b][0] + n) * keyValueHeads + keyHead) * headSize + c;
                sum += q.values[(b * heads + head) * headSize + c] * k.values[key];
              }
              wanted[((sequence * places + place) * 2 + column) * most + n] = sum / Math.sqrt(headSize);
            }
          }
        });
        expect(relativeError(await to.toFloat32Array(), wanted)).toBeLessThan(tolerance);
      },
    );

    it.each(shapes)('serves many neighbours of one range: $heads heads on $keyValueHeads', async (shape) => {
      const { heads, keyValueHeads, headSize } = shape;
      const [batch, positions] = [70, 90];
      const [width, shared] = [heads * headSize, keyValueHeads * headSize];
      // More than go together, across whatever boundary there is between neighbours; then others alone.
      const ranges = Array.from({ length: batch }, (_, b) => (b < 5 || b > 60 ? [b % 7, 40 + b] : [11, 70]));
      const [q, k, v] = [
        [batch, 1, width],
        [1, positions, shared],
        [1, positions, shared],
      ].map(given);
      const output = device.tensor(dtype, [batch, 1, width]);
      await run((ops) => {
        ops.attention(q.tensor, k.tensor, v.tensor, {
          heads,
          keyValueHeads,
          algorithm: 'split-kv',
          keys: { begin: integers(ranges.map(([begin]) => begin)), count: integers(ranges.map(([, count]) => count)) },
          output,
        });
      });
      const seen = ranges.map(([begin, count]) => Math.min(count, positions - begin));
      const own = ({ values }: { values: Float32Array }) => {
        const entries = new Float32Array(batch * positions * shared);
        ranges.forEach(([begin], b) => {
          entries.set(values.subarray(begin * shared), b * positions * shared);
        });
        return entries;
      };
      const size = { batch, queries: 1, keys: positions, heads, keyValueHeads, headSize };
      const wanted = attention(q.values, own(k), own(v), size, (b) => seen[b]);
      expect(relativeError(await output.toFloat32Array(), wanted)).toBeLessThan(tolerance);
    });

    it('reads positions that were scattered into the pool, each entry its own', async () => {
      const [batch, length, width, positions] = [4, 6, 16, 20];
      const x = given([batch, length, 3 * width], 1);
      const to = given([1, positions, width], 2);
      await run((ops) => ops.scatterRows(x.tensor.columns(width, width), to.tensor, integers([7, -1, 17, 0])));
      const wanted = to.values.slice();
      [7, -1, 17, 0].forEach((begin, b) => {
        for (let t = 0; t < length && begin >= 0 && begin + t < positions; ++t) {
          const from = ((b * length + t) * 3 + 1) * width;
          wanted.set(x.values.subarray(from, from + width), (begin + t) * width);
        }
      });
      expect(await to.tensor.toFloat32Array()).toEqual(wanted);
    });
  });

  it('embeds the tokens of chosen rows', async () => {
    const [pool, capacity, width] = [5, 6, 20];
    const table = device.tensor('float32', [30, width], random(30 * width, 1));
    const positions = device.tensor('float32', [capacity, width], random(capacity * width, 2));
    const tokens = integers(below(pool * capacity, 30, 3), [pool, capacity]);
    const start = integers(below(pool, 4, 4));
    const rows = [3, -1, 0, 4, 5];
    const [whole, chosen] = [pool, rows.length].map((batch) => device.tensor('float32', [batch, 2, width]));
    await run((ops) => {
      ops.embed(tokens, start, table, positions, { count: 2, output: whole });
      ops.embed(tokens, start, table, positions, { count: 2, rows: integers(rows), output: chosen });
    });
    const each = await whole.toFloat32Array();
    const wanted = rows.flatMap((row) =>
      row < 0 || row >= pool
        ? Array(2 * width).fill(0)
        : Array.from(each.subarray(row * 2 * width, (row + 1) * 2 * width)),
    );
    expect(Array.from(await chosen.toFloat32Array())).toEqual(wanted);
  });

  it('follows the rows that device memory names from run to run', async () => {
    const [pool, capacity, width] = [4, 3, 16];
    const table = device.tensor('float32', [9, width], random(9 * width, 1));
    const positions = device.tensor('float32', [capacity, width]);
    const tokens = integers(below(pool * capacity, 9, 3), [pool, capacity]);
    const rows = integers([0, 1]);
    const output = device.tensor('float32', [2, 1, width]);
    using program = device.record('embed', (ops) => {
      ops.embed(tokens, integers([0, 0, 0, 0]), table, positions, { rows, output });
    });
    const values = await table.toFloat32Array();
    const ids = await tokens.toInt32Array();
    for (const chosen of [
      [0, 1],
      [3, -1],
      [2, 0],
    ]) {
      await rows.write(Int32Array.from(chosen));
      await program.run();
      const wanted = chosen.flatMap((row) => {
        const at = ids[row * capacity] * width;
        return row < 0 ? Array(width).fill(0) : Array.from(values.subarray(at, at + width));
      });
      expect(Array.from(await output.toFloat32Array())).toEqual(wanted);
    }
  });

  it('refuses what does not fit together', () => {
    const [query, cache] = [device.tensor('float32', [2, 1, 32]), device.tensor('float32', [5, 8, 32])];
    const positions = cache.reshape([1, 40, 32]);
    const [two, five] = [integers([0, 1]), integers([0, 1, 2, 3, 4])];
    const refusal = (key: Tensor, options: object) => {
      try {
        device.record('bad', (ops) => void ops.attention(query, key, key, { heads: 2, ...options }));
      } catch (error) {
        return (error as { argument?: string; code: string }).argument ?? (error as { code: string }).code;
      }
      return 'none';
    };
    expect(refusal(cache, { rows: two, causal: true, start: five })).toBe('none');
    expect(refusal(cache, { rows: five })).toBe('rows');
    expect(refusal(cache, { rows: two, causal: true, start: two })).toBe('start');
    expect(refusal(positions, { keys: { begin: two, count: two } })).toBe('none');
    expect(refusal(positions, { rows: two, keys: { begin: five, count: five } })).toBe('none');
    expect(refusal(positions, { rows: two, keys: { begin: five, count: two } })).toBe('keyCount');
    expect(refusal(positions, { keys: { begin: two } })).toBe('keyCount');
    expect(refusal(positions, { keys: { begin: two, count: two }, causal: true })).toBe('keyBegin');
    expect(refusal(cache, { rows: two, keys: { begin: five, count: five } })).toBe('key');
    expect(refusal(cache, { rows: two, algorithm: 'multi-head' })).toBe('NOT_SUPPORTED');
    expect(() => device.record('bad', (ops) => ops.scatterRows(query, cache, two))).toThrow('scatterRows: expected to');
  });
});
