/** Attention fused with its projection gives the results of the two operations. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import { type NativeRecorder, type NativeWrite, nativeOf } from '../../lib/device/native.js';
import { Operations } from '../../lib/device/operations.js';
import { Tensor } from '../../lib/device/tensor.js';
import { cudaKind, hasCuda } from './devices.js';
import { random, relativeError, stored } from './reference.js';

const tolerances = { float32: 1e-5, float16: 1e-2, bfloat16: 1e-2 } as const;

/** Heads, key/value heads, head size, width of x; batches. */
const shapes = (
  [
    [[1, 1, 64, 64], 1, 5],
    [[2, 2, 64, 384], 1, 2, 3, 5, 8],
    [[4, 1, 32, 128], 2],
    [[6, 6, 16, 96], 3, 8],
    [[20, 20, 64, 1280], 1],
    [[3, 1, 128, 544], 5, 7],
    [[4, 2, 80, 1184], 1, 8],
    [[2, 1, 112, 32], 2],
  ] as const
).flatMap(([shape, ...batches]) => batches.map((batch) => ({ batch, shape })));

describe.skipIf(!hasCuda)('attention fused with its projection', () => {
  let device: Device;
  beforeAll(() => {
    process.env.ONEHEAD_CUDA_FUSION = 'always';
    try {
      device = new Device(cudaKind);
    } finally {
      delete process.env.ONEHEAD_CUDA_FUSION;
    }
  });
  afterAll(() => device.close());

  const integers = (values: readonly number[], shape = [values.length]) =>
    device.tensor('int32', shape, Int32Array.from(values));
  const filled = (dtype: 'float32' | 'float16' | 'bfloat16', shape: number[], seed: number, scale = 1) => {
    const values = random(
      shape.reduce((a, b) => a * b, 1),
      seed,
    ).map((x) => x * scale);
    return device.tensor(dtype, shape, stored(values, dtype));
  };
  async function run(body: (ops: Operations) => void): Promise<void> {
    using program = device.record('projected', body, { poison: true });
    const [first] = await program.trace();
    // Separate kernels are parts of the operation in traces.
    if (first.name === 'projectedAttention') expect(first.parts).toBeUndefined();
  }
  const given = (dtype: 'float32' | 'float16' | 'bfloat16', batch: number, outputs: number, width: number) => ({
    x: filled('float32', [batch, 1, width], 1, 3),
    projection: {
      weight: filled(dtype, [outputs, width], 2, 2 / Math.sqrt(width)),
      bias: filled('float32', [outputs], 3),
      norm: { weight: filled('float32', [width], 4), bias: filled('float32', [width], 5) },
    },
  });
  const read = (tensors: Tensor[]) => Promise.all(tensors.map((tensor) => tensor.toFloat32Array()));
  function expectSame(got: Float32Array[], wanted: Float32Array[], tolerance: number) {
    got.forEach((values, i) => {
      expect(relativeError(values, wanted[i])).toBeLessThan(tolerance);
    });
  }

  describe.each(['float32', 'float16', 'bfloat16'] as const)('in %s', (dtype) => {
    const tolerance = tolerances[dtype];

    it.each(shapes)(
      'appends to caches of its rows: batch $batch, $shape',
      async ({ batch, shape: [heads, keyValueHeads, headSize, width] }) => {
        const [pool, keys, shared] = [batch + 2, 330, keyValueHeads * headSize];
        const { x, projection } = given(dtype, batch, heads * headSize + 2 * shared, width);
        const rows = Array.from({ length: batch }, (_, b) => (b === 3 ? -1 : (b * 2 + 1) % pool));
        const used = new Set<number>();
        const distinct = rows.map((row) => {
          let free = row;
          while (free >= 0 && used.has(free)) free = (free + 1) % pool;
          used.add(free);
          return free;
        });
        const starts = Array.from({ length: pool }, (_, row) => [64, 0, 300, 7, 329, 17, 260, 31, 128, 2][row]);
        const outputs: Tensor[][] = [];
        for (const fused of [true, false]) {
          const [key, value] = [filled(dtype, [pool, keys, shared], 6), filled(dtype, [pool, keys, shared], 7)];
          const output = device.tensor(dtype, [batch, 1, heads * headSize]);
          const options = {
            heads,
            keyValueHeads,
            causal: true,
            start: integers(starts),
            rows: integers(distinct),
            output,
          };
          await run((ops) => {
            if (fused) {
              expect(ops.projectedAttention(x, projection, key, value, { ...options, append: true }).shape).toEqual(
                output.shape,
              );
              return;
            }
            const all = ops.linear(x, projection.weight, projection);
            const at = heads * headSize;
            const append = { key: all.columns(at, shared), value: all.columns(at + shared, shared) };
            ops.attention(all.columns(0, at), key, value, { ...options, append, algorithm: 'split-kv' });
          });
          outputs.push([output, key, value]);
        }
        const [got, wanted] = await Promise.all(outputs.map(read));
        expectSame(got, wanted, tolerance);
        // Rows that are not appended are unchanged.
        expect(relativeError(got[1], wanted[1])).toBeLessThan(tolerance);
        if (batch > 3) {
          const idle = got[0].subarray(3 * heads * headSize, 4 * heads * headSize);
          expect(idle.every((element) => element === 0)).toBe(true);
        }
      },
    );

    it.each(shapes)(
      'sees ranges of a pool, some of them shared, and gives out scores: batch $batch, $shape',
      async ({ batch, shape: [heads, keyValueHeads, headSize, width] }) => {
        const [pool, positions, shared] = [batch + 1, 700, keyValueHeads * headSize];
        const { x, projection } = given(dtype, batch, heads * headSize, width);
        const [key, value] = [filled(dtype, [1, positions, shared], 6), filled(dtype, [1, positions, shared], 7)];
        const row = (values: number[]) => integers(Array.from({ length: pool }, (_, r) => values[r % values.length]));
        const keys = { begin: row([10, 10, 400, -1, 680]), count: row([390, 390, 1, 5, 90]) };
        const rows = integers(Array.from({ length: batch }, (_, b) => (b === 5 ? pool : b + 1)));
        const chosen = Int32Array.from({ length: heads }, (_, h) => (h % 2 ? -1 : h / 2));
        const outputs: Tensor[][] = [];
        for (const fused of [true, false]) {
          const output = device.tensor(dtype, [batch, 1, heads * headSize]);
          const to = device.tensor('float32', [pool, 2, Math.ceil(heads / 2), 300]);
          const scores = {
            to,
            heads: integers([...chosen]),
            position: row([1, 0, 2, 1]),
            row: row([0, 1, 2, 3, 4, 5, 6, 7, 8]),
          };
          const options = { heads, keyValueHeads, rows, keys, scores, output, algorithm: 'split-kv' } as const;
          await run((ops) => {
            if (fused) ops.projectedAttention(x, projection, key, value, options);
            else ops.attention(ops.linear(x, projection.weight, projection), key, value, options);
          });
          outputs.push([output, to]);
        }
        const [got, wanted] = await Promise.all(outputs.map(read));
        expectSame(got, wanted, tolerance);
      },
    );

    it('reads a cache through a block table, over several replays', async () => {
      const [batch, keys, heads, headSize, width] = [4, 90, 2, 64, 128];
      const { x, projection } = given(dtype, batch, 3 * heads * headSize, width);
      const source = integers(
        Array.from({ length: batch * keys }, (_, i) => (i * 7) % batch),
        [batch, keys],
      );
      const outputs: Tensor[][] = [];
      for (const fused of [true, false]) {
        const shared = heads * headSize;
        const [key, value] = [filled(dtype, [batch, keys, shared], 6), filled(dtype, [batch, keys, shared], 7)];
        const output = device.tensor(dtype, [batch, 1, shared]);
        const options = { heads, causal: true, start: integers([60, 60, 60, 60]), source, output };
        using program = device.record('replays', (ops) => {
          if (fused) return void ops.projectedAttention(x, projection, key, value, { ...options, append: true });
          const all = ops.linear(x, projection.weight, projection);
          const append = { key: all.columns(shared, shared), value: all.columns(2 * shared, shared) };
          ops.attention(all.columns(0, shared), key, value, { ...options, append, algorithm: 'split-kv' });
        });
        await program.run({ times: 3 });
        outputs.push([output, key, value]);
      }
      const [got, wanted] = await Promise.all(outputs.map(read));
      expectSame(got, wanted, tolerance);
    });
  });

  it('is one operation where supported, and otherwise two', () => {
    const { x, projection } = given('float16', 1, 64, 64);
    const [key, value] = [filled('float16', [1, 9, 64], 6), filled('float16', [1, 9, 64], 7)];
    const names = (body: (ops: Operations) => void) => {
      using program = device.record('names', body);
      return program.operations.map(({ name }) => name);
    };
    expect(names((ops) => ops.projectedAttention(x, projection, key, value, { heads: 1 }))).toEqual([
      'projectedAttention',
    ]);
    const plain = { ...projection, norm: undefined };
    expect(names((ops) => ops.projectedAttention(x, plain, key, value, { heads: 1 }))).toEqual(['linear', 'attention']);
    const several = filled('float32', [1, 3, 64], 8);
    expect(names((ops) => ops.projectedAttention(several, projection, key, value, { heads: 1 }))).toEqual([
      'linear',
      'attention',
    ]);
  });

  it('names the invalid argument', () => {
    const { x, projection } = given('float16', 1, 64, 64);
    const [key, value] = [filled('float16', [1, 9, 64], 6), filled('float16', [1, 9, 32], 7)];
    const attempt = () =>
      device.record('wrong', (ops) => ops.projectedAttention(x, projection, key, value, { heads: 1 }));
    expect(attempt).toThrow(/^projectedAttention: expected value to be \[1, 9, 64\] but received \[1, 9, 32\]/);
    const appends = () =>
      device.record('wrong', (ops) => ops.projectedAttention(x, projection, key, key, { heads: 1, append: true }));
    expect(appends).toThrow(/^projectedAttention: expected weight/);
  });

  it('refuses an unknown value of ONEHEAD_CUDA_FUSION', () => {
    process.env.ONEHEAD_CUDA_FUSION = 'sometimes';
    try {
      expect(() => new Device(cudaKind)).toThrow(
        "Expected the environment variable ONEHEAD_CUDA_FUSION to be 'auto', 'always' or 'never' but received 'sometimes'.",
      );
    } finally {
      delete process.env.ONEHEAD_CUDA_FUSION;
    }
  });
});

it('projected attention is two operations on a device without a fused kernel', async () => {
  const device = new (nativeOf('cpu').Device)('cpu', { threads: 1 });
  const values: NativeWrite[] = [];
  const filled = (shape: number[], seed: number) => {
    const tensor = new Tensor(device.createTensor('float32', shape));
    values.push([tensor.native, random(tensor.size, seed), 0]);
    return tensor;
  };
  const [x, weight] = [filled([2, 1, 32], 1), filled([16, 32], 2)];
  const [key, value] = [filled([2, 9, 16], 3), filled([2, 9, 16], 4)];
  const norm = { weight: filled([32], 5), bias: filled([32], 6) };
  const outputs = [filled([2, 1, 16], 7), filled([2, 1, 16], 8)];
  await device.transfer(values, []);
  // Recording for a GPU makes one operation of the two.
  for (const [i, kind] of ['cuda', 'cpu'].entries()) {
    const recorder = device.createRecorder();
    const asked: NativeRecorder = {
      projectedRows: kind === 'cuda' ? 8 : 0,
      operation: (...given) => recorder.operation(...given),
      finish: (...given) => recorder.finish(...given),
    };
    new Operations(asked).projectedAttention(x, { weight, norm }, key, value, {
      heads: 1,
      output: outputs[i],
    });
    const program = recorder.finish(kind, false);
    expect(program.operations.map(({ name }) => name)).toEqual(
      kind === 'cuda' ? ['projectedAttention'] : ['linear', 'attention'],
    );
    await program.run({ times: 1, trace: false }).promise;
    program.dispose();
  }
  const [one, two] = await device.transfer(
    [],
    outputs.map((tensor) => [tensor.native, 0, tensor.size] as const),
  );
  device.close();
  expect(one).toEqual(two);
  expect(one.some((element) => element !== 0)).toBe(true);
});
