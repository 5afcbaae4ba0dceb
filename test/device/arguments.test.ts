/** Unknown arguments of operations are refused by name, since a misspelled option would have no effect. */
import { describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
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

  it.each([
    ['scale', '1', 'a number but received a string'],
    ['algorithm', 3, 'a string but received a number'],
  ])('refuse a wrong kind of %s', (name, value, kinds) => {
    const error = refused((ops, device) => {
      const x = device.tensor('float32', [1, 4, 32], new Float32Array(128));
      ops.attention(x, x, x, { heads: 2, ...{ [name]: value } });
    });
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining(`attention: expected ${name} to be ${kinds}`),
    });
  });

  it('refuse a tensor that is only valid together with another', () => {
    const error = refused((ops, device) => {
      const x = device.tensor('float32', [1, 4, 32], new Float32Array(128));
      const heads = device.tensor('int32', [2], new Int32Array(2));
      ops.attention(x, x, x, { heads: 2, ...{ scores: { heads } } } as never);
    });
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('attention: expected scores.to to be a tensor but received nothing'),
    });
  });

  it.each([Number.NaN, Number.POSITIVE_INFINITY, -1e39])('refuse the scale %d', (scale) => {
    const error = refused((ops, device) => {
      const x = device.tensor('float32', [1, 4, 32], new Float32Array(128));
      ops.attention(x, x, x, { heads: 2, scale });
    });
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('attention: expected scale to be a finite float32 number'),
    });
  });
});

describe('scratch memory that cannot be counted', () => {
  /** Makes float32 tensors that take no memory yet. */
  type Make = (...shape: number[]) => Promise<Tensor>;
  const cases: Record<string, (make: Make, device: Device) => Promise<(ops: Operations) => void>> = {
    async 'convolution: unfolded inputs of shape [17179868161, 1, 1024]'(make) {
      const [x, weight] = [await make(1, 2 ** 34, 1), await make(1, 1, 1024)];
      return (ops) => ops.convolution(x, weight);
    },
    async 'alignPositions: weights of shape [2097152, 1, 1099511627776]'(make, device) {
      const sequences = 2 ** 21;
      const scores = await make(1, 1, 1, 2 ** 40);
      const one = device.tensor('int32', [sequences]);
      const range = { source: one.reshape([sequences, 1]), begin: one, end: one, frames: one };
      return (ops) => ops.alignPositions(scores, range);
    },
    async 'nextBeams: copies of tokens of shape [2097152, 2097152]'(make, device) {
      const count = 2 ** 21;
      const [logits, tokens] = [await make(count, 2), device.tensor('int32', [1, count])];
      const [rows, one] = [tokens.reshape([count]), tokens.part(0, [1])];
      const state = { length: one, position: one, begin: one, minimum: one, maximum: one, timestamps: one };
      const decoding = { ...state, tokens, logProbability: await make(1, count), finished: one };
      const rules = { suppressed: device.tensor('uint8', [2]), endToken: 1 };
      return (ops) => ops.nextBeams(logits, rules, decoding, { wanted: one } as never, { rows, beams: rows });
    },
  };
  it.each(Object.entries(cases))('%s', async (message, prepare) => {
    for (const { open } of devices) {
      using device = open();
      const make: Make = (...shape) =>
        device.load('float32', shape, [{ elements: shape.reduce((product, size) => product * size, 1) }]);
      const record = await prepare(make, device);
      const error = expect.objectContaining({ code: 'OUT_OF_MEMORY', message: expect.stringContaining(message) });
      expect(() => device.record('huge', record)).toThrow(error);
    }
  });
});

describe('scores that cannot be counted', () => {
  it.each(['multi-head', 'multi-query-1', 'memory-efficient', 'split-kv'] as const)(
    'are refused when %s is recorded',
    async (algorithm) => {
      using device = new Device('cpu');
      const length = 2 ** 31;
      using x = await device.load('float32', [1, length, 1], [{ elements: length }]); // takes no memory yet
      const record = () =>
        device.record('attention', (ops) => {
          ops.attention(x, x, x, { heads: 1, algorithm });
        });
      expect(record).toThrow(expect.objectContaining({ code: 'OUT_OF_MEMORY' }));
      expect(record).toThrow(/scores of shape \[1, 1, 2147483648, 2147483648\] have more than 2\^(40|56) elements/);
    },
  );
});
