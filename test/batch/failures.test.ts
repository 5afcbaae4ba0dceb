/** Failures after which a recording is set aside, and those after which it is retried. */
import { spawnSync } from 'node:child_process';
import { chmodSync, mkdirSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:net';
import { join } from 'node:path';
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { isPermanent, objectError } from '../../lib/batch/failures.js';
import { LocalFiles } from '../../lib/batch/local.js';
import { MemoryQueue } from '../../lib/batch/memory.js';
import { openStore } from '../../lib/batch/open-store.js';
import { Results } from '../../lib/batch/results.js';
import { recordingsOf } from '../../lib/batch/sources.js';
import { BatchWorker } from '../../lib/batch/worker.js';
import { type ErrorCode, OneheadError } from '../../lib/errors.js';
import { TranscriptionError } from '../../lib/whisper/transcription/failure.js';
import type { Whisper } from '../../lib/whisper/whisper.js';
import { temporaryFolder } from './support.js';

const never = new AbortController().signal;
const system = (code: string) => Object.assign(new Error(`${code}: of the system, read`), { code, syscall: 'read' });
const { folder, remove } = temporaryFolder();
const place = (name: string) => join(folder, name);
let socket: Server;

beforeAll(async () => {
  mkdirSync(place('folder.wav'));
  writeFileSync(place('closed.wav'), 'x');
  chmodSync(place('closed.wav'), 0);
  writeFileSync(place('empty.wav'), '');
  symlinkSync('nothing.wav', place('dangling.wav'));
  symlinkSync('loop.wav', place('loop.wav'));
  spawnSync('mkfifo', [place('pipe.wav')]);
  socket = createServer();
  await new Promise<void>((resolve) => socket.listen(place('socket.wav'), resolve));
});
afterAll(() => {
  socket.close();
  remove();
});

describe('a file', () => {
  const root = process.geteuid?.() === 0;
  // Root can read all files.
  beforeEach(() => {
    if (root) process.seteuid?.('nobody');
  });
  afterEach(() => {
    if (root) process.seteuid?.(0);
  });
  it('without read permission is reported as such', async () => {
    const error = await new LocalFiles().fetch(place('closed.wav'), never).catch((cause: unknown) => cause);
    expect(error).toMatchObject({ code: 'AUDIO_NOT_FOUND', message: expect.stringMatching(/may not read it/) });
    expect(isPermanent(error)).toBe(true);
  });
});

it.each([
  ['gone.wav', /gone\.wav: the file does not exist on this machine\.$/],
  ['empty.wav/below.wav', /does not exist/],
  ['dangling.wav', /does not exist/],
  ['loop.wav', /a broken link/],
  ['folder.wav', /it is a folder/],
  ['pipe.wav', /not a regular file/],
  ['socket.wav', /not a regular file/],
  [`${'x'.repeat(300)}.wav`, /its name is too long/],
  ['nul\0.wav', /null byte/],
])('%j is set aside with its reason', async (name, sentence) => {
  const error = await new LocalFiles().fetch(place(name), never).catch((cause: unknown) => cause);
  expect(error).toMatchObject({ code: 'AUDIO_NOT_FOUND', message: expect.stringMatching(sentence) });
  expect(isPermanent(error)).toBe(true);
});

it('is distinguished from temporary failures by the system error', () => {
  const audio = (code: ErrorCode, cause?: unknown) => new OneheadError(code, 'Cannot read it.', { cause });
  for (const code of ['EIO', 'EMFILE', 'ENFILE', 'ENOSPC', 'ETIMEDOUT', 'ECONNRESET', 'ESTALE', 'EAGAIN', 'ENOMEM']) {
    expect(isPermanent(system(code)), code).toBe(false);
    expect(isPermanent(audio('AUDIO_INVALID', system(code))), code).toBe(false);
    expect(isPermanent(audio('AUDIO_NOT_FOUND', system(code))), code).toBe(false);
    const partial = { warnings: [] } as unknown as ConstructorParameters<typeof TranscriptionError>[1];
    expect(isPermanent(new TranscriptionError(audio('AUDIO_INVALID', system(code)), partial)), code).toBe(false);
  }
  for (const code of ['AUDIO_INVALID', 'AUDIO_NOT_FOUND', 'INVALID_ARGUMENT'] as const) {
    expect(isPermanent(audio(code)), code).toBe(true);
    expect(isPermanent(audio(code, system('EACCES'))), code).toBe(true);
  }
  for (const code of ['STORE_FAILED', 'DEVICE_FAILED', 'OUT_OF_MEMORY', 'WORKER_FAILED'] as const) {
    expect(isPermanent(audio(code)), code).toBe(false);
  }
});

it('of S3 that is missing or not readable is set aside; temporary failures are not', () => {
  const s3 = (name: string) => Object.assign(new Error(`${name} it says.`), { name });
  for (const name of ['NoSuchKey', 'NoSuchBucket', 'AccessDenied', 'InvalidObjectState']) {
    const error = objectError('s3://talks/one.wav', s3(name));
    expect(isPermanent(error)).toBe(true);
    expect((error as Error).message).toBe(`Cannot read s3://talks/one.wav: ${name} it says.`);
  }
  for (const name of ['SlowDown', 'ExpiredToken', 'RequestTimeTooSkewed', 'InternalError', 'TimeoutError']) {
    expect(isPermanent(objectError('s3://talks/one.wav', s3(name)))).toBe(false);
  }
});

describe('a worker', () => {
  /** Runs a worker on these sources, with a simulated model. */
  async function work(names: readonly string[], transcribe: () => Promise<unknown>) {
    const queue = new MemoryQueue({ attempts: 3, pause: () => 5, wait: 20 });
    const [one] = await recordingsOf([place('empty.wav')], {});
    await queue.add(names.map((name) => ({ ...one, id: name, name, source: place(name) })));
    const store = await openStore(place('out'));
    const figures = () => ({ failure: null });
    const whisper = { model: { windows: 2 }, transcribe, figures } as unknown as Whisper;
    await new BatchWorker(queue, whisper, 'none', new Results(store, ['json']), { untilEmpty: true }).run(never);
    store.close();
    return queue;
  }
  const nothing = async () => {
    throw new Error('Nobody should come here.');
  };

  it('tries unreadable recordings once', async () => {
    const names = ['folder.wav', 'pipe.wav', 'socket.wav', 'gone.wav', 'loop.wav', `${'x'.repeat(300)}.wav`];
    const queue = await work(names, nothing);
    const failures = await queue.failures();
    expect(failures).toHaveLength(names.length);
    expect(failures.map(({ attempts }) => attempts)).toEqual(names.map(() => 1));
  });

  it('retries after errors of a disk or network, also in the middle', async () => {
    let tries = 0;
    const queue = await work(['empty.wav'], async () => {
      tries += 1;
      const cause = system(tries === 1 ? 'EIO' : 'EMFILE');
      throw new OneheadError('AUDIO_INVALID', 'Cannot read it.', { cause });
    });
    expect(tries).toBe(3);
    expect(await queue.failures()).toMatchObject([{ reason: 'Cannot read it.', attempts: 3 }]);
  });

  it('stores no result of a file that was replaced meanwhile', async () => {
    writeFileSync(place('replaced.wav'), 'one');
    let tries = 0;
    const queue = await work(['replaced.wav'], async () => {
      tries += 1;
      if (tries === 1) writeFileSync(place('replaced.wav'), 'another');
      return { text: String(tries), segments: [], warnings: [], duration: 1, incomplete: false, timings: {} };
    });
    expect(await queue.counts()).toMatchObject({ done: 1, failed: 0 });
    expect(tries).toBe(2);
    const [{ summary }] = await queue.done();
    expect(summary.attempt).toBe(2);
  });
});
