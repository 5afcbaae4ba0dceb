/** What operators see of each key and request: metrics and log lines. */
import { createHash } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { Writable } from 'node:stream';
import fastify, { type FastifyInstance } from 'fastify';
import { describe, expect, it, onTestFinished } from 'vitest';
import { onehead, type RunningServer } from '../../lib/server/index.js';
import { chunk, chunkedHead, form, get, open, part, post, until } from './raw.js';
import { bytes, connect, spoken } from './realtime-client.js';
import { micro, sample, testServer } from './support.js';

const speech = readFileSync(sample);
const body = form(part('model', 'whisper-1'), part('file', speech, 'a.flac'));
const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

function keysFile(text: string): string {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-test-'));
  onTestFinished(() => rmSync(folder, { recursive: true }));
  const path = join(folder, 'keys');
  writeFileSync(path, text);
  return path;
}

/** The value of a metric, with its labels as in the text; 0 if it is absent. */
async function metric(server: RunningServer, name: string): Promise<number> {
  const line = (await server.service.metrics.render()).split('\n').find((each) => each.startsWith(`${name} `));
  return line === undefined ? 0 : Number(line.slice(name.length));
}

describe('metrics', () => {
  it('count the requests and seconds of audio of each key, of realtime sessions too', async () => {
    const server = await testServer({ keys: keysFile('one name=anna rate=2\ntwo name=bob\n') });
    for (let i = 0; i < 3; ++i) await post(server, body, { headers: bearer('one') });
    expect(await metric(server, 'onehead_key_requests_total{key="anna",outcome="accepted"}')).toBe(2);
    expect(await metric(server, 'onehead_key_requests_total{key="anna",outcome="limited"}')).toBe(1);
    expect(await metric(server, 'onehead_key_audio_seconds_total{key="anna"}')).toBeCloseTo(2 * 7.467, 1);
    const { ask, append, socket } = await connect(`${server.url}/v1/realtime?intent=transcription`, {
      headers: bearer('two'),
    });
    append(bytes((await spoken(24_000)).subarray(0, 48_000)));
    await ask({ type: 'session.update', session: { type: 'transcription' } }, 'session.updated');
    socket.close();
    await until(() => server.service.openRequests === 0);
    expect(await metric(server, 'onehead_key_audio_seconds_total{key="bob"}')).toBeCloseTo(2, 5);
    expect(await metric(server, 'onehead_key_requests_total{key="bob",outcome="accepted"}')).toBe(1);
  });

  it('count the audio of realtime sessions as it arrives, also while its transcription lags behind', async () => {
    const server = await testServer({ keys: keysFile('two name=bob\n') });
    const seconds = 'onehead_key_audio_seconds_total{key="bob"}';
    const { append, socket } = await connect(`${server.url}/v1/realtime?intent=transcription`, {
      headers: bearer('two'),
    });
    append(Buffer.alloc(40 * 48_000)); // more than may be undecoded before the next message is read
    await expect.poll(() => metric(server, seconds)).toBeCloseTo(40, 5);
    socket.close();
    await until(() => server.service.openRequests === 0);
    expect(await metric(server, seconds)).toBeCloseTo(40, 5);
  });

  it('have a bounded number of keys', async () => {
    const server = await testServer({ preload: false });
    for (let i = 0; i < 1500; ++i) server.service.metrics.requested(`key-of-day-${i}`, 'accepted');
    const text = await server.service.metrics.render();
    expect(text.match(/^onehead_key_requests_total/gm)).toHaveLength(1001);
    expect(await metric(server, 'onehead_key_requests_total{key="other",outcome="accepted"}')).toBe(500);
  });

  it('measure a request from its headers, with its upload, to the end of its response', async () => {
    const server = await testServer();
    const socket = await open(server);
    socket.write(chunkedHead());
    // The model follows the file, so nothing is transcribed before the end of the form.
    const late = form(part('file', speech, 'a.flac'), part('model', 'whisper-1'));
    socket.write(chunk(late.subarray(0, 5000)));
    await new Promise((resolve) => setTimeout(resolve, 600));
    socket.write(chunk(late.subarray(5000)));
    socket.write('0\r\n\r\n');
    expect(await socket.answer).toMatch(/^HTTP\/1\.1 200 /);
    const labels = '{endpoint="transcriptions",model="micro"}';
    await expect.poll(() => metric(server, `onehead_request_seconds_count${labels}`)).toBe(1);
    expect(await metric(server, `onehead_request_seconds_sum${labels}`)).toBeGreaterThan(0.6);
    expect(await metric(server, 'onehead_first_text_seconds_sum{model="micro"}')).toBeGreaterThan(0.6);
  });

  it('have histograms of the queue and of batches', async () => {
    const server = await testServer();
    await post(server, body);
    expect(await metric(server, 'onehead_window_wait_seconds_count{priority="interactive"}')).toBeGreaterThan(0);
    expect(await metric(server, 'onehead_encode_windows_count')).toBeGreaterThan(0);
    expect(await metric(server, 'onehead_step_rows_count')).toBeGreaterThan(0);
  });
});

describe('log lines', () => {
  it("have the key's name and the trace id, and neither key nor text", async () => {
    const lines: Record<string, unknown>[] = [];
    const stream = new Writable({
      write: (text, _, done) => {
        lines.push(JSON.parse(String(text)));
        done();
      },
    });
    const app = fastify({ logger: { stream } }) as unknown as FastifyInstance;
    await app.register(onehead, {
      models: [micro],
      load: { device: 'cpu', threads: 2 },
      keys: keysFile('sk-1 name=anna\n'),
    });
    const server = { url: await app.listen({ port: 0, host: '127.0.0.1' }) } as RunningServer;
    onTestFinished(() => app.close());
    const id = '4bf92f3577b34da6a3ce929d0e0e4736';
    const headers = { ...bearer('sk-1'), traceparent: `00-${id}-00f067aa0ba902b7-01` };
    expect((await post(server, body, { headers })).status).toBe(200);
    const completed = () => lines.filter(({ msg }) => msg === 'request completed' || msg === 'transcribed');
    await until(() => completed().length === 2);
    for (const line of completed())
      expect(line).toMatchObject({ key: 'anna', trace_id: id, reqId: expect.any(String) });
    const before = lines.length;
    await get(server, '/v1/models', { ...bearer('sk-1'), traceparent: '00-zz-00f067aa0ba902b7-01' });
    await until(() => lines.slice(before).some(({ msg }) => msg === 'request completed'));
    for (const line of lines.slice(before)) expect(line).not.toHaveProperty('trace_id');
    expect(JSON.stringify(lines)).not.toMatch(/sk-1|Thursday/);
  });
});

describe('hashed keys', () => {
  const hash = createHash('sha256').update('sk-secret').digest('hex');

  it('are accepted in the file beside plain ones, and are no keys themselves', async () => {
    const server = await testServer({
      keys: keysFile(`sha256:${hash} name=anna\nplain\n`),
      preload: false,
    });
    const status = async (key: string) => (await get(server, '/v1/models', bearer(key))).status;
    expect(await status('sk-secret')).toBe(200);
    expect(await status('plain')).toBe(200);
    expect(await status(`sha256:${hash}`)).toBe(401);
    expect(await status(hash)).toBe(401);
    expect(server.service.keys.authenticateKey('sk-secret').name).toBe('anna');
  });

  it('are refused if they are no SHA-256', async () => {
    const error = await testServer({ keys: keysFile('sha256:abc123\n') }).catch((caught: Error) => caught);
    expect(error).toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: expect.stringMatching(/Line 1 .* 64 hexadecimal/),
    });
    expect(String(error)).not.toContain('abc123');
  });
});
