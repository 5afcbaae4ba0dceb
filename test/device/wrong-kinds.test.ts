/** Values of a wrong kind are refused with the project's error and one sentence, whatever the place. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { type AttentionCase, chooseAlgorithm, notSupportedReasons } from '../../lib/attention/variants.js';
import { Device } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import type { Program } from '../../lib/device/program.js';
import { Tensor } from '../../lib/device/tensor.js';
import { OneheadError } from '../../lib/errors.js';

const wrong: unknown[] = [
  undefined,
  null,
  5,
  -1.5,
  Number.NaN,
  'x',
  true,
  1n,
  Symbol('s'),
  [],
  [null],
  {},
  Object.create(null),
  new Date(0),
  new Float64Array(3),
  () => {},
  Object.create(Tensor.prototype),
];

/** The paths of the values within plain objects and lists. */
function pathsOf(value: unknown): string[][] {
  const isPlain = Array.isArray(value) || Object.getPrototypeOf(value ?? 0) === Object.prototype;
  const inner = isPlain ? Object.entries(value as object) : [];
  return [[], ...inner.flatMap(([name, one]) => pathsOf(one).map((path) => [name, ...path]))];
}
function replaced(value: unknown, [name, ...path]: string[], by: unknown): unknown {
  if (name === undefined) return by;
  const copy = (Array.isArray(value) ? [...value] : { ...(value as object) }) as Record<string, unknown>;
  copy[name] = replaced(copy[name], path, by);
  return copy;
}

type Call = (...values: never[]) => unknown;

/** Calls with nothing, and with each wrong value in each place. Describes the errors that are not the project's. */
async function faults(call: Call, values: readonly unknown[]): Promise<string[]> {
  const places = values.flatMap((value, i) => pathsOf(value).map((path) => [String(i), ...path]));
  const calls = places.flatMap((place) =>
    wrong.map((one) => [place.join('.'), one, replaced(values, place, one) as unknown[]] as const),
  );
  const found: string[] = [];
  for (const [place, one, given] of [['nothing', undefined, []] as const, ...calls]) {
    try {
      await call(...(given as never[]));
    } catch (error) {
      const isOwn = error instanceof OneheadError && /^[^\n]+\.$/.test(error.message);
      if (!isOwn) found.push(`${place}: ${typeof one}: ${error}`);
    }
  }
  return found;
}

describe('values of a wrong kind', () => {
  let device: Device;
  let tensors: Record<string, Tensor>;
  let program: Program;
  beforeAll(() => {
    device = new Device('cpu', { threads: 1 });
    const f = (...shape: number[]) => device.tensor('float32', shape);
    tensors = { x: f(1, 4, 32), y: f(1, 4, 32), row: f(32), weight: f(16, 32), index: device.tensor('int32', [1]) };
    program = device.record('copy', (ops) => {
      ops.copy(tensors.x, { output: tensors.y });
    });
  });
  afterAll(() => device.close());

  const operation =
    (name: keyof Operations) =>
    (...values: never[]) => {
      device.record('one', (ops) => {
        (ops[name] as Call)(...values);
      });
    };
  const norm = () => ({ weight: tensors.row, bias: tensors.row, epsilon: 1e-5 });
  const data = new Float32Array(4);
  const { signal } = new AbortController();
  const cases: Record<string, () => [Call, unknown[]]> = {
    'new Device': () => [(...values) => new Device(...(values as [])).close(), ['cpu', { threads: 1 }]],
    'Device.tensor': () => [(...v) => device.tensor(...(v as never as [never, never])), ['float32', [4], data]],
    'Device.load': () => [
      (...v) => device.load(...(v as never as [never, never, never])),
      ['float32', [4], [{ elements: 4, file: undefined, scales: { offset: 0, dtype: 'float32', each: 1 } }]],
    ],
    'Device.quantize': () => [
      (...v) => device.quantize(...(v as never as [never, never])),
      [[2, 2], [{ elements: 4, file: undefined }]],
    ],
    'Device.record': () => [
      (...v) => device.record(...(v as never as [never, never])),
      ['x', () => {}, { poison: true }],
    ],
    'Device.copy': () => [
      (...v) => device.copy(...(v as never as [never, never])),
      [tensors.x, tensors.y, { fromElement: 0, toElement: 0, count: 1 }],
    ],
    'Device.transfer': () => [
      (...v) => device.transfer(...(v as never as [never])),
      [{ writes: [[tensors.x, data, 0]], reads: [[tensors.x, 0, 4]] }],
    ],
    'Device.owns': () => [(...v) => device.owns(...(v as never as [never])), [tensors.x]],
    'Tensor.write': () => [(...v) => tensors.x.write(...(v as never as [never])), [data, 0]],
    'Tensor.toFloat32Array': () => [(...v) => tensors.x.toFloat32Array(...v), [0, 4]],
    'Tensor.columns': () => [(...v) => tensors.x.columns(...(v as never as [never, never])), [0, 4]],
    'Tensor.part': () => [(...v) => tensors.x.part(...(v as never as [never, never])), [0, [4]]],
    'Tensor.reshape': () => [(...v) => tensors.x.reshape(...(v as never as [never])), [[128]]],
    'Program.run': () => [
      (...v) => program.run(...(v as [])),
      [{ times: 1, until: { flags: tensors.index, when: 'any', most: 1 }, signal, stop: signal }],
    ],
    'Program.submit': () => [
      (...v) => program.submit(...(v as [])).done,
      [
        {
          times: 1,
          until: { flags: tensors.index, when: 'any' },
          rows: [tensors.x],
          writes: [[tensors.x, data, 0]],
          reads: [[tensors.y, 0, 4]],
        },
      ],
    ],
    'Program.time': () => [(...v) => program.time(...v), [1]],
    'Program.trace': () => [(...v) => program.trace(...v), [1]],
    'Operations.scope': () => [operation('scope'), ['x', () => {}]],
    'Operations.copy': () => [operation('copy'), [tensors.x, { output: tensors.y }]],
    'Operations.layerNorm': () => [operation('layerNorm'), [tensors.x, norm(), { dtype: 'float32' }]],
    'Operations.linear': () => [
      operation('linear'),
      [tensors.x, tensors.weight, { norm: norm(), activation: 'gelu', quantized: false }],
    ],
    'Operations.attention': () => [
      operation('attention'),
      [
        tensors.x,
        tensors.x,
        tensors.x,
        {
          heads: 2,
          causal: true,
          start: tensors.index,
          append: { key: tensors.y, value: tensors.y },
          scale: 1,
          algorithm: 'split-kv',
          scores: undefined,
          keys: undefined,
          cacheScales: undefined,
        },
      ],
    ],
    'Operations.logMel': () => [operation('logMel'), [tensors.x, tensors.row, tensors.weight, tensors.row, { hop: 4 }]],
    'Operations.embed': () => [
      operation('embed'),
      [tensors.index, tensors.index, tensors.weight, tensors.weight, { count: 1, rows: tensors.index }],
    ],
    'Operations.scatterRows': () => [operation('scatterRows'), [tensors.x, tensors.y, tensors.index, {}]],
    'Operations.addWeights': () => [
      operation('addWeights'),
      [tensors.x, tensors.y, { rows: tensors.index }, { factor: 1, fresh: false }],
    ],
    'Operations.nextToken': () => [
      operation('nextToken'),
      [tensors.weight, { endToken: 1 }, { tokens: tensors.index }, { seed: tensors.index }, { beams: tensors.index }],
    ],
    notSupportedReasons: () => [
      notSupportedReasons as Call,
      [
        'split-kv',
        { device: 'cpu', dtype: 'float32', heads: 1, keyValueHeads: 1, headSize: 8, queries: 1 } as AttentionCase,
      ],
    ],
    chooseAlgorithm: () => [chooseAlgorithm as Call, [{ queries: 1 }]],
  };
  it.each(Object.entries(cases))('are refused by %s', async (_, caseOf) => {
    expect(await faults(...caseOf())).toEqual([]);
  });

  it.each([
    ['keys', { keys: { begin: 'index', count: 'index', longest: 2.5 } }, 'keys.longest to be a whole number'],
    ['keys', { keys: { begin: 'index' } }, 'keys.count to be given together with keys.begin'],
    ['keys', { keys: { begin: 'index', count: 'index', longset: 2 } }, 'keys.longset to be absent'],
    ['keys', { keys: 5 }, 'keys to be an object but received 5'],
    ['append', { append: { key: 'x' } }, 'append.value to be given together with append.key'],
    ['scores', { scores: { heads: 'index' } }, 'scores.to to be a tensor but received nothing'],
  ])('of %s are named as the caller wrote them: %o', (_, options, message) => {
    const named = JSON.parse(JSON.stringify(options), (_, value) => tensors[value] ?? value);
    const record = () =>
      device.record('attention', (ops) => {
        ops.attention(tensors.x, tensors.x, tensors.x, { heads: 2, ...named });
      });
    expect(record).toThrow(`attention: expected ${message}`);
  });
});
