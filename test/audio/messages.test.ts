/** What the main thread sends to a worker that decodes audio. */
import { readFile } from 'node:fs/promises';
import { expect, test } from 'vitest';
import { bufferBytes } from '../../lib/audio/bytes.js';
import { readingOf } from '../../lib/audio/options.js';
import { fromWorker, type SentSource, sendSource, smallBytes } from '../../lib/audio/remote.js';
import type { SessionEvents, WorkerPool } from '../../lib/workers/pool.js';
import { heldout } from './support.js';

type Sent = { message: unknown; transfer: readonly unknown[] };

/** A pool whose thread requests the input to its end and decodes nothing; `sent` gets all messages. */
function recordingPool(sent: Sent[]): WorkerPool {
  const open = (_kind: string, data: unknown, events: SessionEvents, _patient: boolean, transfer: unknown[] = []) => {
    sent.push({ message: data, transfer });
    let answer = 0;
    const request = () => setImmediate(() => events.message({ pull: 0, answer: answer++ }));
    const end = () =>
      events.message({ item: { state: { warnings: [], incomplete: false, tracks: [], start: 0 }, end: true } });
    setImmediate(() => events.message({ opened: null }));
    if ('whole' in (data as { origin: object }).origin) setImmediate(end);
    else request();
    return {
      post(message: { given?: unknown }, transfer: unknown[] = []) {
        sent.push({ message, transfer });
        if (message.given) request();
        else end();
      },
      setState() {},
      close: async () => {},
    };
  };
  return { open } as unknown as WorkerPool;
}

/** Sends a source and returns all arrays sent. Each must be alone in its buffer, which must be transferred. */
async function arraysSent(given: SentSource): Promise<(Uint8Array | Float32Array)[]> {
  const sent: Sent[] = [];
  const { signal, maxBytes, ...reading } = readingOf({});
  const source = await fromWorker(recordingPool(sent), given, { reading, apart: false }, undefined, true);
  for await (const _ of source!.chunks());
  await source!.close();
  const arrays = sent.flatMap(({ message }) => {
    const { origin, given } = message as { origin?: { whole?: Uint8Array }; given?: Uint8Array | Float32Array[] };
    return [origin?.whole ?? given ?? []].flat() as (Uint8Array | Float32Array)[];
  });
  const transferred = new Set(sent.flatMap(({ transfer }) => transfer));
  for (const array of arrays) {
    expect(array.byteLength).toBe(array.buffer.byteLength);
    expect(transferred).toContain(array.buffer);
  }
  return arrays;
}

const recording = await readFile(`${heldout}12_long_seen.flac`);

test.each([
  ['small', 50_000],
  ['large', smallBytes + 300_000],
])('a %s recording within a larger buffer is sent without the rest of it', async (_size, length) => {
  const body = new Uint8Array(4 * smallBytes + 1_000_000);
  for (let at = 0; at < body.length; at += recording.length) {
    body.set(recording.subarray(0, body.length - at), at);
  }
  const part = body.subarray(1000, 1000 + length);
  const arrays = await arraysSent(await sendSource(bufferBytes(part)));
  expect(Buffer.concat(arrays as Uint8Array[]).equals(part)).toBe(true);
  // The caller still has all of it.
  expect(body.length).toBe(4 * smallBytes + 1_000_000);
});

test("parts of the caller's samples are sent without the rest of them", async () => {
  const samples = Float32Array.from({ length: 100_000 }, (_, i) => Math.sin(i / 20));
  async function* open() {
    for (let at = 0; at < samples.length; at += 30_000)
      yield [samples.subarray(at, at + 30_000), samples.subarray(at, at + 30_000)];
  }
  const arrays = await arraysSent({ origin: { sampleRate: 44_100, duration: 2, name: 'samples' }, open } as SentSource);
  expect(arrays.map(({ length }) => length)).toEqual([30_000, 30_000, 30_000, 30_000, 30_000, 30_000, 10_000, 10_000]);
  expect(arrays[2]).toEqual(samples.slice(30_000, 60_000));
  expect(samples.length).toBe(100_000);
});
