/** Attention's weights summed over layers and heads, beside the plainest way to do it. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { devices } from './devices.js';
import { random } from './reference.js';

function softmax(row: readonly number[]): number[] {
  const highest = Math.max(...row);
  const weights = row.map((score) => Math.exp(score - highest));
  const total = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / total);
}

describe.each(devices)('sums of weights on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());
  const integers = (values: number[]) => device.tensor('int32', [values.length], Int32Array.from(values));

  it.each([
    { heads: 3, keys: 100 },
    { heads: 1, keys: 37 },
    { heads: 40, keys: 501 },
  ])('of $heads heads over $keys keys', async ({ heads, keys }) => {
    // Entries are rows 3, none, 0, 2 and 1 of a pool of five; row 2's are not wanted, and row 1's place lies outside.
    const [sources, sequences, positions] = [4, 3, 4];
    const layers = [1, 2].map((seed) => Float32Array.from(random(sources * heads * keys, seed), (value) => 4 * value));
    const old = Float32Array.from(random(sequences * positions * keys, 3));
    const sum = device.tensor('float32', [sequences, positions, keys], old);
    const state = {
      rows: integers([3, -1, 0, 2, 1]),
      from: integers([3, 1, 2, 1, 0]),
      to: integers([2, 1, -1, 0, 0]),
      position: integers([3, 4, 0, 1, 0]),
      keys: integers([keys, keys, keys, Math.floor(keys / 2), keys]),
    };
    using program = device.record('add', (ops) => {
      layers.forEach((values, layer) => {
        const scores = device.tensor('float32', [sources, 1, heads, keys], values);
        ops.addWeights(scores, sum, state, { factor: 0.5, fresh: layer === 0 });
      });
    });
    await program.run();
    const wanted = Array.from(old);
    for (const [source, row, place, counted] of [
      [3, 2, 3, keys],
      [1, 0, 1, Math.floor(keys / 2)],
    ]) {
      const at = (row * positions + place) * keys;
      for (let key = 0; key < keys; ++key) wanted[at + key] = 0;
      for (const values of layers) {
        for (let head = 0; head < heads; ++head) {
          const from = (source * heads + head) * keys;
          softmax(Array.from(values.subarray(from, from + counted))).forEach((weight, key) => {
            wanted[at + key] += 0.5 * weight;
          });
        }
      }
    }
    const got = await sum.toFloat32Array();
    const error = got.reduce((most, value, i) => Math.max(most, Math.abs(value - wanted[i])), 0);
    expect(error).toBeLessThan(1e-5);
  });

  it('are zero where no keys count', async () => {
    const sum = device.tensor('float32', [1, 1, 20], new Float32Array(20).fill(7));
    const scores = device.tensor('float32', [1, 1, 2, 20], new Float32Array(40));
    const one = integers([0]);
    using program = device.record('add', (ops) => {
      ops.addWeights(scores, sum, { from: one, to: one, position: one, keys: one }, { fresh: true });
    });
    await program.run();
    expect(Array.from(await sum.toFloat32Array())).toEqual(new Array(20).fill(0));
  });

  it('refuse scores of other rows or keys', () => {
    const [sum, one] = [device.tensor('float32', [2, 4, 20]), integers([0])];
    const state = { from: one, to: one, position: one, keys: one };
    for (const shape of [
      [2, 2, 2, 20],
      [2, 1, 2, 21],
    ]) {
      const scores = device.tensor('float32', shape);
      expect(() => device.record('add', (ops) => ops.addWeights(scores, sum, state))).toThrow(
        'addWeights: expected scores',
      );
    }
  });
});
