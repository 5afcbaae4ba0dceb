import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { AttentionAlgorithm, AttentionOptions } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { OneheadError } from '../../lib/errors.js';

let device: Device;
beforeAll(() => {
  device = new Device('cpu', { threads: 2 });
});
afterAll(() => device.close());

/** The error with which attention is refused while it is recorded. */
function refusal(query: Tensor, key: Tensor, options: AttentionOptions): OneheadError {
  try {
    device.record('case', (ops) => void ops.attention(query, key, key, options));
  } catch (error) {
    expect(error).toBeInstanceOf(OneheadError);
    return error as OneheadError;
  }
  throw new Error('expected an error');
}

describe('an unsupported case', () => {
  it('gives the case, every reason, and the algorithms that support it', () => {
    const [query, key] = [device.tensor('float32', [5, 2, 96]), device.tensor('float32', [9, 2, 48])];
    expect(refusal(query, key, { heads: 4, keyValueHeads: 2, algorithm: 'multi-query' })).toMatchObject({
      code: 'NOT_SUPPORTED',
      operation: 'attention',
      received: 'float32, queries 5, keys 9, heads 4, key/value heads 2, head size 24',
      message:
        "attention: 'multi-query' on 'cpu' cannot compute this case (float32, queries 5, keys 9, heads 4, key/value heads 2, head size 24). " +
        "'multi-query' requires keyValueHeads to be 1, not 2. " +
        "Algorithms that can: 'multi-head', 'memory-efficient', 'split-kv'; they take tensors as [batch, length].",
    });
  });

  it('names the algorithm that auto chose, and no alternatives if there are none', () => {
    const [query, key] = [device.tensor('float16', [1, 1, 640]), device.tensor('float16', [1, 7, 640])];
    expect(refusal(query, key, { heads: 2 }).message).toBe(
      "attention: 'split-kv' on 'cpu' cannot compute this case (float16, queries 1, keys 7, heads 2, key/value heads 2, head size 320). " +
        'The CPU computes in float32, bfloat16, not in float16. ' +
        'Attention on the CPU supports head sizes up to 256, not 320.',
    );
  });

  it("gives every algorithm's reasons where none would do", () => {
    const [query, key] = [device.tensor('float32', [1, 3, 32]), device.tensor('float32', [1, 7, 32])];
    const [rows, heads, position] = [[1], [2], [3]].map((shape) => device.tensor('int32', shape));
    const scores = { to: device.tensor('float32', [3, 1, 1, 7]), heads, position };
    const { message } = refusal(query, key, { heads: 2, rows, scores });
    for (const name of ['memory-efficient', 'split-kv', 'multi-head', 'multi-query', 'multi-query-1']) {
      expect(message).toContain(` '${name}' `);
    }
    expect(message).toMatch(/'split-kv' outputs scores from rows of a pool for one query per entry only, not for 3/);
    expect(message).toMatch(/'multi-head' does not support rows or ranges of a pool/);
  });

  it('makes auto choose the next algorithm if the preferred one does not support it', async () => {
    const keys = device.tensor('float32', [1, 7, 16]);
    using program = device.record('reordered', (ops) => {
      const start = device.tensor('int32', [1], Int32Array.of(2));
      const source = device.tensor('int32', [1, 7]);
      const query = device.tensor('float32', [1, 3, 16]);
      ops.attention(query, keys, keys, { heads: 2, causal: true, start, source });
    });
    expect(await program.run()).toBe(1);
  });

  it('leaves the program unchanged, so that another algorithm can be recorded', async () => {
    const [query, key] = [device.tensor('float32', [1, 1, 16]), device.tensor('float32', [1, 3, 16])];
    using program = device.record('fallback', (ops) => {
      expect(() => ops.attention(query, key, key, { heads: 2, algorithm: 'multi-query-1' })).toThrow('multi-head');
      ops.attention(query, key, key, { heads: 2, algorithm: 'multi-head' });
    });
    expect(await program.run()).toBe(1);
  });
});

describe('invalid arguments', () => {
  const wrong = 'fast' as AttentionAlgorithm;
  it.each<[string, number[], number[], 'float32' | 'int32', AttentionOptions, object]>([
    ['heads', [1, 1, 16], [1, 3, 16], 'float32', { heads: 3 }, { code: 'INVALID_SHAPE', argument: 'query' }],
    [
      'key/value heads',
      [1, 1, 16],
      [1, 3, 16],
      'float32',
      { heads: 4, keyValueHeads: 3 },
      { code: 'INVALID_ARGUMENT', argument: 'keyValueHeads' },
    ],
    ['dimensions', [1, 16], [3, 16], 'float32', { heads: 4 }, { code: 'INVALID_SHAPE', argument: 'query' }],
    ['types', [1, 1, 16], [1, 3, 16], 'int32', { heads: 4 }, { code: 'INVALID_DTYPE', argument: 'query' }],
    [
      'lengths',
      [1, 4, 16],
      [1, 3, 16],
      'float32',
      { heads: 4, causal: true },
      { code: 'INVALID_SHAPE', argument: 'query' },
    ],
    [
      'names',
      [1, 1, 16],
      [1, 3, 16],
      'float32',
      { heads: 4, algorithm: wrong },
      {
        code: 'INVALID_ARGUMENT',
        argument: 'algorithm',
        message:
          "attention: expected algorithm to be one of 'auto', 'multi-head', 'multi-query', 'multi-query-1', 'memory-efficient', " +
          "'split-kv' but received 'fast'.",
      },
    ],
  ])('are named: %s', (_, query, key, dtype, options, error) => {
    expect(refusal(device.tensor(dtype, query), device.tensor(dtype, key), options)).toMatchObject(error);
  });

  it('are named: values that are not tensors', () => {
    const key = device.tensor('float32', [1, 3, 16]);
    expect(refusal(undefined as unknown as Tensor, key, { heads: 4 })).toMatchObject({ argument: 'query' });
    expect(refusal(key, undefined as unknown as Tensor, { heads: 4 })).toMatchObject({ argument: 'key' });
  });
});

describe('memory of an algorithm', () => {
  const [batch, length, heads, size] = [2, 300, 4, 16];
  const matrix = 4 * batch * length * length * heads; // float32 scores
  // A CPU without AVX-512 widens the bfloat16 weights to float32 for the second product. For AMX, oneDNN packs operands.
  const { available } = Device.information().cpu;
  const halves = available.includes('avx512-amx') ? 1.6 : available.includes('avx512') ? 1.55 : 2.6;
  it.each<[AttentionAlgorithm, 'float32' | 'bfloat16', number, number]>([
    ['multi-query', 'float32', matrix, 1.05 * matrix],
    ['multi-query-1', 'float32', matrix, 1.05 * matrix],
    ['multi-query', 'bfloat16', 1.5 * matrix, halves * matrix],
    ['multi-query-1', 'bfloat16', 1.5 * matrix, halves * matrix],
    ['memory-efficient', 'float32', 0, 0.05 * matrix],
  ])('%s in %s is the score matrix that it declares to hold', async (algorithm, dtype, minBytes, maxBytes) => {
    using fresh = new Device('cpu', { threads: 2 });
    const tensor = (width: number) =>
      fresh.tensor(dtype, algorithm === 'multi-query' ? [length, batch, width] : [batch, length, width]);
    const [query, key, value, output] = [tensor(heads * size), tensor(size), tensor(size), tensor(heads * size)];
    const before = fresh.memory().inUse;
    using program = fresh.record('case', (ops) => {
      ops.attention(query, key, value, { heads, keyValueHeads: 1, algorithm, output });
    });
    await program.run();
    const held = fresh.memory().inUse - before;
    expect(held).toBeGreaterThanOrEqual(minBytes);
    expect(held).toBeLessThan(maxBytes);
  });
});
