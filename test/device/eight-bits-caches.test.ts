/** int8 keys and values on a GPU, with many shapes: caches and attention, compared with the CPU. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { AttentionOptions, Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { difference, type Floating, gpus, quantizedRows } from './eight-bits.js';
import { random, stored } from './reference.js';

interface Cache {
  key: Tensor;
  value: Tensor;
  scales: { key: Tensor; value: Tensor };
}

// The attention kernels do not depend on the difference between the two GPUs.
describe.each(gpus.slice(0, 1))('int8 caches on $name', ({ open }) => {
  let [gpu, cpu] = [undefined as unknown as Device, undefined as unknown as Device];
  beforeAll(() => {
    gpu = open();
    cpu = new Device('cpu', { threads: 1 });
  });
  afterAll(() => {
    gpu.close();
    cpu.close();
  });

  function cacheOf(device: Device, [sequences, positions, heads, size]: number[], filled: boolean): Cache {
    const shape = [sequences, positions, heads * size];
    const one = (seed: number) => {
      const { data, scales } = quantizedRows(sequences * positions * heads, size, seed);
      return filled
        ? ([
            device.tensor('int8', shape, data),
            device.tensor('float32', [sequences, positions, heads], scales),
          ] as const)
        : ([device.tensor('int8', shape), device.tensor('float32', [sequences, positions, heads])] as const);
    };
    const [[key, keyScales], [value, valueScales]] = [one(11), one(21)];
    return { key, value, scales: { key: keyScales, value: valueScales } };
  }

  async function contents({ key, value, scales }: Cache) {
    return [
      await key.toInt8Array(),
      await value.toInt8Array(),
      await scales.key.toFloat32Array(),
      await scales.value.toFloat32Array(),
    ];
  }

  interface Case {
    type: Floating;
    batch: number;
    queries: number;
    keys: number;
    heads: number;
    keyValueHeads: number;
    size: number;
    sequences?: number;
    append?: boolean;
    options?: (device: Device) => Partial<AttentionOptions>;
  }

  /** The output, and the contents of the caches after it. */
  async function run(device: Device, type: Floating, given: Case) {
    const { batch, queries, keys, heads, keyValueHeads, size, sequences = batch, append, options } = given;
    const cache = cacheOf(device, [sequences, keys, keyValueHeads, size], true);
    const numbers = (width: number, seed: number) =>
      device.tensor(type, [batch, queries, width], stored(random(batch * queries * width, seed), given.type));
    const added = append && { key: numbers(keyValueHeads * size, 2), value: numbers(keyValueHeads * size, 3) };
    const output = device.tensor(type, [batch, queries, heads * size]);
    using program = device.record('attention', (ops) => {
      ops.attention(numbers(heads * size, 1), cache.key, cache.value, {
        heads,
        keyValueHeads,
        cacheScales: cache.scales,
        append: added || undefined,
        output,
        ...options?.(device),
      });
    });
    await program.run();
    return { y: await output.toFloat32Array(), cache: await contents(cache) };
  }

  async function check(given: Case) {
    const ours = await run(gpu, given.type, given);
    const theirs = await run(cpu, 'float32', given);
    const named = JSON.stringify(given);
    // There the CPU rounds queries and weights to 16 bits.
    const limit = { float32: 1e-4, float16: 2e-3, bfloat16: 1.5e-2 }[given.type];
    expect(difference(ours.y, theirs.y), named).toBeLessThan(limit);
    expect(ours.cache, named).toEqual(theirs.cache);
  }

  const types: Floating[] = ['float32', 'float16', 'bfloat16'];

  it.each([16, 32, 48, 64, 80, 96, 128])('are read with head size %d, with one to twenty heads', async (size) => {
    for (const [i, [heads, keyValueHeads]] of [
      [1, 1],
      [3, 3],
      [20, 20],
      [20, 1],
      [6, 2],
    ].entries()) {
      if ((i + size / 16) % 3 === 0) continue; // others' turn
      const type = types[(i + size / 16) % 3];
      const keys = [3, 200, 65, 130, 70][i];
      await check({ type, batch: 1 + (i % 2), queries: 1, keys, heads, keyValueHeads, size });
      if (heads < 20 || size < 64) await check({ type, batch: 1, queries: 3, keys, heads, keyValueHeads, size });
    }
  });

  it('are appended to: one row in a step, or a prompt, after rows of other sequences', async () => {
    for (const [i, type] of types.entries()) {
      for (const [heads, keyValueHeads] of [
        [4, 4],
        [4, 1],
      ]) {
        const shape = { type, heads, keyValueHeads, size: 32, keys: 230, append: true };
        const start = (device: Device, ...values: number[]) =>
          device.tensor('int32', [values.length], Int32Array.from(values));
        const causal = (...values: number[]) => ({
          options: (device: Device) => ({ causal: true, start: start(device, ...values) }),
        });
        await check({ ...shape, batch: 2, queries: 1, ...causal(0, 70) });
        await check({ ...shape, batch: 2, queries: 1, ...causal(229, 199 + i) });
        await check({ ...shape, batch: 2, queries: 5, ...causal(3, 66) });
        await check({
          ...shape,
          batch: 2,
          queries: 1,
          options: (device) => ({
            causal: true,
            start: start(device, 100, 100),
            source: device.tensor(
              'int32',
              [2, 230],
              Int32Array.from({ length: 460 }, (_, n) => [1, 0, 7][n % 3]),
            ),
          }),
        });
        await check({
          ...shape,
          batch: 3,
          sequences: 4,
          queries: 1,
          options: (device) => ({
            causal: true,
            start: start(device, 10, 20, 30, 200),
            rows: start(device, 3, -1, 0),
          }),
        });
      }
    }
  });

  it('are a pool of positions, of which entries see ranges, alone or shared with neighbours', async () => {
    for (const type of types) {
      for (const [heads, keyValueHeads] of [
        [4, 4],
        [6, 1],
      ]) {
        const ranges = (begin: number[], count: number[]) => (device: Device) => ({
          keys: {
            begin: device.tensor('int32', [begin.length], Int32Array.from(begin)),
            count: device.tensor('int32', [count.length], Int32Array.from(count)),
          },
        });
        const shape = { type, queries: 1, keys: 400, heads, keyValueHeads, size: 64, sequences: 1 };
        await check({ ...shape, batch: 3, options: ranges([0, 250, -1], [250, 150, 9]) });
        await check({ ...shape, batch: 5, options: ranges([100, 100, 100, 0, 399], [210, 210, 210, 70, 5]) });
      }
    }
  });

  it('return scores', async () => {
    for (const keyValueHeads of [4, 1]) {
      const of = async (device: Device, type: Floating) => {
        const cache = cacheOf(device, [1, 90, keyValueHeads, 16], true);
        const to = device.tensor('float32', [1, 1, 2, 90]);
        const query = device.tensor(type, [1, 1, 64], random(64, 1));
        using program = device.record('scores', (ops) => {
          ops.attention(query, cache.key, cache.value, {
            heads: 4,
            keyValueHeads,
            cacheScales: cache.scales,
            scores: {
              to,
              heads: device.tensor('int32', [4], Int32Array.of(-1, 1, 0, -1)),
              position: device.tensor('int32', [1]),
            },
          });
        });
        await program.run();
        return await to.toFloat32Array();
      };
      expect(difference(await of(gpu, 'float32'), await of(cpu, 'float32'))).toBeLessThan(1e-4);
    }
  });

  it('accept rows of any type and quantize each head separately, like the CPU', async () => {
    for (const [heads, size] of [
      [1, 16],
      [3, 24],
      [20, 64],
      [2, 128],
    ]) {
      const rows = random(2 * 5 * heads * size, 9);
      rows.fill(0, 0, size);
      const scatter = async (device: Device, type: Floating) => {
        const cache = cacheOf(device, [1, 12, heads, size], false);
        const x = device.tensor(type, [2, 5, heads * size], stored(rows, 'bfloat16'));
        const begins = device.tensor('int32', [2], Int32Array.of(6, -1));
        const late = device.tensor('int32', [2], Int32Array.of(0, 9));
        using program = device.record('scatter', (ops: Operations) => {
          ops.scatterRows(x, cache.key, begins, { scales: cache.scales.key });
          ops.scatterRows(x, cache.value, late, { scales: cache.scales.value });
        });
        await program.run();
        return await contents(cache);
      };
      const expected = await scatter(cpu, 'float32');
      for (const type of ['float32', 'bfloat16'] as const) expect(await scatter(gpu, type)).toEqual(expected);
    }
  });

  it('of float16 accept rows of another type', async () => {
    const x = random(2 * 3 * 20, 1);
    for (const [from, to] of [
      ['float32', 'float16'],
      ['bfloat16', 'float32'],
      ['float16', 'bfloat16'],
    ] as const) {
      const rows = gpu.tensor(from, [2, 3, 20], x);
      const cache = gpu.tensor(to, [8, 20]);
      using program = gpu.record('scatter', (ops) => {
        ops.scatterRows(rows, cache, gpu.tensor('int32', [2], Int32Array.of(4, 0)));
      });
      await program.run();
      const given = stored(stored(x, from), to);
      const actual = await cache.toFloat32Array();
      expect(actual.subarray(0, 60)).toEqual(given.subarray(60));
      expect(actual.subarray(80, 140)).toEqual(given.subarray(0, 60));
    }
  });
});
