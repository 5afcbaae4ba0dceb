import { describe, expect, it } from 'vitest';
import {
  type AttentionCase,
  type AttentionVariantName,
  attentionSymbols,
  attentionVariants,
  chooseAlgorithm,
  notSupportedReasons,
} from '../../lib/attention/variants.js';
import { type NativeDevice, native } from '../../lib/device/native.js';

const names = attentionVariants.map(({ name }) => name);
const decodeStep: AttentionCase = {
  device: 'cpu',
  dtype: 'float32',
  heads: 8,
  keyValueHeads: 1,
  headSize: 64,
  queries: 1,
  keys: 448,
};

/** The code with which the addon itself refuses the case, or undefined. */
async function nativeRefusal(device: NativeDevice, algorithm: AttentionVariantName, given: AttentionCase) {
  const { dtype, heads, keyValueHeads, headSize, queries, keys = 1, causal = false } = given;
  const tensor = (length: number, width: number) =>
    device.createTensor(dtype, algorithm === 'multi-query' ? [length, 1, width] : [1, length, width]);
  const [query, key, value] = [
    tensor(queries, heads * headSize),
    tensor(keys, keyValueHeads * headSize),
    tensor(keys, keyValueHeads * headSize),
  ];
  try {
    const recorder = device.createRecorder();
    recorder.operation('attention', { query, key, value, heads, keyValueHeads, causal, algorithm }, '');
    const program = recorder.finish('case', false);
    await program.prepare();
    program.dispose();
    return undefined;
  } catch (error) {
    return (error as { code: string }).code;
  }
}

describe('attention variants', () => {
  it('explain every letter of their shapes and costs', () => {
    for (const { shapes, cost } of attentionVariants) {
      const letters = [...Object.values(shapes), ...Object.values(cost)].flatMap(
        (text) => text.match(/[a-z]+/gi) ?? [],
      );
      expect(Object.keys(attentionSymbols)).toEqual(expect.arrayContaining(letters));
    }
  });

  it('all support multi-query decoding, in each type of the device', () => {
    for (const name of names) {
      expect(notSupportedReasons(name, decodeStep)).toEqual([]);
      expect(notSupportedReasons(name, { ...decodeStep, dtype: 'bfloat16' })).toEqual([]);
      for (const device of ['cuda', 'cuda:1', 'cuda-emulated']) {
        expect(notSupportedReasons(name, { ...decodeStep, device, dtype: 'float16' })).toEqual([]);
      }
    }
  });

  it('declare whether they return scores, and support block tables, rows of a pool and int8 keys', () => {
    const able = (given: Partial<AttentionCase>) =>
      names.filter((name) => notSupportedReasons(name, { ...decodeStep, ...given }).length === 0);
    expect(able({ scores: true })).toEqual(['multi-head', 'memory-efficient', 'split-kv']);
    expect(able({ indexed: true })).toEqual(['split-kv']);
    expect(able({ pooled: true })).toEqual(['memory-efficient', 'split-kv']);
    expect(able({ pooled: true, scores: true, queries: 3 })).toEqual([]);
    expect(able({ bytes: true })).toEqual(['split-kv']);
  });

  it.each<[string, AttentionVariantName, Partial<AttentionCase>, string[]]>([
    [
      'several key/value heads in multi-query',
      'multi-query',
      { keyValueHeads: 2 },
      ["'multi-query' requires keyValueHeads to be 1, not 2."],
    ],
    ['several key/value heads elsewhere', 'split-kv', { keyValueHeads: 2 }, []],
    [
      'everything at once',
      'multi-query-1',
      { keyValueHeads: 8, dtype: 'float16', headSize: 320 },
      [
        'The CPU computes in float32, bfloat16, not in float16.',
        'Attention on the CPU supports head sizes up to 256, not 320.',
        "'multi-query-1' requires keyValueHeads to be 1, not 8.",
      ],
    ],
    [
      'a head size on CUDA',
      'memory-efficient',
      { device: 'cuda', headSize: 72 },
      ['Attention on CUDA supports head sizes from 16 to 128 in multiples of 16, not 72.'],
    ],
    [
      'an unknown device',
      'multi-head',
      { device: 'tpu' },
      ["There is no device 'tpu', only 'cpu', 'cuda', 'cuda:<number>' and 'cuda-emulated'."],
    ],
    [
      'uneven heads',
      'multi-head',
      { keyValueHeads: 3 },
      ['Expected keyValueHeads to be a divisor of 8 heads but received 3.'],
    ],
    [
      'numbers that are none',
      'multi-head',
      { headSize: 10.5, queries: 0 },
      [
        'headSize is 10.5, which is not a positive whole number.',
        'queries is 0, which is not a positive whole number.',
      ],
    ],
    [
      'more causal queries than keys',
      'split-kv',
      { queries: 449, causal: true },
      ['Expected query to be at most as long as the keys (448) when causal or appending but received 449.'],
    ],
    [
      'more new rows than the cache holds',
      'split-kv',
      { queries: 449, append: true },
      ['Expected query to be at most as long as the keys (448) when causal or appending but received 449.'],
    ],
    ['more queries than keys, all seen', 'split-kv', { queries: 449 }, []],
    [
      'more causal queries than keys that nobody counted',
      'split-kv',
      { queries: 449, causal: true, keys: undefined },
      [],
    ],
  ])('give their reasons: %s', (_, algorithm, change, reasons) => {
    expect(notSupportedReasons(algorithm, { ...decodeStep, ...change })).toEqual(reasons);
  });

  it('match what the CPU supports', async () => {
    const device = new (native().Device)('cpu', { threads: 1 });
    const disagreements: unknown[] = [];
    const between = <T>(key: string, values: T[]) => values.map((value) => ({ [key]: value }));
    for (const algorithm of names)
      for (const dtype of between('dtype', ['float32', 'float16', 'bfloat16']))
        for (const shared of between('keyValueHeads', [6, 4, 2, 1]))
          for (const size of between('headSize', [8, 256, 264]))
            for (const count of [
              { queries: 1, causal: true },
              { queries: 5, causal: false },
              { queries: 5, causal: true },
            ]) {
              const given = { ...decodeStep, heads: 6, keys: 4, ...dtype, ...shared, ...size, ...count };
              const refusal = await nativeRefusal(device, algorithm, given);
              const reasons = notSupportedReasons(algorithm, given);
              if ((refusal === undefined) !== (reasons.length === 0)) {
                disagreements.push({ algorithm, given, refusal, reasons });
              }
            }
    device.close();
    expect(disagreements).toEqual([]);
  });
});

describe("the algorithm that 'auto' takes", () => {
  it('is split-kv for one row and memory-efficient for more, with the reason', () => {
    expect(chooseAlgorithm({ queries: 1 })).toEqual({
      algorithm: 'split-kv',
      reason: expect.stringContaining('one query row'),
    });
    expect(chooseAlgorithm({ queries: 4 })).toEqual({
      algorithm: 'memory-efficient',
      reason: expect.stringContaining('4 query rows'),
    });
  });
});
