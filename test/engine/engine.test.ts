/** The scheduler with a simulated clock: order, timing, and cancellation. */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { describe, expect, it } from 'vitest';
import { Engine } from '../../lib/engine/engine.js';
import type { EngineEvent } from '../../lib/engine/figures.js';
import { Pool } from '../../lib/engine/pool.js';
import type { RequestOptions } from '../../lib/engine/request.js';
import type { OneheadError } from '../../lib/errors.js';
import { SimulatedRuntime } from './simulated.js';
import { simulated } from './simulated-pool.js';

const idle = (engine: Engine<never, never, never>) => {
  const { positions, rows, waiting } = engine.figures();
  return [positions.used, rows.used, waiting.windows, waiting.searches];
};

describe('the batch', () => {
  it('gives a single request no additional work', async () => {
    const { runtime, ask } = simulated();
    await ask('a');
    expect(runtime.time).toBe(100 + 10 * 2);
    expect(runtime.log).toEqual(['encode a', 'start a', 'steps 10: a', 'collect a']);
  });

  it('accepts searches at any step, and releases those that have ended', async () => {
    const { runtime, ask, engine } = simulated();
    let second: Promise<void> | undefined;
    runtime.onTime = (time) => {
      if (time >= 140) second ??= ask('b', { search: { steps: 3 } });
    };
    await ask('a', { search: { steps: 60 } });
    await second;
    // b arrived while a was at its 20th step; both were decoded together, and b ended first.
    expect(runtime.log).toContain('steps 3: a b');
    expect(runtime.log.indexOf('collect b')).toBeLessThan(runtime.log.indexOf('collect a'));
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
  });

  it('encodes windows of the same length together, up to the limit of the runtime', async () => {
    const { runtime, ask } = simulated({ windows: 8, rows: 8, encodeBatch: 4 });
    await Promise.all(['a', 'b', 'c', 'd', 'e'].map((name) => ask(name)));
    expect(runtime.log.filter((entry) => entry.startsWith('encode'))).toEqual(['encode a b c d', 'encode e']);
  });

  it('holds more short windows than long ones', async () => {
    const { runtime, ask, engine } = simulated({ windows: 1, rows: 8 });
    let most = 0;
    runtime.onTime = () => {
      most = Math.max(most, engine.figures().rows.used);
    };
    await Promise.all(Array.from({ length: 5 }, (_, i) => ask(`w${i}`, { positions: 500, search: { steps: 200 } })));
    expect(most).toBe(3);
  });

  it('never encodes a window without free rows for it', async () => {
    const { runtime, ask } = simulated({ windows: 8, rows: 2 });
    await Promise.all(['a', 'b', 'c'].map((name) => ask(name, { search: { steps: 5 } })));
    const third = runtime.log.indexOf('encode c');
    expect(third).toBeGreaterThan(Math.min(runtime.log.indexOf('collect a'), runtime.log.indexOf('collect b')));
  });

  it("queues the next steps behind the current ones, and a window's prompt and steps behind its encoding", async () => {
    const { runtime, ask } = simulated({ windows: 8, rows: 8 });
    const lengths = [30, 3, 50, 17, 4, 20, 41, 8, 12, 33];
    await Promise.all(lengths.map((steps, i) => ask(`w${i}`, { search: { steps } })));
    expect(runtime.gaps).toBe(0);
    // The next window is chosen when the last one is done: a more urgent one may have arrived by then.
    expect(runtime.maximumEncodes).toBe(1);
    expect(runtime.left).toBe(0);
  });

  it('submits the next encoding before a caller processes a result', async () => {
    const { runtime, engine, pool } = simulated({ windows: 2, rows: 1 });
    const order: string[] = [];
    const encode = runtime.encode.bind(runtime);
    runtime.encode = (windows) => {
      order.push(`encode ${windows[0].window.name}`);
      return encode(windows);
    };
    const request = pool.request();
    const serve = async (name: string) => {
      const window = await engine.encode(request, { name, positions: 1500 });
      await window.search({ steps: 5 });
      order.push(`told ${name}`);
      window.close();
    };
    await Promise.all([serve('a'), serve('b')]);
    expect(order).toEqual(['encode a', 'encode b', 'told a', 'told b']);
  });

  it('gives the beams of a search neighbouring rows, and waits for them', async () => {
    const { ask, engine } = simulated({ windows: 4, rows: 6 });
    await Promise.all([
      ask('a', { search: { steps: 30 } }),
      ask('b', { search: { steps: 5, rows: 5 } }),
      ask('c', { search: { steps: 5, rows: 5 } }),
    ]);
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
  });

  it('refuses a search that has more beams than there are rows', async () => {
    const { ask, engine } = simulated({ rows: 4 });
    await expect(ask('a', { search: { steps: 5, rows: 5 } })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringContaining('rows: 5'),
    });
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
  });

  it('runs several searches of a window as rows come free', async () => {
    const { runtime, pool, engine } = simulated({ windows: 2, rows: 2 });
    const request = pool.request();
    const window = await pool.leastLoaded().encode(request, { name: 'a', positions: 1500 });
    const found = await Promise.all(Array.from({ length: 5 }, (_, i) => window.search({ steps: 3 + i })));
    window.close();
    request.close();
    expect(found.map(({ steps }) => steps)).toEqual([3, 4, 5, 6, 7]);
    expect(runtime.log.filter((entry) => entry === 'encode a')).toHaveLength(1);
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
  });

  it('reports partial results and waiting times', async () => {
    const { pool } = simulated({ windows: 1, rows: 1 });
    const request = pool.request();
    const first = await pool.leastLoaded().encode(request, { name: 'a', positions: 1500 });
    const second = pool.leastLoaded().encode(request, { name: 'b', positions: 1500 });
    const seen: number[] = [];
    await first.search({ steps: 30 }, { onTokens: (tokens) => seen.push(tokens.length) });
    expect(seen).toEqual([8, 16, 24, 30]);
    const later: number[] = [];
    await first.search({ steps: 30 }, { watchFrom: 12, onTokens: (tokens) => later.push(tokens.length) });
    expect(later).toEqual([20, 28, 30]);
    expect(first.waited).toBe(0);
    first.close();
    const late = await second;
    expect(late.waited).toBe(2 * 30 * 2);
    await late.search({ steps: 1 });
    late.close();
    request.close();
  });
});

describe('cancellation', () => {
  it('frees the rows of a request within a step, and affects no other request', async () => {
    const { ask, runtime, engine } = simulated();
    const controller = new AbortController();
    const reason = new Error('enough');
    runtime.onTime = (time) => {
      if (time >= 260) controller.abort(reason);
    };
    const cancelled = ask('a', { search: { steps: 1000 }, signal: controller.signal });
    const other = ask('b', { search: { steps: 50 } });
    await expect(cancelled).rejects.toBe(reason);
    const used = engine.figures().rows.used;
    await other;
    expect(used).toBeLessThanOrEqual(2);
    expect(runtime.log.find((entry) => entry.startsWith('release'))).toBe('release a');
    // Only the step that ran when the signal was aborted.
    expect(runtime.log.filter((entry) => entry.includes(': a')).at(-1)).toBeDefined();
    expect(runtime.left).toBe(0);
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
    expect(engine.figures().cancelled).toBe(1);
  });

  it('frees the rows of a search whose caller throws, within a step', async () => {
    const { runtime, pool, ask, engine } = simulated({ windows: 2, rows: 2 });
    const other = ask('b', { search: { steps: 60 } });
    const request = pool.request();
    const window = await pool.leastLoaded().encode(request, { name: 'a', positions: 1500 });
    const failure = new Error('the page was left');
    const search = window.search(
      { steps: 1000 },
      {
        onTokens: () => {
          throw failure;
        },
      },
    );
    await expect(search).rejects.toBe(failure);
    const rejected = runtime.time;
    await new Promise((resolve) => setTimeout(resolve));
    window.close();
    request.close();
    await other;
    expect(runtime.log.filter((entry) => entry === 'release a')).toHaveLength(1);
    expect(runtime.time).toBeLessThanOrEqual(rejected + 2 * 60);
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
  });

  it('frees the rows of a search whose caller has seen enough, and gives it that result', async () => {
    const { runtime, pool, engine } = simulated({ windows: 1, rows: 1 });
    const request = pool.request();
    const window = await engine.encode(request, { name: 'a', positions: 1500 });
    const seen: number[] = [];
    const found = await window.search(
      { steps: 1000 },
      {
        onTokens: (tokens) => seen.push(tokens.length),
        until: ({ tokens: { length } }) => (length >= 20 ? { window: 'enough', steps: length } : undefined),
      },
    );
    expect(found).toEqual({ window: 'enough', steps: seen.at(-1) });
    expect(found.steps).toBeLessThan(30);
    // The row is free for the next search.
    expect(await window.search({ steps: 5 })).toEqual({ window: 'a', steps: 5 });
    window.close();
    request.close();
    expect(runtime.log.filter((entry) => entry.startsWith('release'))).toEqual(['release a']);
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
  });

  it('removes a waiting window from the queue', async () => {
    const { ask, runtime, engine } = simulated({ windows: 1, rows: 1 });
    const controller = new AbortController();
    const first = ask('a');
    const waiting = ask('b', { signal: controller.signal });
    controller.abort();
    await expect(waiting).rejects.toMatchObject({ name: 'AbortError' });
    await first;
    expect(runtime.log).not.toContain('encode b');
    expect(idle(engine as never)).toEqual([0, 0, 0, 0]);
  });

  it('rejects all requests, and later ones, with the error of a failed device', async () => {
    const { ask, runtime } = simulated();
    const failure = Object.assign(new Error('the cable was pulled'), { code: 'DEVICE_FAILED' });
    runtime.onTime = (time) => {
      if (time >= 210) runtime.failure = failure;
    };
    const results = await Promise.allSettled([
      ask('a', { search: { steps: 1000 } }),
      ask('b', { search: { steps: 1000 } }),
    ]);
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: failure });
    await expect(ask('c')).rejects.toBe(failure);
  });

  it('rejects running and waiting requests with DISPOSED when the engine is closed', async () => {
    const { ask, runtime, pool } = simulated({ windows: 1, rows: 1 });
    runtime.onTime = (time) => {
      if (time >= 120) pool.close();
    };
    const results = await Promise.allSettled([ask('a', { search: { steps: 1000 } }), ask('b'), ask('c')]);
    for (const result of results) expect(result).toMatchObject({ status: 'rejected', reason: { code: 'DISPOSED' } });
  });

  it('refuses requests above the limit, with a time for the next attempt', async () => {
    const { ask, pool } = simulated({ windows: 1, rows: 1 }, 4);
    const open = ['a', 'b', 'c', 'd'].map((name) => ask(name, { count: 4 }));
    expect(() => pool.request()).toThrowError(
      expect.objectContaining({ code: 'BUSY', retryAfter: expect.any(Number) }),
    );
    await Promise.all(open);
    await ask('e');
    await Promise.all(['f', 'g', 'h', 'i'].map((name) => ask(name, { count: 20 }))).catch(() => {});
    const again = ['a', 'b', 'c', 'd'].map((name) => ask(name, { count: 20 }));
    let refusal: OneheadError | undefined;
    try {
      pool.request();
    } catch (error) {
      refusal = error as OneheadError;
    }
    // Requests of about two seconds each were served one after another.
    expect(refusal!.retryAfter).toBeGreaterThanOrEqual(2);
    expect(refusal!.retryAfter).toBeLessThanOrEqual(60);
    await Promise.all(again);
  });

  it.each([[{ priority: 'high' }], [{ deadline: -1 }], [{ deadline: 'soon' }]])('refuses %j', (options) => {
    const { pool } = simulated();
    expect(() => pool.request(options as unknown as RequestOptions)).toThrowError(
      expect.objectContaining({ code: 'INVALID_ARGUMENT' }),
    );
    expect(pool.requests).toBe(0);
  });
});

describe('several devices', () => {
  it('share the windows: the least loaded one gets the next', async () => {
    const runtimes = [new SimulatedRuntime(), new SimulatedRuntime()];
    const engines = runtimes.map((runtime) => new Engine(runtime, { now: runtime.now }));
    const pool = new Pool(engines, { maximumRequests: 100 });
    await Promise.all(
      Array.from({ length: 20 }, async (_, i) => {
        const request = pool.request();
        const window = await pool.leastLoaded().encode(request, { name: `w${i}`, positions: 1500 });
        await window.search({ steps: 20 });
        window.close();
        request.close();
      }),
    );
    const [first, second] = pool.figures().engines.map(({ windows }) => windows);
    expect(first + second).toBe(20);
    expect(Math.abs(first - second)).toBeLessThanOrEqual(2);
  });
});

describe('devices that have failed', () => {
  const failure = Object.assign(new Error('the cable was pulled'), { code: 'DEVICE_FAILED' });

  const two = () => {
    const runtimes = [new SimulatedRuntime(), new SimulatedRuntime()];
    const engines = runtimes.map((runtime, i) => new Engine(runtime, { now: runtime.now, device: `gpu:${i}` }));
    const pool = new Pool(engines, { maximumRequests: 100 });
    const ask = async () => {
      const request = pool.request();
      try {
        const window = await pool.leastLoaded().encode(request, { name: 'w', positions: 1500 });
        try {
          await window.search({ steps: 5 });
        } finally {
          window.close();
        }
      } finally {
        request.close();
      }
    };
    return { runtimes, pool, ask };
  };

  it('get no more windows, and the other devices serve all of them', async () => {
    const { runtimes, pool, ask } = two();
    runtimes[0].failure = failure;
    await expect(ask()).rejects.toBe(failure);
    await Promise.all(Array.from({ length: 12 }, ask));
    const { engines, failure: ofAll } = pool.figures();
    expect(engines.map(({ windows }) => windows)).toEqual([0, 12]);
    // What the failed device had is no longer in the totals.
    const { positions, rows } = pool.figures();
    expect({ positions, rows }).toEqual({ positions: engines[1].positions, rows: engines[1].rows });
    expect(rows.total).toBeGreaterThan(0);
    expect(engines.map((one) => one.failure)).toEqual([
      { code: 'DEVICE_FAILED', message: 'the cable was pulled' },
      null,
    ]);
    expect(ofAll).toBeNull();
  });

  it('reject every call once all have failed, and say why in figures and events', async () => {
    const { runtimes, pool, ask } = two();
    const seen: unknown[] = [];
    const listen = (event: unknown) => (event as EngineEvent).event === 'failed' && seen.push(event);
    subscribe('onehead.engine', listen);
    for (const runtime of runtimes) {
      runtime.failure = failure;
      await expect(ask()).rejects.toBe(failure);
    }
    unsubscribe('onehead.engine', listen);
    await expect(ask()).rejects.toBe(failure);
    const reason = { code: 'DEVICE_FAILED', message: 'the cable was pulled' };
    expect(pool.figures().failure).toEqual(reason);
    expect(seen).toEqual(['gpu:0', 'gpu:1'].map((device) => ({ event: 'failed', device, failure: reason })));
  });

  it('are not those whose model was disposed of', async () => {
    const { pool, ask } = two();
    pool.close();
    await expect(ask()).rejects.toMatchObject({ code: 'DISPOSED' });
    expect(pool.figures().failure).toBeNull();
  });
});

describe('figures of an engine', () => {
  it('adds up', async () => {
    const { ask, engine, runtime } = simulated();
    const seen: EngineEvent[] = [];
    const listen = (event: unknown) => seen.push(event as EngineEvent);
    subscribe('onehead.engine', listen);
    await Promise.all([ask('a', { search: { steps: 10 } }), ask('b', { search: { steps: 20 } })]);
    unsubscribe('onehead.engine', listen);
    const { windows, searches, steps, rowSteps, audioPositions, time } = engine.figures();
    expect({ windows, searches, audioPositions }).toEqual({ windows: 2, searches: 2, audioPositions: 3000 });
    // A row that has ended is still part of the steps that were submitted by then.
    expect(rowSteps).toBeGreaterThanOrEqual(30);
    expect(rowSteps).toBeLessThanOrEqual(32);
    expect(time.encode + time.decode + time.host).toBeCloseTo(runtime.time);
    const told = (name: EngineEvent['event']) => seen.filter(({ event }) => event === name);
    expect(told('encode')).toHaveLength(2);
    expect(told('window')).toHaveLength(2);
    expect(told('steps').reduce((sum, event) => sum + (event.event === 'steps' ? event.steps : 0), 0)).toBe(steps);
  });
});
