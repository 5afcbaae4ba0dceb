/** What fails rejects its own calls. Only a lost device ends the engine, and then nothing stays unsettled. */
import { describe, expect, it } from 'vitest';
import { Engine } from '../../lib/engine/engine.js';
import { Pool } from '../../lib/engine/pool.js';
import { type StepRun, submitted } from '../../lib/engine/runtime.js';
import { SimulatedRuntime, type SimulatedSearch } from './simulated.js';

const methods = [
  'positionsOf',
  'rowsOf',
  'waitsForStart',
  'encode',
  'start',
  'step',
  'collect',
  'release',
  'withRows',
] as const;
type Method = (typeof methods)[number];

interface Fault {
  method: Method;
  /** The number of the call that fails, from 1 on. */
  call: number;
  /** The call throws, what it has submitted fails, or its result cannot be made. */
  how: 'throws' | 'rejects' | 'cannot finish';
  isLost: boolean;
}

const errorOf = ({ isLost }: Fault) =>
  Object.assign(new Error('fault'), { code: isLost ? 'DEVICE_FAILED' : 'OUT_OF_MEMORY' });

/** A runtime in which one call of a method fails. Calls of `withRows` are counted by `logits`. */
class FaultyRuntime extends SimulatedRuntime {
  calls = 0;
  readonly error: Error;

  constructor(fault: Fault) {
    super({ windows: 4, rows: 4, encodeBatch: 2 });
    this.error = errorOf(fault);
    const { method, call, how } = fault;
    type Call = (...values: never[]) => unknown;
    const all = this as unknown as Record<string, Call>;
    const name = method === 'withRows' ? 'logits' : method;
    const original = all[name].bind(this) as Call;
    all[name] = (...values: never[]) => {
      this.calls += 1;
      if (this.calls !== call) return original(...values);
      const fail = () => {
        throw this.error;
      };
      if (name === 'collect') original(...values);
      if (how === 'throws') return fail();
      if (how === 'cannot finish') return submitted(Promise.resolve(), fail);
      if (name === 'collect' || name === 'logits') return submitted(Promise.reject(this.error), () => {});
      // Work fails when the device comes to it.
      const result = original(...values);
      if (name !== 'step') return (result as Promise<unknown>).then(fail);
      const run = result as StepRun<SimulatedSearch>;
      return { ...run, done: run.done.then(fail) };
    };
  }

  /** Work of a caller in free rows. */
  logits() {
    return submitted(Promise.resolve(), () => 'logits');
  }
}

const faults: Fault[] = methods.flatMap((method) => {
  const isWork = !['positionsOf', 'rowsOf', 'waitsForStart', 'release'].includes(method);
  const hasResult = method === 'collect' || method === 'withRows';
  const ways = ['throws', ...(isWork ? ['rejects'] : []), ...(hasResult ? ['cannot finish'] : [])] as Fault['how'][];
  return ways.flatMap((how) =>
    (method === 'release' ? [1] : [1, 2, 4]).flatMap((call) =>
      [true, false].map((isLost) => ({ method, call, how, isLost })),
    ),
  );
});

/** Calls of all kinds at once. */
function serve(runtime: FaultyRuntime) {
  const engine = new Engine(runtime, { now: runtime.now });
  const pool = new Pool([engine], { maximumRequests: 100, now: runtime.now });
  const ask = async (name: string, steps: number, signal?: AbortSignal) => {
    const request = pool.request({ signal });
    try {
      const window = await engine.encode(request, { name, positions: 1500 });
      try {
        // Both are awaited, as a window stays open until its last search has ended.
        const ended = await Promise.allSettled([
          window.search({ steps, waits: steps === 0 }),
          window.search({ steps: 7 }),
        ]);
        for (const one of ended) if (one.status === 'rejected') throw one.reason;
        await window.withRows(1, () => runtime.logits());
      } finally {
        window.close();
      }
    } finally {
      request.close();
    }
  };
  const stop = new AbortController();
  const calls = [...[10, 0, 30, 5, 12, 3].map((steps, i) => ask(`w${i}`, steps)), ask('stopped', 500, stop.signal)];
  let begun = 0;
  runtime.onTime = () => {
    if (runtime.log.includes('start stopped') && ++begun > 20) stop.abort(new Error('stopped'));
  };
  return { engine, pool, ask, calls };
}

const soon = <T>(promise: Promise<T>) =>
  Promise.race([promise, new Promise<never>((_, reject) => setTimeout(reject, 5000, new Error('unsettled')))]);

describe.each(faults)('call $call of $method that $how (lost: $isLost)', (fault) => {
  it('settles every call and frees everything', async () => {
    const runtime = new FaultyRuntime(fault);
    const { engine, pool, ask, calls } = serve(runtime);
    const results = await soon(Promise.allSettled(calls));
    const used = () => {
      const { requests, positions, rows, waiting } = pool.figures();
      return [requests, positions.used, rows.used, waiting.windows, waiting.searches];
    };
    // A cancelled search frees its rows at the next step.
    await expect.poll(used).toEqual([0, 0, 0, 0, 0]);
    expect(runtime.calls).toBeGreaterThanOrEqual(fault.call);
    const { failure } = pool.figures();
    const errors = results.flatMap((result) => (result.status === 'rejected' ? [result.reason] : []));
    const ofFault = errors.filter((error) => error === runtime.error);
    // `release` cannot fail: if it does, the engine's state is unknown.
    const ends = fault.isLost ? !['positionsOf', 'rowsOf'].includes(fault.method) : fault.method === 'release';
    expect(failure !== null).toBe(ends);
    expect(engine.hasEnded).toBe(ends);
    if (ends) {
      await expect(soon(ask('later', 3))).rejects.toBe(runtime.error);
    } else {
      await soon(ask('later', 3));
      // Work for several windows fails for all of them.
      const shared = fault.method === 'step' || (fault.how === 'rejects' && ['encode', 'start'].includes(fault.method));
      if (shared) expect(ofFault.length).toBeLessThan(calls.length - 1);
      else expect(ofFault.length).toBeLessThanOrEqual(1);
    }
  });
});

describe('an engine that is closed', () => {
  it('rejects searches whose results are being read, and jobs of callers', async () => {
    const runtime = new SimulatedRuntime();
    const engine = new Engine(runtime, { now: runtime.now });
    const pool = new Pool([engine], { maximumRequests: 10, now: runtime.now });
    const reading = new Promise<void>((resolve) => {
      runtime.collect = () => {
        resolve();
        return submitted(new Promise<never>(() => {}), () => ({ window: '', steps: 0 }));
      };
    });
    const request = pool.request();
    const window = await engine.encode(request, { name: 'a', positions: 1500 });
    const pending = [
      window.search({ steps: 3 }),
      window.withRows(1, () => submitted(new Promise<never>(() => {}), () => 0)),
      engine.exclusive(() => new Promise<never>(() => {})),
    ];
    await reading;
    const reason = new Error('closed');
    pool.close(reason);
    for (const one of pending) await expect(soon<unknown>(one)).rejects.toBe(reason);
    window.close();
    request.close();
    const { rows, positions } = engine.figures();
    expect([rows.used, positions.used, pool.requests]).toEqual([0, 0, 0]);
  });
});

describe('a device that hangs', () => {
  it('rejects what waits at its deadline', async () => {
    const runtime = new SimulatedRuntime({ windows: 1, rows: 1 });
    runtime.encode = () => new Promise<never>(() => {});
    runtime.start = () => new Promise<never>(() => {});
    const engine = new Engine(runtime);
    const pool = new Pool([engine], { maximumRequests: 10 });
    const window = (name: string, deadline?: number) =>
      engine.encode(pool.request({ deadline }), { name, positions: 1500 });
    const first = await window('first');
    const search = first.search({ steps: 3 });
    const patient = window('d', 100_000);
    const late = await soon(Promise.allSettled([window('b', 60), window('c', 30)]));
    for (const one of late) expect(one).toMatchObject({ status: 'rejected', reason: { code: 'TIMED_OUT' } });
    expect(engine.figures().waiting.windows).toBe(1);
    engine.close();
    for (const one of await soon(Promise.allSettled([search, patient]))) {
      expect(one).toMatchObject({ status: 'rejected', reason: { code: 'DISPOSED' } });
    }
  });
});
