/** Unknown arguments of operations are refused by name, since a misspelled option would have no effect. */
import { describe, expect, it } from 'vitest';
import type { Device } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import { devices } from './devices.js';

describe.each(devices)('arguments of operations on $name', ({ open }) => {
  const refused = (body: (ops: Operations, device: Device) => void): unknown => {
    using device = open();
    try {
      device.record('arguments', (ops) => body(ops, device));
    } catch (error) {
      return error;
    }
    return null;
  };

  it.each([
    ['epsillon', 1e-6, 'a number'],
    ['activaton', 'gelu', 'a string'],
  ])('refuse %s', (name, value, kind) => {
    const error = refused((ops, device) => {
      const x = device.tensor('float32', [2, 8], new Float32Array(16));
      const weight = device.tensor('float32', [4, 8], new Float32Array(32));
      ops.linear(x, weight, { ...{ [name]: value } });
    });
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(`linear: expected ${name} to be absent`),
    });
    expect((error as Error).message).toContain(kind);
  });

  it('refuse a tensor that is only valid together with another', () => {
    const error = refused((ops, device) => {
      const x = device.tensor('float32', [1, 4, 32], new Float32Array(128));
      const heads = device.tensor('int32', [2], new Int32Array(2));
      ops.attention(x, x, x, { heads: 2, ...{ scoreHeads: heads } });
    });
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('attention: expected scoreHeads to be absent'),
    });
  });
});
