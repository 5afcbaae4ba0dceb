/** The bound on the decoded audio of all open calls. */
import { totalmem } from 'node:os';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { AudioBudget, budgetOf } from '../../lib/whisper/transcription/audio-budget.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout, joined, readAll, wavOf } from '../audio/support.js';

const never = new AbortController().signal;
const settled = () => new Promise((resolve) => setTimeout(resolve, 5));

describe('the budget', () => {
  it('admits calls in order of priority, then of arrival, and none that would exceed it', async () => {
    const budget = new AudioBudget(100);
    const admitted: string[] = [];
    const returns = new Map<string, () => void>();
    const ask = (name: string, size: number, priority: 'live' | 'interactive' | 'batch' = 'interactive') =>
      budget.reserve(size, priority, never).then((giveBack) => {
        admitted.push(name);
        returns.set(name, giveBack);
      });
    void ask('a', 60);
    void ask('b', 60);
    void ask('small', 10);
    void ask('batch', 10, 'batch');
    void ask('live', 40, 'live');
    await settled();
    // The small one does not overtake b, which could otherwise wait for ever.
    expect(admitted).toEqual(['a', 'live']);
    returns.get('a')!();
    returns.get('a')!(); // a second time changes nothing
    await settled();
    expect(admitted).toEqual(['a', 'live', 'b']);
    returns.get('live')!();
    await settled();
    expect(admitted).toEqual(['a', 'live', 'b', 'small', 'batch']);
  });

  it('does not count what less urgent calls hold, so that these keep nobody waiting', async () => {
    const budget = new AudioBudget(100);
    const batch = await budget.reserve(100, 'batch', never);
    const interactive = await budget.reserve(60, 'interactive', never);
    const live = await budget.reserve(100, 'live', never);
    let isAdmitted = false;
    const next = budget.reserve(60, 'interactive', never).finally(() => {
      isAdmitted = true;
    });
    interactive();
    batch();
    await settled();
    // What more urgent calls hold counts.
    expect(isAdmitted).toBe(false);
    live();
    (await next)();
  });

  it('admits a call that needs more than all alone, and forgets those that are aborted', async () => {
    const budget = new AudioBudget(100);
    const giveBack = await budget.reserve(1, 'interactive', never);
    const controller = new AbortController();
    const large = budget.reserve(1000, 'interactive', controller.signal);
    const next = budget.reserve(50, 'interactive', never);
    controller.abort(new Error('enough'));
    await expect(large).rejects.toThrow('enough');
    (await next)();
    giveBack();
    (await budget.reserve(1000, 'interactive', never))();
    await expect(budget.reserve(1, 'interactive', AbortSignal.abort(new Error('late')))).rejects.toThrow('late');
  });
});

describe('many calls of long audio', () => {
  let whisper: Whisper;
  let recording: Float32Array;
  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2 });
    const { samples } = await readAll(`${heldout}12_long_seen.flac`);
    recording = joined(Array.from({ length: Math.ceil((130 * 16_000) / samples.length) }, () => samples));
  });
  afterAll(() => whisper.dispose());

  /** A stream of the recording that counts its seconds. */
  function counted() {
    const state = { seconds: 0 };
    async function* stream() {
      const wav = wavOf(recording);
      for (let at = 0; at < wav.length; at += 16_000) {
        state.seconds += 0.5;
        yield wav.subarray(at, at + 16_000);
      }
    }
    return { state, stream: stream() };
  }

  it('hold no more than the budget and a little of each, and give what one alone gives', {
    timeout: 60_000,
  }, async () => {
    const options = { language: 'en', lookAhead: 40 };
    const alone = await whisper.transcribe(counted().stream, options);
    const budget = budgetOf(whisper.model, 1);
    const { total } = budget;
    // At least ten calls of eleven minutes, else a quarter of the memory.
    expect(total / 16_000 / 10).toBeGreaterThan(660);
    expect(total * 4).toBeLessThanOrEqual(Math.max(totalmem() / 4, 10 * 850 * 16_000 * 4));
    // A call that reads 40 s ahead holds about three minutes: two fit.
    budget.total = 400 * 16_000;
    try {
      const open = Array.from({ length: 7 }, counted);
      let most = 0;
      const done = open.map(() => false);
      const calls = open.map(({ stream }, call) =>
        whisper.transcribe(stream, options).finally(() => {
          done[call] = true;
        }),
      );
      const watch = setInterval(() => {
        const long = open.filter(({ state }, call) => !done[call] && state.seconds > 45);
        most = Math.max(most, long.length);
      }, 2);
      const results = await Promise.all(calls);
      clearInterval(watch);
      expect(most).toBe(2);
      for (const { text, segments } of results)
        expect({ text, segments }).toEqual({ text: alone.text, segments: alone.segments });
      // Nothing is left reserved.
      await Promise.all([1, 2].map(async () => (await budget.reserve(200 * 16_000, 'batch', never))()));
    } finally {
      budget.total = total;
    }
  });

  it('that wait are counted in figures, and rejected at their deadline', async () => {
    const giveBack = await budgetOf(whisper.model, 1).reserve(Number.POSITIVE_INFINITY, 'live', never);
    try {
      const late = whisper.transcribe(counted().stream, { language: 'en', priority: 'batch', deadline: 3000 });
      const rejected = expect(late).rejects.toMatchObject({
        code: 'TIMED_OUT',
        message: expect.stringContaining('deadline'),
      });
      await expect.poll(() => whisper.figures().waiting.calls, { timeout: 2500 }).toBe(1);
      await settled();
      const { oldestByPriority, oldestMilliseconds } = whisper.figures().waiting;
      expect(oldestByPriority.batch).toBeGreaterThan(0);
      expect(oldestMilliseconds).toBeGreaterThanOrEqual(oldestByPriority.batch);
      await rejected;
    } finally {
      giveBack();
    }
    const { waiting, requests } = whisper.figures();
    expect([waiting.calls, waiting.oldestMilliseconds, requests]).toEqual([0, 0, 0]);
  });

  it('that wait can be aborted, and short ones do not wait', async () => {
    const giveBack = await budgetOf(whisper.model, 1).reserve(Number.POSITIVE_INFINITY, 'live', never);
    try {
      const controller = new AbortController();
      const waiting = whisper.transcribe(counted().stream, { language: 'en', signal: controller.signal });
      const short = await whisper.transcribe(recording.subarray(0, 16_000 * 20), { language: 'en' });
      expect(short.segments.length).toBeGreaterThan(0);
      controller.abort(new Error('enough'));
      await expect(waiting).rejects.toThrow('enough');
      const late = whisper.transcribe(counted().stream, { language: 'en', timeout: 300 });
      await expect(late).rejects.toMatchObject({ code: 'TIMED_OUT' });
    } finally {
      giveBack();
    }
    expect(whisper.figures().requests).toBe(0);
  });
});
