/** Ranges of a pool of positions whose length is limited. */
import { describe, expect, it } from 'vitest';
import { Device } from '../../lib/device/device.js';

describe('a limit of the keys of a range', () => {
  it('bounds the memory that attention to ranges of a large pool takes', async () => {
    const [entries, positions, width] = [64, 30_000, 64];
    const used = async (longest?: number) => {
      using device = new Device('cpu');
      const query = device.tensor('float32', [entries, 1, width]);
      const [key, value] = [1, 2].map(() => device.tensor('float32', [1, positions, width]));
      const begin = device.tensor('int32', [entries], new Int32Array(entries));
      const count = device.tensor('int32', [entries], new Int32Array(entries).fill(100));
      const before = device.memory().inUse;
      using program = device.record('attention', (ops) => {
        ops.attention(query, key, value, { heads: 1, algorithm: 'split-kv', keys: { begin, count, longest } });
      });
      await program.prepare();
      return device.memory().inUse - before;
    };
    expect(await used(100)).toBeLessThan((await used()) / 20);
  });

  it('is at most the number of positions, and only given with ranges', async () => {
    using device = new Device('cpu');
    const query = device.tensor('float32', [1, 1, 64]);
    const [key, value] = [1, 2].map(() => device.tensor('float32', [1, 50, 64]));
    const [begin, count] = [0, 50].map((one) => device.tensor('int32', [1], Int32Array.of(one)));
    const record = (longest: number) =>
      device.record('attention', (ops) => {
        ops.attention(query, key, value, { heads: 1, algorithm: 'split-kv', keys: { begin, count, longest } });
      });
    for (const longest of [0, 51, 1.5]) expect(() => record(longest), `${longest}`).toThrow(/keys\.longest/);
  });
});
