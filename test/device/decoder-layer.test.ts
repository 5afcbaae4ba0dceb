/** A decoder layer as one kernel gives the results of its six operations. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';
import type { Operations } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { type AttentionShape, crossAttention, decoderSelfAttention, feedForward } from '../../lib/layers/layers.js';
import type { DecoderLayer } from '../../lib/layers/parameters.js';
import { cudaKind, hasCuda } from './devices.js';
import { random, relativeError, stored } from './reference.js';

type DType = 'float32' | 'float16' | 'bfloat16';
const tolerances = { float32: 1e-5, float16: 5e-3, bfloat16: 2e-2 } as const;
const fusions = ['always', 'never'] as const;

/**
 * Heads, head size, feed-forward width; the new token's position; audio positions of the pool, begin and length of the
 * range.
 */
const shapes = [
  { heads: 2, size: 64, inner: 512, start: 5, audio: 70, first: 0, seen: 70 },
  { heads: 6, size: 64, inner: 1536, start: 100, audio: 300, first: 20, seen: 250 },
  { heads: 12, size: 32, inner: 304, start: 0, audio: 40, first: 39, seen: 1 },
  { heads: 16, size: 16, inner: 264, start: 199, audio: 33, first: 0, seen: 33 },
  { heads: 1, size: 48, inner: 64, start: 64, audio: 300, first: 0, seen: 0 },
];

describe.skipIf(!hasCuda)('a decoder layer as one kernel', () => {
  const devices: Device[] = [];
  beforeAll(() => {
    const before = process.env.ONEHEAD_CUDA_FUSION;
    for (const fusion of fusions) {
      process.env.ONEHEAD_CUDA_FUSION = fusion;
      devices.push(new Device(cudaKind));
    }
    process.env.ONEHEAD_CUDA_FUSION = before;
  });
  afterAll(() => {
    for (const device of devices) device.close();
  });

  function layerOn(device: Device, dtype: DType, shape: (typeof shapes)[number], batch = 1) {
    const width = shape.heads * shape.size;
    let seed = 0;
    const filled = (type: DType, dimensions: number[], scale = 1) => {
      const values = random(
        dimensions.reduce((a, b) => a * b, 1),
        ++seed,
      ).map((x) => x * scale);
      return device.tensor(type, dimensions, stored(values, type));
    };
    const linear = (outputs: number, inputs: number) => ({
      weight: filled(dtype, [outputs, inputs], 1.5 / Math.sqrt(inputs)),
      bias: filled('float32', [outputs]),
    });
    const norm = () => ({ weight: filled('float32', [width]), bias: filled('float32', [width]), epsilon: 1e-5 });
    const integers = (values: number[]) => device.tensor('int32', [values.length], Int32Array.from(values));
    const parameters: DecoderLayer = {
      self: { norm: norm(), queryKeyValue: linear(3 * width, width), out: linear(width, width) },
      cross: {
        norm: norm(),
        query: linear(width, width),
        key: linear(width, width),
        value: linear(width, width),
        out: linear(width, width),
      },
      feedForward: { norm: norm(), up: linear(shape.inner, width), down: linear(width, shape.inner) },
    };
    const pool = 3;
    return {
      parameters,
      x: filled('float32', [batch, 1, width], 3),
      self: { key: filled(dtype, [pool, 200, width]), value: filled(dtype, [pool, 200, width]) },
      cross: { key: filled(dtype, [1, shape.audio, width]), value: filled(dtype, [1, shape.audio, width]) },
      start: integers([7, shape.start, shape.start]),
      rows: integers(batch === 1 ? [1] : [1, 2]),
      keys: { begin: integers([0, shape.first, 0]), count: integers([1, shape.seen, 3]) },
      integers,
      output: device.tensor('float32', [batch, 1, width]),
      filled,
    };
  }
  type Layer = ReturnType<typeof layerOn>;

  function record(ops: Operations, layer: Layer, shape: AttentionShape, { before, after }: Changes): void {
    const { parameters, start, rows, keys } = layer;
    before?.(ops, layer);
    const one = decoderSelfAttention(ops, layer.x, parameters.self, layer.self, start, { ...shape, rows });
    const cross = { ...shape, rows, keys, algorithm: 'split-kv' } as const;
    const two = crossAttention(ops, one, parameters.cross, layer.cross, cross);
    ops.copy(feedForward(ops, two, parameters.feedForward), { output: layer.output });
    after?.(ops, one, layer);
  }

  /** The memory that both devices have written, and the operations that each has fused. */
  async function both(dtype: DType, shape: (typeof shapes)[number], changes: Changes = {}) {
    const { batch = 1, replays = 1, change } = changes;
    const results = [];
    for (const device of devices) {
      const layer = layerOn(device, dtype, shape, batch);
      change?.(layer);
      const heads = { heads: shape.heads, keyValueHeads: shape.heads };
      using program = device.record('layer', (ops) => record(ops, layer, heads, changes), { poison: true });
      for (let i = 0; i < replays; ++i) await program.run({ times: 1 });
      const traced = await program.trace();
      const values = await Promise.all(
        [layer.output, layer.self.key, layer.self.value].map((tensor) => tensor.toFloat32Array()),
      );
      results.push({ values, whole: traced.some(({ parts }) => parts?.some(({ name }) => name === 'layer')) });
    }
    const [got, wanted] = results;
    for (const [i, values] of got.values.entries())
      expect(relativeError(values, wanted.values[i])).toBeLessThan(tolerances[dtype]);
    expect(wanted.whole).toBe(false);
    return got.whole;
  }
  interface Changes {
    batch?: number;
    replays?: number;
    change?: (layer: Layer) => void;
    before?: (ops: Operations, layer: Layer) => void;
    /** Recorded after the layer; x is the result of self-attention. */
    after?: (ops: Operations, x: Tensor, layer: Layer) => void;
  }

  describe.each(['float32', 'float16', 'bfloat16'] as const)('in %s', (dtype) => {
    it.each(shapes)('$heads heads of $size, $start earlier positions, $seen audio positions', async (shape) => {
      expect(await both(dtype, shape)).toBe(true);
    });
  });

  it('several times in a row', async () => {
    expect(await both('float16', shapes[0], { replays: 4 })).toBe(true);
  });

  it('writes nothing to the pool for an idle entry', async () => {
    const idle = (layer: Layer) => {
      layer.rows = layer.integers([-1]);
    };
    expect(await both('float16', shapes[0], { change: idle })).toBe(true);
  });

  it('appends nothing at the end of the cache', async () => {
    expect(await both('float16', { ...shapes[0], start: 200 })).toBe(true);
  });

  it('is not fused if an intermediate result is read', async () => {
    const read = (ops: Operations, x: Tensor, layer: Layer) => void ops.copy(x, { output: layer.output });
    expect(await both('float16', shapes[0], { after: read })).toBe(false);
  });

  it('is not fused for several rows, or if a weight changes', async () => {
    expect(await both('float16', shapes[0], { batch: 2 })).toBe(false);
    const write = (ops: Operations, { parameters: { feedForward }, filled }: Layer) =>
      void ops.copy(filled('float32', [128]), { output: feedForward.down.bias });
    expect(await both('float16', shapes[0], { before: write })).toBe(false);
  });
});
