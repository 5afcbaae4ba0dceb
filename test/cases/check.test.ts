/** Tests that the comparison of cases finds every kind of error. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { type Expected, type Make, type OperationCase, operationCase, within } from './case.js';
import { faults } from './check.js';
import { families } from './index.js';

it.each(Object.entries(families))('%s: all names of cases are distinct', (_, { checked, timed }) => {
  const names = [...checked, ...timed(1), ...timed(8)].map(({ operation, name }) => `${operation}: ${name}`);
  expect(names.filter((name, i) => names.indexOf(name) !== i)).toEqual([]);
});

describe('a case', () => {
  let device: Device;
  beforeAll(() => {
    device = new Device('cpu', { threads: 1 });
  });
  afterAll(() => device.close());

  /** A copy of [2, 4, 6] with these expected results. */
  const copy = (expected: Expected | undefined, record?: OperationCase['record']): OperationCase =>
    operationCase({
      operation: 'copy',
      name: 'of three',
      operands: (make: Make) => ({ x: make.floats([3], [2, 4, 6]), y: make.output([3]) }),
      record: record ?? ((ops, { x, y }) => void ops.copy(x, { output: y })),
      expected: () => ({ y: expected }),
    });
  const tolerance = within(1e-3, 1e-3);

  it('passes if all results are correct', async () => {
    expect(await faults(device, copy({ values: [2, 4, 6] }), 'float32')).toEqual([]);
    expect(await faults(device, copy({ values: [2, 4, 6.001], tolerance }), 'float32')).toEqual([]);
    expect(await faults(device, copy({ values: [2, 4, 6.1], maximumError: 0.2 }), 'float32')).toEqual([]);
  });

  it('fails if a number differs, or is NaN on one side only', async () => {
    const found = async (expected: Expected) => (await faults(device, copy(expected), 'float32')).join();
    expect(await found({ values: [2, 4, 7] })).toBe('y holds 6 instead of 7 at element 2');
    expect(await found({ values: [2, 4, Number.NaN] })).toBe('y holds 6 instead of NaN at element 2');
    expect(await found({ values: [2, 4, 6.1], tolerance })).toContain('y is off by 1.3');
    expect(await found({ values: [2, 4, 0], tolerance: () => 9, zeros: true })).toContain('instead of 0 at element 2');
    expect(await found({ values: [2, 4, 6.1], maximumError: 0.05 })).toContain('y holds 6 instead of 6.1');
    expect(await found({ values: [2, 4] })).toBe('y has 3 elements, 2 are expected');
    const nothing = copy({ values: [2, 4, 6], tolerance }, (ops, { x }) => void ops.copy(x as Tensor));
    expect((await faults(device, nothing, 'float32')).join()).toContain('y is off by Infinity'); // it is still NaN
  });

  it('fails if other memory was written', async () => {
    expect((await faults(device, copy(undefined), 'float32')).join()).toBe(
      'y was not to be touched, and holds 2 instead of NaN at element 0',
    );
  });

  it('throws the device’s errors', async () => {
    const refused = copy({ values: [] }, (ops, { x, y }) => void ops.linear(x as Tensor, y as Tensor));
    await expect(faults(device, refused, 'float32')).rejects.toMatchObject({ code: 'INVALID_SHAPE' });
  });
});
