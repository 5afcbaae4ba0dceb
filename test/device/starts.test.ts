/** A start out of range counts as the nearest position, with every algorithm. */
import { describe, expect, it } from 'vitest';
import { attentionVariants } from '../../lib/attention/variants.js';
import { devices } from './devices.js';

const onCpu = devices.filter(({ name }) => name.startsWith('cpu'));

const queries = 6;
const keys = 8;
const width = 16;

describe.each(onCpu)('a start below 0 on $name', ({ open }) => {
  it.each(attentionVariants.map(({ name }) => name))('is 0 with %s', async (algorithm) => {
    using device = open();
    const shape = (length: number) => (algorithm === 'multi-query' ? [length, 1, width] : [1, length, width]);
    const wave = (length: number, step: number) => new Float32Array(length * width).map((_, i) => Math.sin(i * step));
    const query = device.tensor('float32', shape(queries), wave(queries, 0.7));
    const key = device.tensor('float32', shape(keys), wave(keys, 1.3));
    const value = device.tensor('float32', shape(keys), wave(keys, 2.1));
    const from = async (position: number) => {
      const start = device.tensor('int32', [1], Int32Array.of(position));
      const output = device.tensor('float32', shape(queries));
      using program = device.record('attention', (ops) => {
        ops.attention(query, key, value, { heads: 1, causal: true, start, algorithm, output });
      });
      await program.run();
      return output.toFloat32Array();
    };
    expect(await from(-4)).toEqual(await from(0));
  });
});
