/** Keys, limits, models, metrics, and shutdown. */

import { readFileSync } from 'node:fs';
import { mkdtemp, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import OpenAI, { toFile } from 'openai';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import type { RunningServer } from '../../lib/server/index.js';
import { library } from '../../lib/server/service/libraries.js';
import { readAll, wavOf } from '../audio/support.js';
import { boundary, chunk, chunkedHead, form, get, open, part, post, until } from './raw.js';
import { clientOf, micro, sample, sampleText, testServer } from './support.js';

const speech = readFileSync(sample);
const body = form(part('model', 'whisper-1'), part('file', speech, 'a.flac'));

async function keysFile(text: string) {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-test-'));
  onTestFinished(() => rm(folder, { recursive: true }));
  const path = join(folder, 'keys');
  await writeFile(path, text);
  return path;
}

const bearer = (key: string) => ({ authorization: `Bearer ${key}` });

/** An upload that remains open until it is destroyed. */
async function half(server: RunningServer, key = 'none') {
  const socket = await open(server);
  socket.write(chunkedHead().replace('\r\n\r\n', `\r\nauthorization: Bearer ${key}\r\n\r\n`));
  const before = server.service.openRequests;
  socket.write(chunk(body.subarray(0, 5000)));
  await until(() => server.service.openRequests > before);
  return socket;
}

describe('keys', () => {
  it('are required if there is a key file', async () => {
    const server = await testServer({ keys: await keysFile('# who may ask\none name=anna\n\ntwo # the other\n') });
    for (const path of ['/v1/models', '/v1/models/micro']) {
      const without = await get(server, path);
      expect([without.status, without.json.error.code]).toEqual([401, null]);
      const wrong = await get(server, path, bearer('three'));
      expect([wrong.status, wrong.json.error.code]).toEqual([401, 'invalid_api_key']);
      expect(wrong.text).not.toContain('three');
      expect((await get(server, path, bearer('two'))).status).toBe(200);
    }
    const client = clientOf(server, { apiKey: 'three' });
    const refused = client.audio.transcriptions.create({ model: 'whisper-1', file: await toFile(speech, 'a') });
    await expect(refused).rejects.toThrow(OpenAI.AuthenticationError);
    const answers = await Promise.all(
      ['/health', '/ready', '/metrics', '/openapi.json'].map((path) => get(server, path)),
    );
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200]);
  });

  it('are reloaded when the file changes, and kept if it is invalid', async () => {
    const path = await keysFile('one\n');
    const server = await testServer({ keys: path, protectMetrics: true });
    const status = async (key: string) => (await get(server, '/metrics', bearer(key))).status;
    expect([await status('one'), await status('two')]).toEqual([200, 401]);
    await writeFile(`${path}.new`, 'two\n');
    await rename(`${path}.new`, path);
    await server.service.keys.reloadIfChanged();
    expect([await status('one'), await status('two')]).toEqual([401, 200]);
    await writeFile(path, 'three rate=often\n');
    await server.service.keys.reloadIfChanged();
    expect([await status('two'), await status('three')]).toEqual([200, 401]);
  });

  it.each([
    ['nobody.txt', null, /cannot be read/],
    ['empty', '# nobody\n', /has no key/],
    ['wrong', 'secret-key rate=0\n', /Line 1 .* is invalid/],
  ])('are refused if the file is %s, without quoting it', async (_, text, message) => {
    const path = text === null ? '/nowhere/keys' : await keysFile(text);
    const error = await testServer({ keys: path }).catch((caught: Error) => caught);
    expect(error).toMatchObject({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) });
    expect(String(error)).not.toContain('secret-key');
  });

  it('each have a rate limit', async () => {
    const server = await testServer({ keys: await keysFile('slow rate=2\nfast\n') });
    const answers = [];
    for (let i = 0; i < 3; ++i) answers.push(await post(server, body, { headers: bearer('slow') }));
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 429]);
    expect(answers[0].headers.get('x-ratelimit-remaining-requests')).toBe('1');
    expect(answers[2].json.error).toMatchObject({ type: 'requests', code: 'rate_limit_exceeded', param: null });
    const wait = Number(answers[2].headers.get('retry-after'));
    expect(wait).toBeGreaterThan(1);
    expect(wait).toBeLessThanOrEqual(30);
    expect((await post(server, body, { headers: bearer('fast') })).status).toBe(200);
  });

  it('have a priority', async () => {
    const { service } = await testServer({ keys: await keysFile('one priority=live\ntwo\n'), preload: false });
    expect(['one', 'two'].map((key) => service.keys.authenticateKey(key).priority)).toEqual(['live', undefined]);
  });

  it('have a limit of concurrent requests', async () => {
    const server = await testServer({ keys: await keysFile('narrow concurrency=1\nwide\n') });
    const socket = await half(server, 'narrow');
    const answer = await post(server, body, { headers: bearer('narrow') });
    expect([answer.status, answer.json.error.code, answer.headers.get('retry-after')]).toEqual([
      429,
      'rate_limit_exceeded',
      '1',
    ]);
    expect((await post(server, body, { headers: bearer('wide') })).status).toBe(200);
    socket.destroy();
    await until(() => server.service.openRequests === 0);
    // OpenAI's client waits and retries automatically.
    const other = await half(server, 'narrow');
    setTimeout(() => other.destroy(), 300);
    const client = clientOf(server, { apiKey: 'narrow', maxRetries: 2 });
    const { text } = await client.audio.transcriptions.create({ model: 'whisper-1', file: await toFile(speech, 'a') });
    expect(text).toBe(sampleText);
  });
});

describe('limits', () => {
  it('refuse requests above the maximum', async () => {
    const server = await testServer({ maximumRequests: 1 });
    const socket = await half(server);
    const answer = await post(server, body);
    expect([answer.status, answer.json.error.code, Number(answer.headers.get('retry-after')) > 0]).toEqual([
      503,
      'overloaded',
      true,
    ]);
    expect((await get(server, '/ready')).json).toEqual({ status: 'not ready', reason: 'too many requests' });
    expect((await get(server, '/health')).status).toBe(200);
    socket.destroy();
    await until(() => server.service.openRequests === 0);
    expect((await post(server, body)).status).toBe(200);
  });

  it('refuse recordings above the maximum duration, whatever their headers declare', async () => {
    const server = await testServer({ maxDuration: 5 });
    const answer = await post(server, body);
    expect([answer.status, answer.json.error.param, answer.json.error.code]).toEqual([400, 'file', 'audio_too_long']);
  });

  it('are reported in a stream after the text so far', async () => {
    const server = await testServer({ maxDuration: 25 });
    const pcm = Buffer.concat(Array(4).fill(wavOf((await readAll(sample)).samples).subarray(44)));
    const wav = Buffer.concat([wavOf(new Float32Array(0)).subarray(0, 40), Buffer.from([0, 0, 0, 0x7f]), pcm]);
    const fields = [part('model', 'micro'), part('stream', 'true')];
    // A complete upload is refused before any text is sent.
    const whole = await post(server, form(...fields, part('file', wav, 'a.wav')));
    expect([whole.status, whole.json.error.code]).toEqual([400, 'audio_too_long']);
    /** Sends the end of the form once the transcription has started. */
    const slowly = async (address: string | URL | Request, init: RequestInit = {}) => {
      const sent = new Request(address, init);
      const bytes = new Uint8Array(await sent.arrayBuffer());
      const pieces = async function* () {
        yield bytes.subarray(0, -100);
        await new Promise((resolve) => setTimeout(resolve, 300));
        yield bytes.subarray(-100);
      };
      const body = ReadableStream.from(pieces()) as ReadableStream;
      return fetch(sent.url, { method: 'POST', headers: sent.headers, body, duplex: 'half' } as RequestInit);
    };
    const answer = await slowly(`${server.url}/v1/audio/transcriptions`, {
      method: 'POST',
      headers: { 'content-type': `multipart/form-data; boundary=${boundary}` },
      body: form(...fields, part('file', wav, 'a.wav')) as Uint8Array<ArrayBuffer>,
    });
    expect(answer.status).toBe(200);
    const text = await answer.text();
    expect(text).toMatch(/^data: \{"type":"transcript\.text\.delta","delta":"We will/);
    expect(text).toMatch(/\n\nevent: error\ndata: \{"error":\{[^\n]*"code":"audio_too_long"\}\}\n\n$/);
    const stream = await clientOf(server, { fetch: slowly }).audio.transcriptions.create({
      model: 'micro',
      stream: true,
      file: await toFile(wav, 'a.wav'),
    });
    const read = async () => {
      for await (const event of stream) expect(event.type).toBe('transcript.text.delta');
    };
    await expect(read()).rejects.toMatchObject({ code: 'audio_too_long', param: 'file' });
  });

  it('count the waiting of more urgent requests only', async () => {
    const server = await testServer({ keys: await keysFile('one\nlater priority=batch\n'), maximumWait: 10_000 });
    const [{ whisper }] = server.service.models.loaded();
    const figures = whisper.figures();
    const waited = (oldest: object) => {
      const waiting = { ...figures.waiting, oldestByPriority: { live: 0, interactive: 0, batch: 0, ...oldest } };
      vi.spyOn(whisper, 'figures').mockReturnValue({ ...figures, waiting });
    };
    const statuses = async () => [
      (await post(server, body, { headers: bearer('one') })).status,
      (await post(server, body, { headers: bearer('later') })).status,
      (await get(server, '/ready')).status,
    ];
    waited({ batch: 11_000 });
    expect(await statuses()).toEqual([200, 503, 200]);
    waited({ interactive: 11_000 });
    expect(await statuses()).toEqual([503, 503, 503]);
    waited({ live: 9000 });
    expect(await statuses()).toEqual([200, 200, 200]);
  });

  it('refuse requests while the event loop is delayed', async () => {
    const server = await testServer({ maximumEventLoopDelay: 50 });
    // The delay is the mean of a second; two seconds and more have a whole one, wherever it begins.
    for (let i = 0; i < 25; ++i) {
      const began = performance.now();
      while (performance.now() - began < 90);
      await new Promise((resolve) => setImmediate(resolve));
    }
    const answer = await post(server, body);
    expect([answer.status, answer.json.error.code, answer.headers.get('retry-after')]).toEqual([
      503,
      'overloaded',
      '5',
    ]);
    expect((await get(server, '/health')).status).toBe(200);
    await new Promise((resolve) => setTimeout(resolve, 1500));
    expect((await post(server, body)).status).toBe(200);
  });

  it('end requests that take too long, and tell clients not to retry', async () => {
    const server = await testServer({ timeout: 1 });
    const answer = await post(server, body);
    expect([answer.status, answer.json.error.code, answer.headers.get('x-should-retry')]).toEqual([
      504,
      'timeout',
      'false',
    ]);
  });

  it('store large uploads in a file without a name', async () => {
    const server = await testServer({ uploadMemory: 10_000 });
    const texts = await Promise.all(
      [body, form(part('file', speech, 'a.flac'), part('model', 'micro')), body].map((one) => post(server, one)),
    );
    expect(texts.map(({ json }) => json.text)).toEqual([sampleText, sampleText, sampleText]);
    for (const temporaryFolder of ['/nowhere', '/proc']) {
      const nowhere = testServer({ temporaryFolder });
      await expect(nowhere).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'temporaryFolder' });
    }
  });
});

describe('models', () => {
  it('are found by names and aliases only', async () => {
    const server = await testServer({
      models: [
        { id: 'first', model: micro },
        { id: 'second', model: `${micro}-mqa` },
      ],
      alias: { 'gpt-4o-transcribe': 'second' },
      preload: false,
    });
    const { models } = server.service;
    const ids = ['first', 'second', 'whisper-1', 'gpt-4o-transcribe', `${micro}-mqa`].map(
      (name) => models.find(name)?.id,
    );
    expect(ids).toEqual(['first', 'second', 'first', 'second', 'second']);
    expect([models.find('micro'), models.find('__proto__')]).toEqual([null, null]);
    expect(models.list().map(({ loaded }) => loaded)).toEqual([false, false]);
    expect((await post(server, form(part('model', 'gpt-4o-transcribe'), part('file', speech, 'a')))).status).toBe(200);
    expect(models.list().map(({ loaded }) => loaded)).toEqual([false, true]);
  });

  it.each([
    [{ models: [micro, micro.replace('micro', '../models/micro')] }, /Two models have the name micro/],
    [{ transcribe: { beamSize: 99 } }, /transcribe\.beamSize to be/],
    [{ load: { device: 7 as never } }, /load\.device to be/],
    [{ alias: { other: 'nothing' } }, /alias other refers to nothing, which is not served; the served models are/],
  ])('are refused for invalid options: %j', async (options, message) => {
    await expect(testServer(options)).rejects.toThrow(message);
  });

  it('are unloaded for other models, and when they are unused', async () => {
    const server = await testServer({
      models: [
        { id: 'first', model: micro },
        { id: 'second', model: `${micro}-mqa` },
      ],
      maximumLoaded: 1,
      unloadAfter: 200,
    });
    const { models, metrics } = server.service;
    const [{ whisper }] = models.loaded();
    const held = whisper.model.device.memory().inUse;
    expect(held).toBeGreaterThan(4e6);
    const ask = (model: string) => post(server, form(part('model', model), part('file', speech, 'a')));
    expect((await ask('second')).json.text).toBe(sampleText);
    expect(models.loaded().map(({ id }) => id)).toEqual(['second']);
    const socket = await half(server); // loads the first model again and keeps it in use
    await until(() => models.loaded().some(({ id }) => id === 'first'));
    const refused = await ask('second');
    expect([refused.status, refused.json.error.code]).toEqual([503, 'overloaded']);
    socket.destroy();
    await until(() => models.loaded().length === 0);
    // Counts of the unloaded model are kept.
    expect(await metrics.render()).toMatch(/onehead_windows_total\{model="second"\} [1-9]/);
    expect((await ask('first')).json.text).toBe(sampleText);
  });

  it('release their memory, however often they are loaded', async () => {
    const server = await testServer({ unloadAfter: 1, preload: false });
    const { models } = server.service;
    const sizes: number[] = [];
    const shares: number[] = [];
    setFlagsFromString('--expose-gc');
    const collect = runInNewContext('gc') as () => void;
    for (let i = 0; i < 30; ++i) {
      const { whisper, release } = await models.acquire('micro');
      const { device } = whisper.model;
      expect((await post(server, body)).status).toBe(200);
      const held = device.memory().inUse;
      release();
      await until(() => models.loaded().length === 0);
      expect(held).toBeGreaterThan(20e6);
      // The rest is released with the last JavaScript references.
      collect();
      await new Promise((resolve) => setImmediate(resolve));
      shares.push(device.memory().inUse / held);
      sizes.push(process.memoryUsage().rss);
    }
    expect(shares.sort((a, b) => a - b)[15]).toBeLessThan(0.25);
    // The first rounds are a warm-up. In each later one, less than a tenth of a model's memory may remain.
    expect((sizes[29] - sizes[9]) / 20).toBeLessThan(3.3e6);
  });

  it('that cannot be loaded reveal nothing about the machine', async () => {
    const server = await testServer({ models: [{ id: 'broken', model: '/nowhere/secret' }], preload: false });
    const answer = await post(server, form(part('model', 'broken'), part('file', speech, 'a')));
    expect([answer.status, answer.json.error.code, answer.text.includes('secret')]).toEqual([
      500,
      'model_not_loaded',
      false,
    ]);
    const error = await testServer({ models: ['/nowhere/secret'] }).catch((caught: unknown) => caught);
    expect(error).toMatchObject({ code: 'MODEL_NOT_FOUND' });
  });
});

describe('metrics', () => {
  it('are provided for Prometheus, with few labels', async () => {
    const server = await testServer();
    await post(server, body);
    await post(server, form(part('model', `${Math.random()}`), part('file', speech, 'a')));
    await get(server, `/${Math.random()}`);
    const gone = await open(server);
    gone.write(Buffer.concat([Buffer.from(chunkedHead()), chunk(body), Buffer.from('0\r\n\r\n')]));
    await until(() => server.service.openRequests === 1);
    gone.destroy();
    await until(() => server.service.openRequests === 0);
    const { text, headers } = await get(server, '/metrics');
    expect(headers.get('content-type')).toContain('text/plain');
    expect(text).toContain('onehead_requests_total{endpoint="/v1/audio/transcriptions",status="200"} 1');
    expect(text).toContain('onehead_requests_total{endpoint="/v1/audio/transcriptions",status="404"} 1');
    expect(text).toContain('onehead_refused_total{reason="model_not_found"} 1');
    // A client that disconnects is not refused.
    expect(text).toContain('onehead_clients_gone_total{endpoint="transcriptions"} 1');
    expect(text).not.toContain('client_gone');
    expect(text).toContain('onehead_model_loaded{model="micro"} 1');
    expect(text).toMatch(/onehead_audio_seconds_total\{model="micro"\} 7\.4/);
    expect(text).toMatch(/onehead_first_text_seconds_count\{model="micro"\} 1/);
    expect(text).toMatch(/onehead_device_memory_bytes\{model="micro"\} [1-9]/);
    expect(text).toMatch(/onehead_engine_seconds_total\{model="micro",stage="decode"\} 0\./);
    expect(text).toMatch(/nodejs_eventloop_lag_p99_seconds /);
    expect(text).not.toMatch(/0\.\d{10,}"/);
  });

  it('and routes are described in openapi.json', async () => {
    const server = await testServer();
    const { json } = await get(server, '/openapi.json');
    expect(Object.keys(json.paths)).toEqual(
      expect.arrayContaining(['/v1/audio/transcriptions', '/v1/audio/translations', '/v1/models', '/health', '/ready']),
    );
    const { schema } = json.paths['/v1/audio/transcriptions'].post.requestBody.content['multipart/form-data'];
    expect([schema.required, Object.keys(schema.properties).includes('chunking_strategy')]).toEqual([
      ['file', 'model'],
      true,
    ]);
  });
});

it('names the packages to install if a library is missing', async () => {
  const name = 'fastify-that-nobody-has';
  const error = await library(() => import(/* @vite-ignore */ name)).catch((caught: unknown) => caught);
  expect(error).toMatchObject({
    code: 'NOT_SUPPORTED',
    message: expect.stringMatching(/`npm install fastify .*prom-client`/),
  });
});

describe('shutdown', () => {
  it('waits for running requests, and refuses new ones', async () => {
    const server = await testServer();
    const socket = await half(server);
    const closed = server.close();
    await until(() => server.service.ending.aborted);
    expect((await get(server, '/ready')).json).toEqual({ status: 'not ready', reason: 'shutting down' });
    const refused = await post(server, body);
    expect([refused.status, refused.json.error.code]).toEqual([503, 'shutting_down']);
    socket.write(chunk(body.subarray(5000)));
    socket.write('0\r\n\r\n');
    expect(await socket.answer).toMatch(/^HTTP\/1\.1 200 .*We will return/s);
    await closed;
    await expect(get(server, '/health')).rejects.toThrow();
  });

  it('does not wait for connections without a request, and of refused uploads', async () => {
    const server = await testServer({ shutdownTimeout: 60_000, uploadTimeout: 1000 });
    const [silent, refused] = [await open(server), await open(server)];
    refused.write(chunkedHead().replace('connection: close\r\n', ''));
    await new Promise((resolve) => refused.once('data', resolve)); // status 408; the upload may go on for ten seconds
    const running = await half(server);
    const closed = server.close().then(() => true);
    await until(() => server.service.ending.aborted);
    running.write(Buffer.concat([chunk(body.subarray(5000)), Buffer.from('0\r\n\r\n')]));
    const late = new Promise((resolve) => setTimeout(resolve, 8000, false).unref());
    expect(await Promise.race([closed, late])).toBe(true);
    expect(await running.answer).toMatch(/^HTTP\/1\.1 200 .*We will return/s);
    expect(await refused.answer).toMatch(/^HTTP\/1\.1 408 /);
    expect(await silent.answer).toBe('');
  });

  it('aborts requests after the timeout', async () => {
    const server = await testServer({ shutdownTimeout: 200 });
    const socket = await half(server);
    await server.close();
    expect(await socket.answer).toMatch(/^HTTP\/1\.1 503 .*shutting_down/s);
  });
});
