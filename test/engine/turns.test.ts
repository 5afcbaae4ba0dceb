/** The scheduler with a simulated clock: sharing of the device between requests. */
import { describe, expect, it } from 'vitest';
import { ageing } from '../../lib/engine/waiting.js';
import { simulated } from './simulated-pool.js';

describe('turns', () => {
  it('do not let a long recording delay a short one', async () => {
    const { ask, done } = simulated({ windows: 1, rows: 1 });
    const long = ask('long', { count: 50 });
    const short = ask('short');
    await Promise.all([long, short]);
    // One window of the long one, then the short one.
    expect(done.short).toBeLessThanOrEqual(2 * 120);
  });

  it('share the device evenly among long recordings, whenever they arrived', async () => {
    const { ask, done, runtime } = simulated({ windows: 1, rows: 1 });
    let late: Promise<void> | undefined;
    runtime.onTime = (time) => {
      if (time >= 1000) late ??= ask('c', { count: 10 });
    };
    await Promise.all([ask('a', { count: 20 }), ask('b', { count: 20 })]);
    await late;
    // From 1,000 ms on c has a third of the windows: 10 of 30.
    expect(done.c).toBeGreaterThan(1000 + 10 * 120 * 2.5);
    expect(done.c).toBeLessThan(1000 + 10 * 120 * 3.5);
  });

  it('include the second window of a recording, however many new ones arrive', async () => {
    const { ask, done, runtime } = simulated({ windows: 1, rows: 1 });
    let number = 0;
    const others: Promise<void>[] = [];
    runtime.onTime = (time) => {
      // As many as can be served, so that one is always waiting.
      if (time < 4000 && time >= number * 110) others.push(ask(`new${number++}`));
    };
    await ask('two', { count: 2 });
    expect(done.two).toBeLessThan(1500);
    await Promise.all(others);
  });

  it('give a long recording the time that clips leave, rather than an equal share', async () => {
    const { pool, engine, runtime, ask } = simulated({ windows: 1, rows: 1 });
    const times: number[] = [];
    const clips: Promise<void>[] = [];
    let index = 0;
    runtime.onTime = (time) => {
      // Clips of 120 ms for 80% of the time, alternately one and three, after the recording has run for a while.
      while (index < 90 && time >= 4000 + 450 * Math.floor(index / 3)) {
        const began = runtime.time;
        clips.push(ask(`clip${index++}`).then(() => void times.push(runtime.time - began)));
      }
    };
    const until = new AbortController();
    const request = pool.request({ signal: until.signal });
    let windows = 0;
    let reached = 0;
    while (times.length < 90) {
      const window = await engine.encode(request, { name: `long${windows}`, positions: 1500 });
      await window.search({ steps: 10 });
      window.close();
      windows += 1;
      if (index > 0 && reached === 0) reached = windows;
    }
    request.close();
    await Promise.all(clips);
    times.sort((a, b) => a - b);
    // Three that arrive together take 360 ms, and one window may be running when they arrive.
    expect(times[Math.floor(0.95 * times.length)]).toBeLessThanOrEqual(4 * 120 + 120);
    // It still gets time.
    expect(windows - reached).toBeGreaterThan(15);
  });

  it('follow the priority: live before interactive before batch', async () => {
    const { ask, done, runtime } = simulated({ windows: 1, rows: 1 });
    let others: Promise<void>[] = [];
    runtime.onTime = () => {
      if (others.length > 0) return;
      others = [ask('batch', { priority: 'batch' }), ask('interactive'), ask('live', { priority: 'live' })];
    };
    await ask('first');
    await Promise.all(others);
    expect(
      Object.entries(done)
        .sort((a, b) => a[1] - b[1])
        .map(([name]) => name),
    ).toEqual(['first', 'live', 'interactive', 'batch']);
  });

  it('include every request eventually, however many live requests there are', async () => {
    const { ask, done, runtime } = simulated({ windows: 1, rows: 1 });
    let number = 0;
    const live: Promise<void>[] = [];
    runtime.onTime = (time) => {
      // More than can be served.
      if (time < 6 * ageing && time > number * 100) live.push(ask(`live${number++}`, { priority: 'live' }));
    };
    const others = [ask('batch', { priority: 'batch' }), ask('interactive')];
    await Promise.all([ask('first', { priority: 'live' }), ...others]);
    expect(done.batch).toBeLessThan(ageing + 1000);
    expect(done.interactive).toBeLessThan(ageing + 1000);
    await Promise.all(live);
  });

  it.each(['live', 'interactive'] as const)('let %s requests pass a backlog of old batch windows', async (priority) => {
    const { ask, runtime } = simulated({ windows: 8, rows: 16 });
    const times: number[] = [];
    const others: Promise<void>[] = [];
    runtime.onTime = (time) => {
      // When the batch windows have waited for long, for 80% of the device's time.
      while (others.length < 60 && time >= 2 * ageing + 1000 + others.length * 150) {
        const began = runtime.time;
        others.push(ask(`clip${others.length}`, { priority }).then(() => void times.push(runtime.time - began)));
      }
    };
    await Promise.all(
      Array.from({ length: 200 }, (_, i) => ask(`batch${i}`, { priority: 'batch', search: { steps: 100 } })),
    );
    await Promise.all(others);
    expect(times).toHaveLength(60);
    // Without the backlog, one takes some 200 ms.
    expect(Math.max(...times)).toBeLessThan(600);
  });

  it('give an old backlog a bounded share while more urgent windows always wait', async () => {
    const { ask, runtime } = simulated({ windows: 1, rows: 1 });
    const batch = Array.from({ length: 100 }, (_, i) => ask(`batch${i}`, { priority: 'batch' }));
    const interactive = Array.from({ length: 100 }, (_, i) => ask(`interactive${i}`));
    const live = Array.from({ length: 300 }, (_, i) => ask(`live${i}`, { priority: 'live' }));
    await Promise.all(live);
    const order = runtime.log.flatMap((job) => /^encode ([a-z]+)/.exec(job)?.[1] ?? []);
    const [begin, end] = [Math.ceil(ageing / 120), order.lastIndexOf('live')];
    const among = (name: string) => order.slice(begin, end).filter((each) => each === name).length / (end - begin);
    expect(among('live')).toBeGreaterThan(0.75);
    expect(among('interactive')).toBeGreaterThan(0.08);
    expect(among('batch')).toBeGreaterThan(0.08);
    await Promise.all([...batch, ...interactive]);
  });

  it('include requests without a deadline, however many have one', async () => {
    const { ask, done, runtime } = simulated({ windows: 1, rows: 1 });
    let number = 0;
    const others: Promise<void>[] = [];
    runtime.onTime = (time) => {
      if (time < 4 * ageing && time > number * 100) others.push(ask(`new${number++}`, { deadline: 60_000 }));
    };
    await Promise.all([ask('first', { deadline: 60_000 }), ask('patient')]);
    expect(done.patient).toBeLessThan(ageing + 1000);
    await Promise.all(others);
  });

  it('follow the deadline within a priority, and late requests are not started', async () => {
    const { ask, done, runtime } = simulated({ windows: 1, rows: 1 });
    let others: Promise<PromiseSettledResult<void>[]> | undefined;
    runtime.onTime = () => {
      others ??= Promise.allSettled([
        ask('patient', { deadline: 10_000 }),
        ask('urgent', { deadline: 400 }),
        ask('hopeless', { deadline: 10 }),
      ]);
    };
    await ask('first');
    const results = await others!;
    expect(done.urgent).toBeLessThan(done.patient);
    expect(results[2]).toMatchObject({ status: 'rejected', reason: { code: 'TIMED_OUT' } });
    expect(runtime.log).not.toContain('encode hopeless');
  });

  it('never delay decoding rows by more than the limit and one encoding', async () => {
    const { ask, runtime } = simulated({ windows: 64, rows: 64 });
    const first = ask('first', { search: { steps: 100 } });
    await Promise.all([first, ...Array.from({ length: 60 }, (_, i) => ask(`w${i}`, { search: { steps: 20 } }))]);
    expect(runtime.longestPause).toBeLessThanOrEqual(250 + 100 + 2);
  });

  it('let the last of a wave of callers join it, where windows are encoded together', async () => {
    const { ask, done, runtime } = simulated({ windows: 32, rows: 32, encodeBatch: 8, costs: { encode: 5, step: 3 } });
    const search = { steps: 20 };
    const wave = (count: number, name: string) =>
      Promise.all(Array.from({ length: count }, (_, i) => ask(`${name}${i}`, { search })));
    await wave(8, 'before');
    const begin = runtime.time;
    let late: Promise<unknown> | undefined;
    runtime.onTime = (time) => {
      if (time > begin + 24 * 5) late ??= wave(4, 'late');
    };
    await wave(24, 'early');
    await late;
    // They are encoded between the steps of the others, rather than after these have ended.
    expect(done.late0).toBeLessThan(done.early0 + 20 * 3);
  });

  it('let the next window be submitted before all callers have handled results that came together', async () => {
    const { ask, runtime } = simulated({ windows: 8, rows: 8, encodeBatch: 8 });
    let handled = 0;
    const handledAtEncodes: number[] = [];
    const { encode } = runtime;
    runtime.encode = (windows) => {
      handledAtEncodes.push(handled);
      return encode.call(runtime, windows);
    };
    const caller = async (index: number) => {
      await ask(`first${index}`);
      handled += 1;
      await ask(`second${index}`);
    };
    await Promise.all(Array.from({ length: 8 }, (_, index) => caller(index)));
    expect(handledAtEncodes.find((count) => count > 0)).toBeLessThan(8);
  });
});
