/**
 * Sums of attention weights over layers and heads: invalid arguments. test/cases/alignment.ts has the cases of valid
 * ones.
 */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { devices } from './devices.js';

describe.each(devices)('sums of weights on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());
  const integers = (values: number[]) => device.tensor('int32', [values.length], Int32Array.from(values));

  it('refuse scores with other numbers of rows or keys', () => {
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
