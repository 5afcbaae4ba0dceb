/** A worker in this process: complete results, each once; kinds of failures; resumed recordings. */
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished, vi } from 'vitest';
import { MemoryQueue } from '../../lib/batch/memory.js';
import { openStore } from '../../lib/batch/open-store.js';
import type { BatchProgress, StoredOptions } from '../../lib/batch/queue.js';
import { Results } from '../../lib/batch/results.js';
import { recordingsOf } from '../../lib/batch/sources.js';
import type { Store } from '../../lib/batch/store.js';
import { BatchWorker, type WorkerEvent, type WorkerOptions } from '../../lib/batch/worker.js';
import { OneheadError } from '../../lib/errors.js';
import { WhisperRuntime } from '../../lib/whisper/model/runtime.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { clips, essence, longRecording, shortRecording, temporaryFolder } from './support.js';

const { folder, remove } = temporaryFolder();
const input = join(folder, 'in');
const output = join(folder, 'out');
let whisper: Whisper;
let all: Float32Array[];
let store: Store;
let queue: MemoryQueue;
let events: WorkerEvent[];

beforeAll(async () => {
  whisper = await Whisper.load();
  all = await clips();
}, 60_000);
afterAll(() => {
  whisper.dispose();
  remove();
});
beforeEach(async () => {
  rmSync(input, { recursive: true, force: true });
  rmSync(output, { recursive: true, force: true });
  mkdirSync(input, { recursive: true });
  store = await openStore(output);
  queue = new MemoryQueue({ attempts: 3, pause: () => 20, wait: 50 });
  events = [];
});

const submit = async (options: StoredOptions = {}) => queue.add(await recordingsOf([input], options));
const never = new AbortController().signal;

async function work(options: WorkerOptions & { store?: Store; whisper?: Whisper; signal?: AbortSignal } = {}) {
  const { store: other = store, whisper: model = whisper, signal = never, ...rest } = options;
  const worker = new BatchWorker(queue, model, 'model', new Results(other, ['json', 'srt']), {
    untilEmpty: true,
    journalInterval: 50,
    onEvent: (event) => events.push(event),
    ...rest,
  });
  await worker.run(signal);
}
const put = (name: string, bytes: Buffer | string) => writeFileSync(join(input, name), bytes);
const result = (name: string) => JSON.parse(readFileSync(join(output, `${name}.json`), 'utf8'));
const of = <E extends WorkerEvent['event']>(kind: E) =>
  events.filter((event): event is Extract<WorkerEvent, { event: E }> => event.event === kind);

/** A store whose operations can be made to fail. */
function failing(broken: Partial<Store>): Store {
  return new Proxy(store, {
    get: (target, name) => (broken as Record<PropertyKey, unknown>)[name] ?? Reflect.get(target, name).bind(target),
  });
}

describe('a worker', () => {
  it('writes each result in the requested formats, equal to that of transcribe', async () => {
    for (let i = 0; i < 6; ++i) put(`talk${i}.wav`, shortRecording(all, i));
    await submit({ wordTimestamps: true });
    await work();
    expect(await queue.counts()).toEqual({ waiting: 0, delayed: 0, active: 0, done: 6, failed: 0 });
    for (let i = 0; i < 6; ++i) {
      const alone = await whisper.transcribe(join(input, `talk${i}.wav`), { wordTimestamps: true });
      expect(result(`talk${i}`).text).toBe(alone.text);
      expect(result(`talk${i}`).segments.map(({ words }: { words: unknown }) => words)).toEqual(
        alone.segments.map(({ words }) => words),
      );
      expect(readFileSync(join(output, `talk${i}.srt`), 'utf8')).toContain(alone.segments[0].text.trim());
    }
  });

  it('transcribes the same audio once, whatever its name', async () => {
    put('one.wav', shortRecording(all, 1));
    await submit();
    await work();
    put('copy.wav', shortRecording(all, 1));
    queue = new MemoryQueue({ wait: 50 });
    const { windows } = whisper.figures();
    await submit();
    await work();
    expect(whisper.figures().windows).toBe(windows);
    expect(result('copy')).toEqual(result('one'));
    expect(of('done').map(({ summary }) => summary.repeated)).toEqual([false, true, true]);
    // Other options have a separate result.
    await submit({ timestamps: 'none' });
    await work();
    expect(whisper.figures().windows).toBeGreaterThan(windows);
  });

  it('sets aside recordings that cannot be transcribed, with the reason', async () => {
    put('talk.wav', shortRecording(all, 2));
    put('notes.wav', 'These are notes.');
    put('gone.wav', shortRecording(all, 3));
    await submit();
    rmSync(join(input, 'gone.wav'));
    await work();
    const failures = await queue.failures();
    expect(failures.map(({ name, attempts }) => [name, attempts]).sort()).toEqual([
      ['gone', 1],
      ['notes', 1],
    ]);
    expect(failures.find(({ name }) => name === 'notes')?.reason).toMatch(/text and does not look like audio/);
    expect(failures.find(({ name }) => name === 'gone')?.reason).toMatch(/gone\.wav: the file does not exist/);
    expect(existsSync(join(output, 'notes.json'))).toBe(false);
    expect(result('talk').text).not.toBe('');
  });

  it('retries temporary failures, without decoding again', async () => {
    put('talk.wav', shortRecording(all, 4));
    await submit();
    let left = 2;
    const { windows } = whisper.figures();
    const full = failing({
      create: async (key, bytes) => {
        if (left-- > 0) throw new OneheadError('STORE_FAILED', 'Cannot write: no space left on device.');
        return store.create(key, bytes);
      },
    });
    await work({ store: full });
    expect(of('failed').map(({ setAside }) => setAside)).toEqual([false, false]);
    expect(of('done').map(({ summary }) => summary.attempt)).toEqual([3]);
    expect(whisper.figures().windows).toBe(windows + 1);
  });

  it('has stored all of a journal once its flush has ended, even if another flush was under way', async () => {
    let written = 0;
    const slow = failing({
      write: async (key, bytes) => {
        await new Promise((resolve) => setTimeout(resolve, 50));
        await store.write(key, bytes);
        written += 1;
      },
    });
    const journal = new Results(slow, ['json']).journal('00'.repeat(32), 1);
    journal.keep('a', '1');
    void journal.flush();
    await journal.flush();
    expect(written).toBe(1);
    journal.keep('b', '2');
    void journal.flush();
    await journal.remove();
    expect(await store.list('.onehead/journals')).toEqual([]);
  });

  it('releases unfinished recordings when it stops, and the next worker resumes them', async () => {
    put('long.wav', longRecording(all, 60, 1));
    const whole = await whisper.transcribe(join(input, 'long.wav'));
    await submit();
    const { windows: before } = whisper.figures();
    const stop = new AbortController();
    const running = work({ drain: 0, journalInterval: 100_000, signal: stop.signal });
    while (whisper.figures().windows < before + 3) await new Promise((resolve) => setTimeout(resolve, 5));
    stop.abort();
    await running;
    expect(of('left').map(({ reason }) => reason)).toEqual(['stopped']);
    expect(await queue.counts()).toMatchObject({ waiting: 1, active: 0, failed: 0 });
    expect(existsSync(join(output, 'long.json'))).toBe(false);
    const { windows: halfway } = whisper.figures();
    await work();
    expect(of('started')[1].known).toBeGreaterThan(1);
    // Together the windows are those of a single run, except for those in progress at the end.
    const alone = new Set(whole.segments.map(({ seek }) => seek)).size;
    expect(whisper.figures().windows - halfway).toBeLessThan(alone);
    const kept = await store.list('.onehead/results');
    expect(kept).toHaveLength(1);
    const { transcription } = JSON.parse(String(await store.read(kept[0])));
    expect(essence(transcription)).toEqual(essence(whole));
    expect(await store.list('.onehead/journals')).toEqual([]);
  });

  it('continues after processes that were killed again and again, without a queue that outlives them', async () => {
    // Long enough that three processes are killed before its end, on a fast machine too.
    put('long.wav', longRecording(all, 400, 1));
    const whole = await whisper.transcribe(join(input, 'long.wav'));
    // Like a process that is killed: whatever was not saved by itself before is lost.
    const killed = async () => {
      let isDead = false;
      const dead = failing({
        write: async (key, bytes) => (isDead ? undefined : store.write(key, bytes)),
        create: async (key, bytes) => !isDead && store.create(key, bytes),
        remove: async (key) => (isDead ? undefined : store.remove(key)),
      });
      queue = new MemoryQueue({ attempts: 3, pause: () => 20, wait: 50 });
      await submit();
      const stop = new AbortController();
      const running = work({ drain: 0, journalInterval: 300, signal: stop.signal, store: dead });
      let hasEnded = false;
      void running.finally(() => {
        hasEnded = true;
      });
      const parts = (await store.list('.onehead/journals')).length;
      while (!hasEnded && (await store.list('.onehead/journals')).length <= parts) {
        await new Promise((done) => setTimeout(done, 5));
      }
      isDead = true;
      stop.abort();
      await running;
    };
    await killed();
    await killed();
    await killed();
    const known = of('started').map((event) => event.known);
    expect(known[0]).toBe(0);
    expect(known[1]).toBeGreaterThan(0);
    expect(known[2]).toBeGreaterThan(known[1]);
    queue = new MemoryQueue({ attempts: 3, pause: () => 20, wait: 50 });
    await submit();
    await work();
    expect(of('done').map(({ summary }) => summary.attempt)).toEqual([1]);
    const [kept] = await store.list('.onehead/results');
    const { transcription } = JSON.parse(String(await store.read(kept)));
    expect(essence(transcription)).toEqual(essence(whole));
    expect(await store.list('.onehead/journals')).toEqual([]);
  });

  it('leaves no journal if a process was killed after it had stored the result', async () => {
    put('long.wav', longRecording(all, 60, 1));
    await submit();
    let isDead = false;
    const dead = failing({
      write: async (key, bytes) => (isDead ? undefined : store.write(key, bytes)),
      create: async (key, bytes) => {
        const created = !isDead && (await store.create(key, bytes));
        isDead ||= key.startsWith('.onehead/results');
        return created;
      },
      remove: async (key) => (isDead ? undefined : store.remove(key)),
    });
    await work({ store: dead });
    expect(await store.list('.onehead/journals')).not.toEqual([]);
    queue = new MemoryQueue({ attempts: 3, pause: () => 20, wait: 50 });
    await submit();
    await work();
    expect(of('done').map(({ summary }) => summary.repeated)).toEqual([false, true]);
    expect(await store.list('.onehead/journals')).toEqual([]);
  });

  it('leaves no journal if another worker has finished the recording meanwhile', async () => {
    put('long.wav', longRecording(all, 400, 1));
    await submit();
    const { claim } = queue;
    let isLost = false;
    queue.claim = async () => {
      const claimed = await claim.call(queue);
      const extend = async (progress?: BatchProgress) => (isLost ? 'lost' : claimed!.extend(progress));
      return claimed && { ...claimed, lock: 150, extend };
    };
    const stop = new AbortController();
    const losing = failing({
      write: async (key, bytes) => {
        await store.write(key, bytes);
        if (isLost || !key.startsWith('.onehead/journals')) return;
        const [, result] = /journals\/(.*)\/[^/]*$/.exec(key)!;
        await store.create(`.onehead/results/${result}.json`, Buffer.from('{"transcription":{"segments":[]}}'));
        isLost = true;
      },
    });
    const onEvent = (event: WorkerEvent) => {
      events.push(event);
      if (event.event === 'left') stop.abort();
    };
    await work({ store: losing, signal: stop.signal, onEvent });
    expect(of('left').map(({ reason }) => reason)).toEqual(['lost']);
    expect(await store.list('.onehead/journals')).toEqual([]);
  });

  it('uses several devices at once', async () => {
    for (let i = 0; i < 12; ++i) put(`talk${i}.wav`, shortRecording(all, i));
    await submit();
    const several = await Whisper.load(undefined, { device: ['cpu', 'cpu'], threads: 1, windows: 2 });
    try {
      expect(several.model.windows).toBe(4); // two on each device
      await work({ whisper: several });
      expect(several.figures().windows).toBe(12);
    } finally {
      several.dispose();
    }
    expect(await queue.counts()).toMatchObject({ done: 12, failed: 0 });
    const alone = await whisper.transcribe(join(input, 'talk7.wav'));
    expect(result('talk7').text).toBe(alone.text);
  });

  it('returns its recordings and ends with an error if the device fails', async () => {
    for (let i = 0; i < 12; ++i) put(`talk${i}.wav`, shortRecording(all, i));
    await submit();
    const broken = await Whisper.load(undefined, { device: 'cpu', threads: 1, windows: 2 });
    onTestFinished(() => broken.dispose());
    const encode = vi.spyOn(WhisperRuntime.prototype, 'encode');
    onTestFinished(() => encode.mockRestore());
    encode.mockRejectedValueOnce(new OneheadError('DEVICE_FAILED', 'The GPU has fallen off the bus.'));
    await expect(work({ whisper: broken })).rejects.toMatchObject({
      code: 'DEVICE_FAILED',
      message: expect.stringContaining('The GPU has fallen off the bus. Unfinished recordings are back'),
    });
    expect(of('failed')).toEqual([]);
    expect(new Set(of('left').map(({ reason }) => reason))).toEqual(new Set(['device failed']));
    const { done, waiting, delayed, active, failed } = await queue.counts();
    expect([done + waiting, delayed, active, failed]).toEqual([12, 0, 0, 0]);
    // Another worker finishes them.
    await work();
    expect(await queue.counts()).toMatchObject({ done: 12, failed: 0 });
  });

  it('waits for memory that others have taken, ever longer, without counting failures', async () => {
    for (let i = 0; i < 12; ++i) put(`talk${i}.wav`, shortRecording(all, i));
    await submit();
    const encode = vi.spyOn(WhisperRuntime.prototype, 'encode');
    onTestFinished(() => encode.mockRestore());
    const short = new OneheadError('OUT_OF_MEMORY', 'The GPU has too little memory.');
    const pauses: number[] = [];
    encode.mockRejectedValue(short);
    await work({
      pause: (failures) => {
        pauses.push(failures);
        // More failures in a row than the attempts of a recording.
        if (failures === 5) encode.mockRestore();
        return 100;
      },
    });
    expect(pauses.slice(0, 5)).toEqual([1, 2, 3, 4, 5]);
    expect(of('trouble')[0]?.message).toBe('No recordings are claimed for 1 s: The GPU has too little memory.');
    expect(of('failed')).toEqual([]);
    expect(new Set(of('left').map(({ reason }) => reason))).toEqual(new Set(['out of memory']));
    expect(await queue.counts()).toMatchObject({ done: 12, failed: 0 });
  });

  it('sets a recording aside that never finds the memory it needs', async () => {
    put('talk.wav', shortRecording(all, 0));
    await submit();
    const encode = vi.spyOn(WhisperRuntime.prototype, 'encode');
    onTestFinished(() => encode.mockRestore());
    encode.mockRejectedValue(new OneheadError('OUT_OF_MEMORY', 'The GPU has too little memory.'));
    await work({ pause: () => 10 });
    expect(of('left')).toHaveLength(10);
    expect(of('failed').map(({ setAside }) => setAside)).toHaveLength(3);
    expect(await queue.counts()).toMatchObject({ done: 0, failed: 1 });
  });

  it('stops cancelled recordings', async () => {
    put('long.wav', longRecording(all, 60, 2));
    await submit();
    const stop = new AbortController();
    const running = work({ untilEmpty: false, signal: stop.signal });
    while (of('started').length === 0) await new Promise((resolve) => setTimeout(resolve, 5));
    expect(await queue.cancel(['long'])).toBe(1);
    stop.abort();
    await running;
    expect(of('left').map(({ reason }) => reason)).toEqual(['cancelled']);
    expect(await store.list('.onehead/results')).toEqual([]);
  });
});
