/** Values of a wrong kind are refused by the profiler's functions with the project's error and one sentence. */
import { describe, expect, it } from 'vitest';
import { OneheadError } from '../../lib/errors.js';
import * as profiler from '../../lib/profiler/index.js';

const { ioModel } = profiler;
const config = profiler.whisperConfig('tiny');
const shape = ioModel.decoderShape(config);

const wrong = [null, 5.5, 'x', true, 1n, Symbol('s'), [null], {}, Object.create(null), new Date(0), () => {}];

/** Each function with valid arguments, of which the first `count` are replaced in turn. */
const calls: [name: string, call: (...values: never[]) => unknown, values: readonly unknown[], count?: number][] = [
  ['attention', profiler.attention, [{}]],
  ['statistics', profiler.statistics, [[1]]],
  ['compare', profiler.compare, [[], []]],
  ['toCsv', profiler.toCsv, [[]]],
  ['readResults', profiler.readResults, ['/none']],
  ['writeResults', (results) => profiler.writeResults('/none/results.json', results), [[]]],
  ['writeReport', (results) => profiler.writeReport('/proc/none', results), [[]]],
  ['profile', profiler.profile, ['nothing']],
  ['whisperConfig', profiler.whisperConfig, ['tiny']],
  ['withKeyValueHeads', profiler.withKeyValueHeads, [config, [], 1], 1],
  ['ioModel.attention', ioModel.attention, [{}]],
  ['ioModel.decoding', ioModel.decoding, [{}, 1]],
  ['ioModel.einsum', ioModel.einsum, ['a->a', { a: 1 }]],
  ['ioModel.decoderShape', ioModel.decoderShape, [config]],
  ['ioModel.decodeStep', ioModel.decodeStep, [shape, { batch: 1, position: 1 }]],
  [
    'ioModel.decodeStep of layers',
    (layers) => ioModel.decodeStep({ ...shape, layers }, { batch: 1, position: 1 }),
    [1],
  ],
  ['ioModel.crossCache', ioModel.crossCache, [shape, { batch: 1 }]],
  ['ioModel.encoder', ioModel.encoder, [config, { batch: 1 }]],
  ['ioModel.parameters', ioModel.parameters, [config]],
  ['ioModel.caches', ioModel.caches, [config]],
  ['ioModel.decoderOnlyParameters', ioModel.decoderOnlyParameters, [shape]],
  ['ioModel.storageOf', ioModel.storageOf, [{}, 1], 1],
  ['ioModel.memoryBytes', ioModel.memoryBytes, [{}]],
  ['ioModel.floor', ioModel.floor, [{}, {}]],
  ['ioModel.floorOf', ioModel.floorOf, [[{}], {}]],
];

describe('values of a wrong kind are refused by', () => {
  it.each(calls)('%s', async (_, call, values, count = values.length) => {
    const all = Array.from({ length: count }, (_, i) => wrong.map((one) => values.with(i, one))).flat();
    for (const given of [[], ...all]) {
      const error = await (async () => call(...(given as never[])))().catch((caught: unknown) => caught);
      expect(error).toBeInstanceOf(OneheadError);
      expect((error as Error).message).toMatch(/^[^\n]+\.$/);
    }
  });
});
