/** A start out of range counts as the nearest position, with every algorithm. */
import { describe, expect, it } from 'vitest';
import { attentionVariants } from '../../lib/attention/variants.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { devices } from './devices.js';

const keys = 8;
const [heads, size] = [2, 16];
const width = heads * size;

const wave = (count: number, step: number) => new Float32Array(count).map((_, i) => Math.sin(i * step));

describe.each(devices)('a start below 0 on $name', ({ open }) => {
  it.each(attentionVariants.map(({ name }) => name))('is 0 with %s', async (algorithm) => {
    using device = open();
    for (const [queries, keyValueHeads] of [
      [6, 1],
      [6, heads],
      [1, heads],
    ]) {
      if (algorithm.startsWith('multi-query') && keyValueHeads !== 1) continue;
      const shape = (length: number, columns: number) =>
        algorithm === 'multi-query' ? [length, 1, columns] : [1, length, columns];
      const shared = keyValueHeads * size;
      const of = (length: number, columns: number, step: number) =>
        device.tensor('float32', shape(length, columns), wave(length * columns, step));
      const [query, newKey, newValue] = [of(queries, width, 0.7), of(queries, shared, 0.9), of(queries, shared, 1.7)];
      for (const appends of [false, true]) {
        const from = async (position: number) => {
          const [key, value] = [of(keys, shared, 1.3), of(keys, shared, 2.1)];
          const start = device.tensor('int32', [1], Int32Array.of(position));
          const output = device.tensor('float32', shape(queries, width));
          const append = appends ? { key: newKey, value: newValue } : undefined;
          using program = device.record('attention', (ops) => {
            ops.attention(query, key, value, { heads, keyValueHeads, causal: true, start, append, algorithm, output });
          });
          await program.run();
          return Promise.all([output, key, value].map((tensor) => tensor.toFloat32Array()));
        };
        expect(await from(-4)).toEqual(await from(0));
      }
    }
  });

  it.each([
    [1, heads],
    [1, 1],
    [3, heads],
  ])('is 0 for an int8 cache with %d queries and %d key/value heads', async (queries, keyValueHeads) => {
    using device = open();
    const shared = keyValueHeads * size;
    const of = (columns: number, step: number) =>
      device.tensor('float32', [1, queries, columns], wave(queries * columns, step));
    const [query, append] = [of(width, 0.7), { key: of(shared, 0.9), value: of(shared, 1.7) }];
    const from = async (position: number) => {
      const cache = () =>
        device.tensor(
          'int8',
          [1, keys, shared],
          Int8Array.from({ length: keys * shared }, (_, i) => ((i * 37) % 255) - 127),
        );
      const scales = () => device.tensor('float32', [1, keys, keyValueHeads], wave(keys * keyValueHeads, 0.1));
      const [key, value, cacheScales] = [cache(), cache(), { key: scales(), value: scales() }];
      const start = device.tensor('int32', [1], Int32Array.of(position));
      const output = device.tensor('float32', [1, queries, width]);
      using program = device.record('attention', (ops) => {
        ops.attention(query, key, value, { heads, keyValueHeads, causal: true, start, append, cacheScales, output });
      });
      await program.run();
      const read = (tensor: Tensor) => (tensor.dtype === 'int8' ? tensor.toInt8Array() : tensor.toFloat32Array());
      return Promise.all([output, key, value, cacheScales.key, cacheScales.value].map(read));
    };
    expect(await from(-4)).toEqual(await from(0));
  });
});
