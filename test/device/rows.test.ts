/** Operations with chosen rows of a pool: the rows may change between runs, and invalid arguments are refused. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { devices } from './devices.js';
import { random } from './reference.js';

/** Whole numbers below `limit`. */
const below = (count: number, limit: number, seed: number) =>
  Array.from(random(count, seed), (x) => Math.min(limit - 1, Math.floor(((x + 1) / 2) * limit)));

describe.each(devices)('rows of a pool on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  const integers = (values: readonly number[], shape = [values.length]) =>
    device.tensor('int32', shape, Int32Array.from(values));

  it('uses the rows in device memory, which may change between runs', async () => {
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
      const expected = chosen.flatMap((row) => {
        const at = ids[row * capacity] * width;
        return row < 0 ? Array(width).fill(0) : Array.from(values.subarray(at, at + width));
      });
      expect(Array.from(await output.toFloat32Array())).toEqual(expected);
    }
  });

  it('refuses invalid arguments', () => {
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
    expect(refusal(positions, { rows: two, keys: { begin: five, count: two } })).toBe('keys.count');
    expect(refusal(positions, { keys: { begin: two } })).toBe('keys.count');
    expect(refusal(positions, { keys: { begin: two, count: two }, causal: true })).toBe('keys.begin');
    expect(refusal(cache, { rows: two, keys: { begin: five, count: five } })).toBe('key');
    expect(refusal(cache, { rows: two, algorithm: 'multi-head' })).toBe('NOT_SUPPORTED');
    expect(() => device.record('bad', (ops) => ops.scatterRows(query, cache, two))).toThrow('scatterRows: expected to');
  });
});
