/** Decoding on worker threads gives the same samples as on this thread, and threads end. */
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { Readable } from 'node:stream';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeEach, describe, expect, it, vi } from 'vitest';
import { mixed } from '../../lib/audio/channels.js';
import { convert } from '../../lib/audio/convert.js';
import { openAudio, openChannels } from '../../lib/audio/index.js';
import { byteSource } from '../../lib/audio/input.js';
import { readingOf } from '../../lib/audio/options.js';
import { fromBytes } from '../../lib/audio/read.js';
import { fromWorker } from '../../lib/audio/remote.js';
import type { Source } from '../../lib/audio/source.js';
import { warmUp } from '../../lib/audio/warm.js';
import { openVoice } from '../../lib/vad/remote.js';
import { openWebRtc } from '../../lib/vad/webrtc.js';
import { WorkerPool, workers } from '../../lib/workers/pool.js';
import { firstDifference, folder, joined, samplesOf, sine, wavOf } from '../audio/support.js';

/** Counts the conversions on this thread. */
vi.mock('../../lib/audio/convert.js', async (original) => {
  const module = await original<typeof import('../../lib/audio/convert.js')>();
  return { ...module, convert: vi.fn(module.convert) };
});
const here = vi.mocked(convert);

async function started(pool: WorkerPool): Promise<void> {
  pool.warm();
  while (!pool.ready) await sleep(5);
}

async function read(source: Source<Float32Array>) {
  const chunks: Float32Array[] = [];
  try {
    for await (const chunk of source.chunks()) chunks.push(chunk);
  } finally {
    await source.close();
  }
  const { duration, warnings, incomplete, tracks, startTime } = source;
  return { samples: joined(chunks), rest: { duration, warnings, incomplete, tracks, startTime } };
}

const told = (error: unknown) => ({ error: (error as Error).message });

it('warms up by decoding two seconds', async () => {
  const pool = new WorkerPool(new URL('../../dist/worker.js', import.meta.url));
  const items: { chunk?: Float32Array; end?: true; error?: unknown }[] = [];
  const open = pool.open.bind(pool);
  pool.open = (kind, data, { message, failed }) => {
    const keep = (given: unknown) => {
      const { item } = given as { item?: (typeof items)[number] };
      if (item) items.push(item);
      message(given);
    };
    return open(kind, data, { message: keep, failed });
  };
  warmUp(pool);
  while (!items.some(({ end, error }) => end || error)) await sleep(5);
  expect(items.some(({ error }) => error)).toBe(false);
  expect(items.reduce((sum, { chunk }) => sum + (chunk?.length ?? 0), 0)).toBe(2 * 16_000);
  await pool.terminate();
});

describe('on a thread', () => {
  beforeEach(async () => {
    await started(workers);
    here.mockClear();
  });
  afterAll(() => workers.terminate());

  const files = readdirSync(folder).filter((file) => !file.endsWith('.md'));
  it.each(files)('%s has the same samples as on this thread, as path, bytes and stream', async (file) => {
    const path = folder + file;
    const wanted = await fromBytes(await byteSource(path), readingOf({}), mixed)
      .then(read)
      .catch(told);
    here.mockClear();
    for (const input of [path, readFileSync(path)]) {
      const got = await openAudio(input).then(read).catch(told);
      if ('error' in wanted) {
        const named = wanted.error.replace(path, '').replace('the given bytes', '');
        expect((got as { error: string }).error.replace(path, '').replace('the given bytes', '')).toBe(named);
        continue;
      }
      if ('error' in got) throw new Error(got.error);
      expect(firstDifference(got.samples, wanted.samples)).toBe(-1);
      expect(got.rest).toEqual(wanted.rest);
    }
    if (!('error' in wanted)) {
      const { samples } = await openAudio(createReadStream(path)).then(read);
      expect(firstDifference(samples, wanted.samples)).toBe(-1);
    }
    expect(here).not.toHaveBeenCalled();
  });

  it('channels and given samples of another rate are converted', async () => {
    const [left, right] = [sine(440, 44_100), sine(880, 44_100)];
    const source = await openChannels({ samples: [left, right], sampleRate: 44_100 });
    const chunks: Float32Array[][] = [];
    for await (const chunk of source.chunks()) chunks.push(chunk);
    expect(chunks[0]).toHaveLength(2);
    expect(joined(chunks.map(([one]) => one))).toHaveLength(16_000);
    // The caller's samples are not transferred.
    expect(left).toHaveLength(44_100);
    expect(here).not.toHaveBeenCalled();
  });

  it('a stream is read only as far as needed', async () => {
    let pulled = 0;
    async function* seconds() {
      for (; ; ++pulled) yield pulled === 0 ? wavOf(new Float32Array(16_000 * 60)) : Buffer.alloc(32_000);
    }
    const source = await openAudio(seconds());
    const chunks = source.chunks()[Symbol.asyncIterator]();
    await chunks.next();
    await sleep(50);
    expect(pulled).toBeLessThanOrEqual(1);
    await source.close();
  });

  it('errors of a stream are the original ones, with their causes', async () => {
    const line = new Error('the line is dead');
    async function* broken() {
      yield wavOf(sine(440, 16_000)).subarray(0, 20_000);
      throw line;
    }
    const error = await openAudio(broken())
      .then(read)
      .catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'OneheadError', code: 'AUDIO_INVALID', cause: line });
    expect((error as Error).cause).toBe(line);
  });

  it('an abort rejects with its reason', async () => {
    const controller = new AbortController();
    const reason = new Error('enough');
    const source = await openAudio(new Readable({ read() {} }).wrap(createReadStream(`${folder}tone.wav`)), {
      signal: controller.signal,
    });
    controller.abort(reason);
    await expect(read(source)).rejects.toBe(reason);
  });

  it('voice detection has the same results as on this thread', async () => {
    const samples = await samplesOf('02_seen.flac');
    const whole = samples.slice(0, Math.floor(samples.length / 480) * 480);
    const [there, local] = [openVoice(workers, 3)!, await openWebRtc(3)];
    expect(Array.from(await there.probabilities(whole.slice()))).toEqual(Array.from(await local.probabilities(whole)));
    await Promise.all([there.close(), local.close()]);
  });
});

describe('a thread that ends', () => {
  const entry = new URL('./crashing.mjs', import.meta.url);
  const tone = readFileSync(`${folder}tone.flac`);
  const openOn = (pool: WorkerPool, name: string) => {
    const { signal, maxBytes, ...reading } = readingOf({});
    const given = { origin: { whole: tone, name }, open: () => Readable.from([tone]) };
    return fromWorker<Float32Array>(pool, given, { reading, apart: false }, undefined, true);
  };

  it.each([
    ['exit', 'WORKER_FAILED', /^The thread that decoded the audio ended early.*code 3.*try again\.$/],
    ['memory', 'OUT_OF_MEMORY', /ran out of memory/],
  ])('by %s fails its recordings, and the next one uses a new thread', async (name, code, message) => {
    const pool = new WorkerPool(entry, { size: 1, memory: 64 });
    const error = await openOn(pool, name).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ name: 'OneheadError', code, message: expect.stringMatching(message) });
    expect(pool.threads).toBe(0);
    expect((await read((await openOn(pool, 'tone'))!)).samples.length).toBeGreaterThan(20_000);
    await pool.terminate();
  });

  it('because it is idle affects no recording', async () => {
    const pool = new WorkerPool(entry, { size: 2, idle: 50 });
    await read((await openOn(pool, 'tone'))!);
    while (pool.threads > 0) await sleep(10);
    await read((await openOn(pool, 'tone'))!);
    await pool.terminate();
    expect(pool.threads).toBe(0);
  });

  it('and is not available if its file is missing', async () => {
    const pool = new WorkerPool(new URL('./missing.js', import.meta.url));
    expect(await openOn(pool, 'tone')).toBeNull();
  });
});
