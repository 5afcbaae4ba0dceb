import { describe, expect, it } from 'vitest';
import { requireMatch } from '../../lib/profiler/experiments/io.js';
import * as ioModel from '../../lib/profiler/io-model/index.js';
import { type AttentionPart, whisperConfig, withKeyValueHeads } from '../../lib/profiler/measuring/shapes.js';

describe('an einsum', () => {
  it('reads its inputs, writes its output, and multiplies and adds over its distinct dimensions', () => {
    // 2 sequences, 3 heads, 5 positions, head size 7; counted by hand.
    expect(ioModel.einsum('bhk,bhmk->bhm', { b: 2, h: 3, m: 5, k: 7 })).toEqual({
      einsum: 'bhk,bhmk->bhm',
      elementsRead: 2 * 3 * 7 + 2 * 3 * 5 * 7,
      elementsWritten: 2 * 3 * 5,
      operations: 2 * 2 * 3 * 5 * 7,
    });
  });

  it.each([
    ['bhk;bhmk', { b: 1 }, "Expected einsum to be like 'bhk,bhmk->bhm' but received 'bhk;bhmk'."],
    ['bk,dk->bd', { b: 1, k: 2 }, "Expected the size of 'd' to be"],
    ['bk,dk->bx', { b: 1, k: 2, d: 3, x: 4 }, "Expected dimension 'x' of the output"],
    ['bk,dk->bd', { b: 1, k: 2.5, d: 3 }, "Expected the size of 'k' to be"],
  ])('refuses %s with %o', (einsum, sizes, message) => {
    expect(() => ioModel.einsum(einsum, sizes)).toThrow(message);
  });
});

const shape = { batch: 2, keys: 10, width: 8, heads: 4, bytesPerElement: 4 } as const;

describe('incremental decoding of one attention layer', () => {
  it('multi-head, counted by hand', () => {
    const { kind, operations, bytes, arithmetic, ratio, complexity } = ioModel.attention({
      form: 'incremental',
      ...shape,
    });
    expect(kind).toBe('multi-head');
    // b = 2, m = 10, d = 8, h = 4, k = 2; elements of 4 bytes.
    expect(
      operations.map(({ operation, einsum, bytesRead, bytesWritten, operations }) => [
        operation,
        einsum,
        bytesRead / 4,
        bytesWritten / 4,
        operations,
      ]),
    ).toEqual([
      ['q', 'bd,hdk->bhk', 16 + 64, 16, 256],
      ['K', 'bd,hdk->bhk', 16 + 64, 16, 256],
      ['V', 'bd,hdv->bhv', 16 + 64, 16, 256],
      ['logits', 'bhk,bhmk->bhm', 16 + 160, 80, 320],
      ['weights', 'bhm->bhm', 80, 80, 400],
      ['out', 'bhm,bhmv->bhv', 80 + 160, 16, 320],
      ['y', 'bhv,hdv->bd', 16 + 64, 16, 256],
    ]);
    expect(bytes).toBe(4 * (320 + 256 + 160 + 256 + 64)); // projections, logits, weights, out, what projections write
    expect(arithmetic).toBe(4 * 256 + 2 * 320 + 400);
    expect(ratio).toBeCloseTo(bytes / 4 / (arithmetic / 2));
    expect(complexity).toEqual({ memory: 'bd + bmd + d²', computation: 'bd² + bmd', ratio: '1/d + m/d + 1/b' });
  });

  it('multi-query reads one head of keys and values', () => {
    const { kind, operations, complexity } = ioModel.attention({ form: 'incremental', ...shape, keyValueHeads: 1 });
    expect(kind).toBe('multi-query');
    const table = Object.fromEntries(operations.map((row) => [row.operation, row]));
    expect(table.K).toMatchObject({ einsum: 'bd,dk->bk', bytesRead: 4 * (16 + 16), bytesWritten: 4 * 4 });
    expect(table.logits).toMatchObject({ einsum: 'bhk,bmk->bhm', bytesRead: 4 * (16 + 40), operations: 320 });
    expect(table.out).toMatchObject({ einsum: 'bhm,bmv->bhv', bytesRead: 4 * (80 + 40), operations: 320 });
    expect(table.logits.complexity).toEqual({ memory: 'bd + bmk', computation: 'bmd' });
    expect(complexity).toEqual({ memory: 'bd + bmk + d²', computation: 'bd² + bmd', ratio: '1/d + m/(dh) + 1/b' });
  });

  it('grouped-query is between the two', () => {
    const { kind, operations, complexity } = ioModel.attention({ form: 'incremental', ...shape, keyValueHeads: 2 });
    expect(kind).toBe('grouped');
    expect(operations[3]).toMatchObject({ einsum: 'bgrk,bgmk->bgrm', bytesRead: 4 * (16 + 80), operations: 320 });
    expect(operations[1].complexity.memory).toBe('bd + dgk');
    expect(complexity.ratio).toBe('1/d + gm/(dh) + 1/b');
  });
});

describe('batch computation of one attention layer', () => {
  it('does many operations for each byte, whatever the number of heads', () => {
    const large = {
      form: 'batch',
      batch: 4,
      keys: 1024,
      width: 1024,
      heads: 16,
    } as const;
    const multiHead = ioModel.attention(large);
    const multiQuery = ioModel.attention({ ...large, keyValueHeads: 1 });
    expect(multiHead.operations.map(({ einsum }) => einsum)).toEqual([
      'bnd,hdk->bhnk',
      'bmd,hdk->bhmk',
      'bmd,hdv->bhmv',
      'bhnk,bhmk->bhnm',
      'bhnm->bhnm',
      'bhnm,bhmv->bhnv',
      'bhnv,hdv->bnd',
    ]);
    expect(multiQuery.operations[3].einsum).toBe('bhnk,bmk->bhnm');
    // 1/d + 1/k + 1/(bn), with constant factors: far below 1.
    expect(multiHead.ratio).toBeLessThan(0.05);
    expect(multiQuery.ratio).toBeGreaterThan(multiHead.ratio);
    expect(multiHead.complexity.ratio).toBe('1/d + 1/k + 1/(bn)');
  });
});

describe('decoding n tokens', () => {
  it('is the sum of its calls', () => {
    const { form: _, ...rest } = { form: 'incremental', batch: 3, width: 16, heads: 4, keyValueHeads: 2 };
    const calls = Array.from({ length: 20 }, (_, i) =>
      ioModel.attention({ form: 'incremental', ...rest, keys: i + 1 }),
    );
    const { bytes, arithmetic } = ioModel.decoding(rest, 20);
    expect(bytes).toBe(calls.reduce((sum, call) => sum + call.bytes, 0));
    expect(arithmetic).toBe(calls.reduce((sum, call) => sum + call.arithmetic, 0));
  });

  it('of speech is bound by memory at batch 1, whether heads are shared or not', () => {
    const large = { batch: 1, width: 1280, heads: 20 };
    const [multiHead, multiQuery] = [20, 1].map((keyValueHeads) => ioModel.decoding({ ...large, keyValueHeads }, 25));
    expect(multiHead.complexity).toEqual({ memory: 'bn²d + nd²', computation: 'bnd²', ratio: 'n/d + 1/b' });
    expect(multiQuery.complexity.ratio).toBe('1/d + n/(dh) + 1/b');
    expect(multiHead.ratio).toBeGreaterThan(0.95);
    expect(multiQuery.ratio).toBeGreaterThan(0.95);
    expect(ioModel.decoding({ ...large, batch: 32 }, 25).ratio).toBeLessThan(0.06);
  });

  it.each([
    [{ keys: 0 }, 'Expected keys to be a whole number of at least 1 but received 0.'],
    [{ keyValueHeads: 3 }, 'Expected keyValueHeads to be a divisor of heads'],
    [{ width: 10 }, 'Expected headSize to be a whole number of at least 1 but received 2.5.'],
    [{ queries: 2 }, "Expected queries to be 1 in the form 'incremental' but received 2."],
  ])('refuses %o', (change, message) => {
    expect(() => ioModel.attention({ form: 'incremental', ...shape, ...change })).toThrow(message);
  });
});

/** Microseconds on an H100 at batch 1, 8, 32, 64, 128: multi-head, MQA self, GQA-4 both, MQA cross, MQA both. */
const published: Record<string, string> = {
  tiny: '22/44/121/224/429 | 21/43/117/216/414 | 20/31/70/121/224 | 19/24/39/60/101 | 19/22/35/52/87',
  base: '39/84/238/443/853 | 37/80/228/426/821 | 35/57/134/236/442 | 33/41/66/99/165 | 31/37/56/82/133',
  small: '112/247/708/1323/2554 | 103/232/676/1268/2452 | 93/138/292/497/907 | 95/111/167/242/392 | 86/97/135/187/289',
  medium:
    '322/681/1912/3553/6835 | 288/633/1816/3393/6548 | 258/348/656/1066/1886 | 276/312/437/603/936 | 242/265/342/444/649',
  'large-v3':
    '620/1218/3269/6004/11474 | 550/1124/3095/5722/10976 | 495/615/1025/1572/2666 | 542/595/779/1023/1513 | 472/502/604/741/1015',
  turbo: '116/191/447/789/1473 | 107/179/426/754/1411 | 101/116/167/235/372 | 106/113/136/167/228 | 98/101/114/131/166',
};
const h100 = { bytesPerSecond: 3e12, operationsPerSecond: 790e12 };

describe('the floor of a decode step on an H100', () => {
  const forms: AttentionPart[][] = [[], ['self'], ['self', 'cross'], ['cross'], ['self', 'cross']];
  it.each(Object.entries(published))('%s, within a microsecond', (name, row) => {
    const config = whisperConfig(name);
    row.split(' | ').forEach((cell, form) => {
      // Six heads cannot form four groups; the source counted that row with three.
      const grouped = config.decoder.heads % 4 ? 3 : 4;
      const shape = ioModel.decoderShape(withKeyValueHeads(config, forms[form], form === 2 ? grouped : 1));
      cell.split('/').forEach((microseconds, i) => {
        const batch = [1, 8, 32, 64, 128][i];
        const step = ioModel.decodeStep(shape, { batch, position: 64, bytesPerBias: 2 });
        expect(Math.abs(ioModel.floorOf(step, h100) - Number(microseconds)), `${form} at batch ${batch}`).toBeLessThan(
          0.75,
        );
      });
    });
  });

  it('one layer of large-v3, megabytes', () => {
    const layer = (batch: number, keyValueHeads?: number) => {
      let config = whisperConfig('large-v3');
      if (keyValueHeads) config = withKeyValueHeads(config, ['self', 'cross'], keyValueHeads);
      const step = ioModel.decodeStep(ioModel.decoderShape(config), { batch, position: 64 });
      const of = (part: string) => {
        const cost = step.find((operation) => operation.part === part)!;
        return ioModel.memoryBytes(cost) / 1e6;
      };
      return ['query, key, value', 'self-attention', 'self out', 'cross-attention', 'feed-forward up', 'logits'].map(
        of,
      );
    };
    const close = (found: number[], expected: number[]) =>
      found.forEach((value, i) => {
        expect(Math.abs(value - expected[i])).toBeLessThan(Math.max(0.06, 0.02 * expected[i]));
      });
    close(layer(1), [9.8, 0.33, 3.3, 7.7, 13.1, 132.8]);
    close(layer(32), [9.8, 10.5, 3.3, 245.8, 13.1, 132.8]);
    close(layer(32, 1), [3.6, 0.5, 3.3, 12.3, 13.1, 132.8]);
  });
});

describe('parameters', () => {
  it('of a 13B decoder: 12.8 billion, and without embeddings 10.5 with one key/value head', () => {
    const shape = { layers: 40, width: 5120, heads: 40, feedForward: 20480, vocabulary: 50257 };
    const multiHead = ioModel.decoderOnlyParameters({ ...shape, keyValueHeads: 40 });
    const multiQuery = ioModel.decoderOnlyParameters({ ...shape, keyValueHeads: 1 });
    expect((multiHead.total / 1e9).toFixed(1)).toBe('12.8');
    expect(multiHead.attention).toBe(40 * 4 * 5121 * 5120);
    expect(((multiQuery.total - multiQuery.embeddings) / 1e9).toFixed(1)).toBe('10.5');
  });

  it('of Whisper, and its caches', () => {
    const config = whisperConfig('tiny');
    expect(ioModel.parameters(config).total).toBe(37_760_640);
    const large = whisperConfig('large-v3');
    // 32 layers of keys and values, 1500 positions, 1280 wide, 2 bytes.
    expect(ioModel.caches(large).crossBytes).toBe(32 * 2 * 1500 * 1280 * 2);
    expect(ioModel.caches(withKeyValueHeads(large, ['cross'], 1), { batch: 8 }).crossBytes).toBe(
      (8 * 32 * 2 * 1500 * 1280 * 2) / 20,
    );
  });
});

describe('operations as a device records them', () => {
  const costs = ioModel.decodeStep(ioModel.decoderShape(whisperConfig('tiny')), { batch: 1, position: 64 });

  it('are the model’s own, in the same order', () => {
    expect(() => requireMatch(costs, costs)).not.toThrow();
  });

  it('are refused if they differ', () => {
    expect(() => requireMatch(costs, costs.slice(1))).toThrow('differ from those of the I/O model');
    expect(() => requireMatch(costs, [...costs, costs[0]])).toThrow('differ from those of the I/O model');
    const renamed = costs.map((cost, i) => (i === 1 ? { ...cost, label: 'decoder.1/self' } : cost));
    expect(() => requireMatch(costs, renamed)).toThrow('differ from those of the I/O model');
  });
});

describe('a floor', () => {
  const cost = ioModel.decodeStep(ioModel.decoderShape(whisperConfig('tiny')), { batch: 1, position: 0 })[1];
  it('is the larger of the times for memory and arithmetic', () => {
    expect(ioModel.floor(cost, { bytesPerSecond: 1e9, operationsPerSecond: 1e15 })).toEqual({
      bound: 'memory',
      microseconds: ioModel.memoryBytes(cost) / 1e3,
    });
    expect(ioModel.floor(cost, { bytesPerSecond: 1e15, operationsPerSecond: 1e9 })).toEqual({
      bound: 'arithmetic',
      microseconds: cost.operations / 1e3,
    });
    const ceilings = { bytesPerSecond: 1e9, operationsPerSecond: 1e15 };
    expect(ioModel.floor(cost, ceilings, { activations: true }).microseconds).toBeCloseTo(
      (ioModel.memoryBytes(cost) + cost.activationBytes) / 1e3,
    );
  });
});
