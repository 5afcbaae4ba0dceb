/** Dynamic time warping over attention's scores, beside the plainest way to do it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { devices } from './devices.js';
import { random } from './reference.js';

type Matrix = number[][];

const transposed = (matrix: Matrix): Matrix => matrix[0].map((_, column) => matrix.map((row) => row[column]));

function softmax(row: readonly number[]): number[] {
  const highest = Math.max(...row);
  const weights = row.map((score) => Math.exp(score - highest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

function standard(column: readonly number[]): number[] {
  const mean = column.reduce((a, b) => a + b, 0) / column.length;
  const deviation = Math.sqrt(column.reduce((sum, value) => sum + (value - mean) ** 2, 0) / column.length);
  return column.map((value) => (deviation > 0 ? (value - mean) / deviation : 0));
}

function median(row: readonly number[], width: number): number[] {
  const pad = (width - 1) / 2;
  if (row.length <= pad) return [...row];
  const mirrored = (i: number) => (i < 0 ? -i : i >= row.length ? 2 * row.length - 2 - i : i);
  return row.map((_, i) => {
    const near = Array.from({ length: width }, (_, j) => row[mirrored(i - pad + j)]);
    return near.sort((a, b) => a - b)[pad];
  });
}

/** The first column of each row on the cheapest way from the first cell to the last. */
function warp(cost: Matrix): number[] {
  const [rows, columns] = [cost.length, cost[0].length];
  const table: Matrix = Array.from({ length: rows + 1 }, () => Array(columns + 1).fill(Number.POSITIVE_INFINITY));
  table[0][0] = 0;
  for (let i = 1; i <= rows; ++i) {
    for (let j = 1; j <= columns; ++j) {
      table[i][j] = cost[i - 1][j - 1] + Math.min(table[i - 1][j - 1], table[i - 1][j], table[i][j - 1]);
    }
  }
  const first = Array<number>(rows);
  for (let i = rows, j = columns; i > 0; ) {
    first[i - 1] = j - 1;
    const [both, row, column] = [table[i - 1][j - 1], table[i - 1][j], table[i][j - 1]];
    if (both < row && both < column) [i, j] = [i - 1, j - 1];
    else if (row < both && row < column) --i;
    else if (j > 1) --j;
    else break;
  }
  return first;
}

describe.each(devices)('alignment on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  it.each([
    { keys: 100, width: 7 },
    { keys: 37, width: 1 },
    { keys: 500, width: 5 },
  ])('of rows in several places: $keys keys, a filter of $width', async ({ keys, width }) => {
    const [rows, positions, heads] = [4, 24, 3];
    const values = Float32Array.from(random(rows * positions * heads * keys, keys), (value) => 4 * value);
    const source = Int32Array.from(random(3 * positions, 9), (value) => Math.floor((value + 1) * 2));
    const [begin, end, frames] = [
      [2, 0, 20],
      [24, 9, 21],
      [keys, Math.floor(keys / 2), 3],
    ];
    const output = device.tensor('int32', [3, positions], new Int32Array(3 * positions).fill(-7));
    const integers = (given: number[]) => device.tensor('int32', [3], Int32Array.from(given));
    using program = device.record('align', (ops) => {
      const scores = device.tensor('float32', [rows, positions, heads, keys], values);
      const counted = {
        source: device.tensor('int32', [3, positions], source),
        begin: integers(begin),
        end: integers(end),
        frames: integers(frames),
      };
      ops.alignPositions(scores, counted, { medianWidth: width, output });
    });
    await program.run();
    const got = await output.toInt32Array();
    for (let s = 0; s < 3; ++s) {
      const places = Array.from({ length: end[s] - begin[s] }, (_, i) => begin[s] + i);
      const byHead = Array.from({ length: heads }, (_, head) => {
        const weights = places.map((place) => {
          const at = ((source[s * positions + place] * positions + place) * heads + head) * keys;
          return softmax(Array.from(values.subarray(at, at + frames[s])));
        });
        return transposed(transposed(weights).map(standard)).map((row) => median(row, width));
      });
      const cost = places.map((_, i) =>
        byHead[0][i].map((_, j) => -byHead.reduce((sum, matrix) => sum + matrix[i][j], 0) / heads),
      );
      const wanted = Array<number>(positions).fill(-7);
      warp(cost).forEach((key, i) => {
        wanted[begin[s] + i] = key;
      });
      expect(Array.from(got.subarray(s * positions, (s + 1) * positions))).toEqual(wanted);
    }
  });

  it('has nothing to say of no positions, and survives scores that are not numbers', async () => {
    const scores = device.tensor('float32', [1, 4, 1, 20], new Float32Array(80).fill(Number.NaN));
    const one = (value: number) => device.tensor('int32', [1], Int32Array.of(value));
    for (const [end, frames] of [
      [0, 20],
      [4, 0],
      [4, 20],
      [99, 99],
    ]) {
      const source = device.tensor('int32', [1, 4], Int32Array.of(0, 5, -1, 0));
      using program = device.record('align', (ops) => {
        ops.alignPositions(scores, { source, begin: one(0), end: one(end), frames: one(frames) });
      });
      await program.run();
    }
  });

  it('refuses a filter of even width', () => {
    const scores = device.tensor('float32', [1, 4, 1, 20]);
    const one = device.tensor('int32', [1]);
    const counted = { source: device.tensor('int32', [1, 4]), begin: one, end: one, frames: one };
    expect(() => device.record('align', (ops) => void ops.alignPositions(scores, counted, { medianWidth: 4 }))).toThrow(
      'alignPositions: expected medianWidth to be an odd number',
    );
  });
});
