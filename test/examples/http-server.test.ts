/** The example server over real HTTP, on the package as it is published. */
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { type IncomingMessage, type RequestOptions, request, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { fileURLToPath } from 'node:url';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { folder, hasFfmpeg, readAll, wavOf } from '../audio/support.js';

const root = fileURLToPath(new URL('../../', import.meta.url));
const sample = `${root}models/micro/sample.flac`;
const sampleText =
  'We will return on Thursday. Add honey and chicken to the shopping list. Move left forty five meters.';

let server: Server;
let whisper: { transcribe(...args: unknown[]): Promise<unknown>; dispose(): void };
let url: string;
let speech: Buffer;
/** Transcriptions that ended, well or not. */
const ended: string[] = [];

beforeAll(async () => {
  // Named by variables: TypeScript would look for their types.
  const [example, built] = [`${root}examples/http-server.mjs`, `${root}dist/index.js`];
  const { transcriptionServer } = await import(/* @vite-ignore */ example);
  const { Whisper } = await import(/* @vite-ignore */ built);
  whisper = await Whisper.load();
  const seen = {
    transcribe: async (...args: unknown[]) => {
      try {
        const result = await whisper.transcribe(...args);
        ended.push('done');
        return result;
      } catch (error) {
        ended.push((error as Error).name);
        throw error;
      }
    },
  };
  server = transcriptionServer(seen, { maxBytes: 6 << 20, maxDuration: 60 }) as Server;
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/`;
  speech = wavOf((await readAll(sample)).samples);
});
afterAll(async () => {
  server?.closeAllConnections();
  server?.close();
  whisper?.dispose();
});

interface Answer {
  status: number;
  body: { text: string; duration: number; error: string };
}

/** Posts as a plain client does, which sends all that it has and then reads. */
async function post(body: Uint8Array, path = '', options: RequestOptions = {}): Promise<Answer> {
  const sent = request(url + path, { method: 'POST', ...options });
  const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
  sent.end(body);
  const [response] = await answered;
  let text = '';
  for await (const chunk of response.setEncoding('utf8')) text += chunk;
  return { status: response.statusCode!, body: JSON.parse(text) };
}

const files = ['tone.wav', 'mulaw-8k.wav', 'tone.flac', 'tone.mp3', 'tone.ogg', 'tone.opus', 'ogg-flac.oga'];
const others = [
  'first.m4a',
  'last.m4a',
  'mono-48k.aac',
  'tone.webm',
  ...(hasFfmpeg ? ['mono-8k.aiff', 'mono.wv'] : []),
];

describe('the example server', () => {
  it.each([...files, ...others])('answers an upload of %s', async (file) => {
    const { status, body } = await post(readFileSync(folder + file));
    expect(status).toBe(200);
    expect(Math.abs(body.duration - 1.5)).toBeLessThan(0.1);
  });

  it('gives the words', async () => {
    const { status, body } = await post(speech, '?language=en');
    expect({ status, text: body.text.trim() }).toEqual({ status: 200, text: sampleText });
  });

  it('answers uploads that are longer than their sound', async () => {
    const padded = Buffer.concat([speech, Buffer.alloc(4 << 20, 'LIST')]);
    const answers = await Promise.all(Array.from({ length: 8 }, () => post(padded)));
    for (const { status, body } of answers) {
      expect({ status, text: body.text.trim() }).toEqual({ status: 200, text: sampleText });
    }
  });

  it.each([
    ['text', Buffer.alloc(5 << 20, 'no sound at all, but very much of it. ')],
    ['unknown bytes', Buffer.alloc(5 << 20, Uint8Array.of(0x7f, 0x80, 0x00, 0x01))],
    ['a header alone', readFileSync(`${folder}tone.wav`).subarray(0, 44)],
    ['nothing', Buffer.alloc(0)],
  ])('says 422 to %s', async (_, junk) => {
    const { status, body } = await post(junk);
    expect({ status, error: body.error.length > 20 }).toEqual({ status: 422, error: true });
  });

  it('says 413 to what is too long or too large', async () => {
    for (const bytes of [wavOf(new Float32Array(61 * 16_000)), Buffer.concat([speech, Buffer.alloc(16 << 20)])]) {
      const { status, body } = await post(bytes);
      // What follows the sound of a file is not read, and cannot be too much.
      expect(status).toBe(bytes.length > 6 << 20 ? 200 : 413);
      if (status === 413) expect(body.error).toContain('maxDuration');
    }
    const flac = Buffer.concat([readFileSync(sample), Buffer.alloc(16 << 20, 'FLAC')]);
    expect(await post(flac)).toMatchObject({ status: 413, body: { error: expect.stringContaining('maxBytes') } });
  });

  it('says 400 to a language that there is not, and 405 to a GET', async () => {
    expect((await post(speech, '?language=xx')).status).toBe(400);
    const response = await fetch(url);
    expect([response.status, Object.keys((await response.json()) as object)]).toEqual([405, ['error']]);
  });

  it('reads several uploads at once, which come in pieces', async () => {
    const pieces = async () => {
      const sent = request(url, { method: 'POST' });
      const answered = once(sent, 'response') as Promise<[IncomingMessage]>;
      for (let at = 0; at < speech.length; at += 20_000) {
        sent.write(speech.subarray(at, at + 20_000));
        await new Promise((resolve) => setTimeout(resolve, 5));
      }
      sent.end();
      let text = '';
      for await (const chunk of (await answered)[0].setEncoding('utf8')) text += chunk;
      return (JSON.parse(text) as { text: string }).text.trim();
    };
    expect(await Promise.all(Array.from({ length: 4 }, pieces))).toEqual(Array(4).fill(sampleText));
  });

  it('uses a connection again after a recording was refused', async () => {
    const { Agent } = await import('node:http');
    const agent = new Agent({ keepAlive: true, maxSockets: 1 });
    try {
      for (const [bytes, wanted] of [
        [Buffer.alloc(1 << 20, 'x'), 422],
        [speech, 200],
        [Buffer.alloc(1 << 20, 'y'), 422],
        [speech, 200],
      ] as const) {
        expect((await post(bytes, '', { agent })).status).toBe(wanted);
      }
    } finally {
      agent.destroy();
    }
  });

  it('ends with a client that goes away, and answers the next', async () => {
    ended.length = 0;
    const sent = request(url, { method: 'POST' });
    sent.on('error', () => {});
    sent.write(speech.subarray(0, 40_000));
    await new Promise((resolve) => setTimeout(resolve, 50));
    sent.destroy();
    for (let i = 0; i < 200 && ended.length === 0; ++i) await new Promise((resolve) => setTimeout(resolve, 10));
    expect(ended).toEqual(['AbortError']);
    expect((await post(speech)).status).toBe(200);
  });

  it('runs as a program of its own', async () => {
    const child = spawn(process.execPath, [`${root}examples/http-server.mjs`, `${root}models/micro`, '0']);
    try {
      child.stdout.setEncoding('utf8');
      const [line] = await once(child.stdout, 'data');
      expect(line).toMatch(/^Listening on http:\/\/localhost:\d+\n$/);
    } finally {
      child.kill();
    }
  });
});
