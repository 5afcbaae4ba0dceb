/** Uploads give the same result however they arrive: in time or slowly, kept in memory or in a file. */
import { readFileSync } from 'node:fs';
import { afterAll, beforeAll, expect, it, vi } from 'vitest';
import type { RunningServer } from '../../lib/server/index.js';
import { Spool } from '../../lib/server/transcription/spool.js';
import { folder, hasFfmpeg } from '../audio/support.js';
import { chunk, chunkedHead, form, open, part, post, until } from './raw.js';
import { sample, startServer } from './support.js';

let inMemory: RunningServer;
let inFiles: RunningServer;
beforeAll(async () => {
  [inMemory, inFiles] = [await startServer(), await startServer({ uploadMemory: 1000 })];
});
afterAll(() => Promise.all([inMemory?.close(), inFiles?.close()]));

const settings = [part('model', 'whisper-1'), part('temperature', '0')];

/** Sends the last byte of the recording once its transcription has begun. */
async function postSlowly(server: RunningServer, bytes: Uint8Array): Promise<{ status: number; body: string }> {
  const begun = vi.spyOn(Spool.prototype, 'input');
  try {
    const socket = await open(server);
    socket.write(chunkedHead());
    const body = form(...settings, part('file', bytes, 'a'));
    const end = body.indexOf(bytes) + bytes.length - 1;
    socket.write(chunk(body.subarray(0, end)));
    await until(() => begun.mock.calls.length > 0);
    socket.write(chunk(body.subarray(end)));
    socket.write('0\r\n\r\n');
    const answer = await socket.answer;
    return { status: Number(answer.slice(9, 12)), body: answer };
  } finally {
    begun.mockRestore();
  }
}

function damaged(path: string, at: number): Buffer {
  const bytes = readFileSync(path);
  bytes.fill(99, at, at + 2);
  return bytes;
}

const recordings: [what: string, bytes: Buffer, status: number, expected: string][] = [
  ['a damaged recording', damaged(sample, 20_000), 200, 'the file is damaged in one place'],
  ['a recording that was cut short', readFileSync(sample).subarray(0, 30_000), 200, 'the file could not be read from'],
  ['no recording', Buffer.alloc(20_000, 'no sound '), 400, 'the file is text'],
];
// ffmpeg reads the upload again from its start, since the list of tracks is damaged.
if (hasFfmpeg) recordings.push(['what only ffmpeg reads', damaged(`${folder}tone.webm`, 40), 200, '"text":""']);

it.each(recordings)('%s', async (_, bytes, status, expected) => {
  for (const server of [inMemory, inFiles]) {
    // With the file first, nothing is transcribed before the end of the form.
    const { status: got, text: body } = await post(server, form(part('file', bytes, 'a'), ...settings));
    expect(got, body).toBe(status);
    expect(body).toContain(expected);
    const slow = await postSlowly(server, bytes);
    expect(slow.status, slow.body).toBe(status);
    expect(slow.body).toContain(expected);
  }
});
