/** Edge cases of dynamic time warping over attention scores. test/cases/alignment.ts has the other cases. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import { devices } from './devices.js';

describe.each(devices)('alignment on $name', ({ open }) => {
  let device: Device;
  beforeAll(() => {
    device = open();
  });
  afterAll(() => device.close());

  it('returns nothing for no positions, and handles NaN scores', async () => {
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
