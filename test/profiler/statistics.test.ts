import { describe, expect, it } from 'vitest';
import { interleave } from '../../lib/profiler/measuring/measure.js';
import { isNoisy, relativeSpread, statistics } from '../../lib/profiler/measuring/statistics.js';

describe('statistics', () => {
  it('of few samples are the median and the range', () => {
    expect(statistics([3, 1, 2])).toEqual({ median: 2, low: 1, high: 3, count: 3 });
    expect(statistics([4, 1, 2, 3])).toEqual({ median: 2.5, low: 1, high: 4, count: 4 });
  });

  // Ranks of the 95% interval from published tables of the binomial distribution.
  it.each([
    [6, 1, 6],
    [9, 2, 8],
    [20, 6, 15],
    [50, 18, 33],
    [100, 40, 61],
  ])('of %d samples: the median between ranks %d and %d', (count, low, high) => {
    const samples = Array.from({ length: count }, (_, i) => count - i);
    expect(statistics(samples)).toMatchObject({ low, high, count });
  });

  it('with an interval of more than half of the median mark the figure as noisy', () => {
    expect(relativeSpread(statistics([10, 10, 10, 10, 10, 14]))).toBeCloseTo(0.4);
    expect(isNoisy(statistics([10, 10, 10, 10, 10, 14]))).toBe(false);
    expect(isNoisy(statistics([10, 10, 10, 10, 10, 16]))).toBe(true);
    expect(isNoisy(statistics([10, 10, 10, 10, 10, 4]))).toBe(true);
    expect(isNoisy(statistics([10]))).toBe(false);
  });

  it('of very many samples have a narrow interval within the samples', () => {
    const { low, high, median } = statistics(Array.from({ length: 5000 }, (_, i) => i));
    expect(low).toBeGreaterThan(2400);
    expect(high).toBeLessThan(2600);
    expect(median).toBe(2499.5);
  });
});

describe('interleaved measurement', () => {
  const variant = (name: string, log: string[]) => ({
    name,
    sample: async () => {
      log.push(name);
      return { total: log.length };
    },
  });

  it('warms up, then takes one sample of each variant in a round, each first in turn', async () => {
    const log: string[] = [];
    const measured = await interleave([variant('a', log), variant('b', log)], { repeats: 3, seconds: 10 });
    expect(log.join('')).toBe('ab' + 'ab' + 'ba' + 'ab');
    expect(measured.get('a')).toEqual({ total: { median: 6, low: 3, high: 7, count: 3 } });
    expect([...measured.keys()]).toEqual(['a', 'b']);
  });

  it('ends when the time is over, after three samples', async () => {
    const log: string[] = [];
    const measured = await interleave([variant('a', log)], { repeats: 1000, seconds: 0 });
    expect(measured.get('a')?.total.count).toBe(3);
  });

  it('stops when aborted', async () => {
    const controller = new AbortController();
    const log: string[] = [];
    const stopping = {
      name: 'b',
      sample: async () => {
        if (log.length > 4) controller.abort(new Error('enough'));
        return {};
      },
    };
    const measuring = interleave([variant('a', log), stopping], { repeats: 100, seconds: 10 }, controller);
    await expect(measuring).rejects.toThrow('enough');
    expect(log.length).toBeLessThan(10);
  });
});
