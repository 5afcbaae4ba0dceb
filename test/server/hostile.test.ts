/** Invalid and malicious requests: each gets one response in OpenAI's error format, and the server keeps working. */
import { readFileSync } from 'node:fs';
import { setTimeout as wait } from 'node:timers/promises';
import { gzipSync } from 'node:zlib';
import fastify, { type FastifyInstance } from 'fastify';
import { afterAll, afterEach, beforeAll, describe, expect, it, onTestFinished, vi } from 'vitest';
import { onehead, type RunningServer } from '../../lib/server/index.js';
import { boundary, chunk, chunkedHead, end, form, get, open, part, post, until } from './raw.js';
import { micro, sample, sampleText, startServer, testServer } from './support.js';

let server: RunningServer;
const speech = readFileSync(sample);
const file = part('file', speech, 'a.flac');
const model = part('model', 'whisper-1');

beforeAll(async () => {
  server = await startServer({ maxBytes: 4 << 20, uploadTimeout: 1000, refuseUnknownFields: true });
});
afterAll(() => server?.close());
afterEach(async () => {
  // After each test, no request remains open, and the next one succeeds.
  await until(() => server.service.openRequests === 0);
  expect((await post(server, form(model, file))).json.text).toBe(sampleText);
});

/** The error of a response. */
const errorOf = ({ status, json }: { status: number; json: { error: Record<string, unknown> } }) => [
  status,
  json.error.param,
  json.error.code,
];

describe('an invalid form', () => {
  it.each([
    ['has another type', form(model, file), { 'content-type': 'application/json' }],
    ['has a type that nobody knows', form(model, file), { 'content-type': 'application/x-www-form-urlencoded' }],
    ['has no boundary', form(model, file), { 'content-type': 'multipart/form-data' }],
    ['has another boundary', form(model, file), { 'content-type': 'multipart/form-data; boundary=other' }],
    ['is empty', Buffer.alloc(0), {}],
    ['is rubbish', Buffer.alloc(100_000, 'rubbish'), {}],
    ['is compressed', gzipSync(form(model, file)), { 'content-encoding': 'gzip' }, 415],
    ['ends in its file', Buffer.concat([model, file]).subarray(0, -1000), {}],
    ['ends in a head', Buffer.concat([model, file.subarray(0, 40)]), {}],
  ])('that %s is refused', async (_, body, headers, status = 400) => {
    const answer = await post(server, body, { headers: headers as Record<string, string> });
    expect([answer.status, answer.json.error.type]).toEqual([status, 'invalid_request_error']);
    expect(answer.json.error.message.length).toBeLessThan(400);
  });

  it.each([
    ['no model', [file], 400, 'model', 'missing_required_parameter'],
    ['no file', [model], 400, 'file', 'missing_required_parameter'],
    ['a file that is a text', [model, part('file', 'words')], 400, 'file', 'invalid_value'],
    ['two files', [model, file, file], 400, 'file', 'invalid_value'],
    ['a file elsewhere', [model, part('prompt', 'x', 'x.txt'), file], 400, 'prompt', 'invalid_value'],
    ['two models', [model, model, file], 400, 'model', 'invalid_value'],
    ['an unknown field', [model, part('word_timestamps', 'true'), file], 400, 'word_timestamps', 'unknown_parameter'],
    ['an unknown format', [model, part('response_format', 'docx'), file], 400, 'response_format', 'invalid_value'],
    ['speakers', [model, part('response_format', 'diarized_json'), file], 400, 'response_format', 'unsupported_value'],
    [
      'known speakers',
      [model, part('known_speaker_names[]', 'A'), file],
      400,
      'known_speaker_names',
      'unsupported_value',
    ],
    ['a hot temperature', [model, part('temperature', '2'), file], 400, 'temperature', 'invalid_value'],
    ['a word for a temperature', [model, part('temperature', 'warm'), file], 400, 'temperature', 'invalid_value'],
    [
      'words as json',
      [model, part('timestamp_granularities[]', 'word'), file],
      400,
      'timestamp_granularities',
      'invalid_value',
    ],
    [
      'an unknown granularity',
      [model, part('timestamp_granularities', 'letter'), file],
      400,
      'timestamp_granularities',
      'invalid_value',
    ],
    [
      'logprobs as text',
      [model, part('include[]', 'logprobs'), part('response_format', 'text'), file],
      400,
      'include',
      'invalid_value',
    ],
    [
      'a stream of srt',
      [model, part('stream', 'true'), part('response_format', 'srt'), file],
      400,
      'stream',
      'invalid_value',
    ],
    ['a stream of maybe', [model, part('stream', 'maybe'), file], 400, 'stream', 'invalid_value'],
    [
      'an unknown strategy',
      [model, part('chunking_strategy', 'never'), file],
      400,
      'chunking_strategy',
      'invalid_value',
    ],
    [
      'a broken strategy',
      [model, part('chunking_strategy', '{"type":'), file],
      400,
      'chunking_strategy',
      'invalid_value',
    ],
    [
      'a strategy of another type',
      [model, part('chunking_strategy[type]', 'x'), file],
      400,
      'chunking_strategy[type]',
      'invalid_value',
    ],
    [
      'an unknown number of it',
      [model, part('chunking_strategy', '{"type":"server_vad","x":1}'), file],
      400,
      'chunking_strategy[x]',
      'unknown_parameter',
    ],
    [
      'a wrong number of it',
      [model, part('chunking_strategy', '{"type":"server_vad","threshold":7}'), file],
      400,
      'chunking_strategy[threshold]',
      'invalid_value',
    ],
    ['no such language', [model, part('language', 'xx'), file], 400, 'language', 'invalid_value'],
    [
      'a language and languages',
      [model, part('language', 'en'), part('languages[]', 'en'), file],
      400,
      'languages',
      'invalid_value',
    ],
    ['no such model', [part('model', '../micro'), file], 404, 'model', 'model_not_found'],
    ['a folder of the machine', [part('model', '/etc'), file], 404, 'model', 'model_not_found'],
    ['a hub model that is not served', [part('model', 'openai/whisper-tiny'), file], 404, 'model', 'model_not_found'],
    ['a prompt without end', [model, part('prompt', 'x'.repeat(30_000)), file], 400, 'prompt', 'invalid_value'],
    ['a field of megabytes', [model, part('prompt', 'x'.repeat(3 << 20)), file], 400, 'prompt', 'invalid_value'],
    [
      'keywords without end',
      [model, ...Array(40).fill(part('keywords[]', 'x'.repeat(1000))), file],
      400,
      'keywords',
      'invalid_value',
    ],
    [
      'fields of megabytes together',
      [model, ...Array(5).fill(part('keywords[]', 'x'.repeat(600_000)))],
      400,
      null,
      null,
    ],
    ['more fields than there are', [model, ...Array(300).fill(part('keywords[]', 'x')), file], 400, null, null],
    ['a field called __proto__', [model, part('__proto__', 'x'), file], 400, null, null],
    ['a name without end', [model, part('n'.repeat(5000), 'x'), file], 400, 'n'.repeat(100), 'unknown_parameter'],
    ['no sound', [model, part('file', readFileSync(new URL(import.meta.url)), 'a.mp3')], 400, 'file', 'invalid_audio'],
    ['an empty file', [model, part('file', '', 'a.mp3')], 400, 'file', 'invalid_audio'],
    ['the header of a file', [model, part('file', speech.subarray(0, 42), 'a.flac')], 400, 'file', 'invalid_audio'],
    [
      'a playlist',
      [model, part('file', '#EXTM3U\n#EXTINF:1,\nfile:///etc/passwd\n', 'a.m3u8')],
      400,
      'file',
      'invalid_audio',
    ],
    ['too large a file', [model, part('file', Buffer.alloc(5 << 20, speech), 'a.flac')], 413, 'file', 'file_too_large'],
  ] as const)('that has %s', async (_, parts, status, param, code) => {
    const answer = await post(server, form(...parts));
    expect(errorOf(answer)).toEqual([status, param, code]);
    expect(answer.json.error.message.length).toBeLessThan(400);
    // The same with the file before the fields.
    const turned = await post(server, form(...[...parts].reverse()));
    expect(errorOf(turned)).toEqual([status, param, code]);
  });

  it('that asks for a stream and is refused leaves no timer behind', async () => {
    const started = vi.spyOn(globalThis, 'setInterval');
    const ended = vi.spyOn(globalThis, 'clearInterval');
    try {
      const answer = await post(server, form(model, part('stream', 'true'), part('file', '', 'a.mp3')));
      expect(errorOf(answer)).toEqual([400, 'file', 'invalid_audio']);
      // The timer of a stream's comments, every 15 s.
      const timers = started.mock.results.filter((_, index) => started.mock.calls[index][1] === 15_000);
      expect(timers).toHaveLength(1);
      expect(ended.mock.calls.map(([timer]) => timer)).toContain(timers[0].value);
    } finally {
      started.mockRestore();
      ended.mockRestore();
    }
  });

  it('is refused before it arrives if its declared length is too large', async () => {
    const socket = await open(server);
    socket.write(
      `POST /v1/audio/transcriptions HTTP/1.1\r\nhost: x\r\ncontent-type: multipart/form-data; boundary=${boundary}\r\ncontent-length: 99999999999\r\n\r\n`,
    );
    await until(() => server.service.openRequests === 0);
    socket.end();
    expect(await socket.answer).toMatch(/^HTTP\/1\.1 413 .*"code":"file_too_large"/s);
  });
});

describe('a client that is slow or disconnects', () => {
  it('can send single bytes', async () => {
    const socket = await open(server);
    socket.setNoDelay(true).write(chunkedHead());
    const body = form(model, part('file', speech.subarray(0, 3000), 'a.flac'));
    for (const byte of body) socket.write(chunk(Buffer.of(byte)));
    socket.write('0\r\n\r\n');
    expect(await socket.answer).toMatch(/^HTTP\/1\.1 (200|400) /);
  });

  it('gets an error if its upload makes no progress', async () => {
    const socket = await open(server);
    socket.write(chunkedHead());
    socket.write(chunk(Buffer.concat([model, file.subarray(0, 2000)])));
    await until(() => server.service.openRequests === 1);
    await until(() => server.service.openRequests === 0);
    socket.end();
    expect(await socket.answer).toMatch(/^HTTP\/1\.1 408 .*"code":"upload_timeout"/s);
  });

  it('gets to know that it closed its side before the whole request had arrived', async () => {
    const socket = await open(server);
    socket.write(chunkedHead());
    socket.end(chunk(Buffer.concat([model, file.subarray(0, 2000)])));
    expect(await socket.answer).toMatch(/^HTTP\/1\.1 400 .*closed before the whole (request|form) had arrived/s);
  });

  it.each([
    ['before its file', Buffer.concat([model])],
    ['in its file', Buffer.concat([model, file.subarray(0, 20_000)])],
    ['behind its file', Buffer.concat([model, file])],
    ['before its answer', form(model, file)],
  ])('disconnects %s, and its rows become free', async (_, body) => {
    const socket = await open(server);
    socket.write(chunkedHead());
    socket.write(chunk(body));
    await until(() => server.service.openRequests === 1);
    socket.destroy();
    await until(() => server.service.openRequests === 0);
    const [{ whisper }] = server.service.models.loaded();
    await until(() => whisper.figures().requests === 0);
    expect(whisper.figures().rows.used).toBe(0);
    expect(server.service.models.list()[0].used).toBe(0);
  });

  it('sends headers endlessly', async () => {
    const own = await testServer({ maximumRequests: 1 });
    own.app.server.headersTimeout = 100;
    const socket = await open(own);
    socket.write('POST /v1/audio/transcriptions HTTP/1.1\r\n');
    const dripping = setInterval(() => socket.write('x: y\r\n'), 50);
    try {
      expect(await socket.answer).toMatch(
        /^HTTP\/1\.1 408 .*\r\n\r\n\{"error":\{"message":"The request was not received in time/s,
      );
    } finally {
      clearInterval(dripping);
    }
  });
});

it.each([
  ['no HTTP', 'rubbish\r\n\r\n', 400],
  ['headers without end', `GET /health HTTP/1.1\r\nx: ${'y'.repeat(30_000)}\r\n\r\n`, 431],
])('responds to %s in the API’s error format', async (_, text, status) => {
  const socket = await open(server);
  socket.write(text);
  const answer = await socket.answer;
  expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} `));
  expect(JSON.parse(answer.slice(answer.indexOf('{'))).error).toMatchObject({
    type: 'invalid_request_error',
    code: null,
  });
});

describe('a request for an upgrade', () => {
  // As Java's HttpClient sends with the first request of every connection.
  const upgrade = 'connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAEAAEAAAAIAAAAA\r\n';
  const head = (request: string, headers: string) => `${request} HTTP/1.1\r\nhost: x\r\n${headers}\r\n`;

  it('to HTTP/2 is ignored, and the connection stays in use', async () => {
    const socket = await open(server);
    const body = form(model, part('response_format', 'text'), file);
    const type = `content-type: multipart/form-data; boundary=${boundary}\r\ncontent-length: ${body.length}\r\n`;
    socket.write(head('POST /v1/audio/transcriptions', upgrade + type));
    socket.write(body.subarray(0, 10_000));
    await until(() => server.service.openRequests === 1);
    socket.write(body.subarray(10_000));
    socket.write(head('GET /health', `${upgrade}`));
    socket.write(head('GET /ready', 'connection: close\r\n'));
    const answer = await socket.answer;
    expect(answer.match(/HTTP\/1\.1 \d+/g)).toEqual(Array(3).fill('HTTP/1.1 200'));
    expect(answer).toContain(sampleText);
    expect(answer).toContain('{"status":"ok"}');
    expect(answer).toContain('{"status":"ready"}');
  });

  it.each([
    ['where there is none', '/v1/nothing', 404],
    ['at an invalid URL', '/%zz', 400],
  ])('to a WebSocket %s is answered, and the connection closed', async (_, url, status) => {
    const socket = await open(server);
    const key = 'sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-version: 13\r\n';
    socket.write(head(`GET ${url}`, `connection: upgrade\r\nupgrade: websocket\r\n${key}`));
    const answer = await Promise.race([socket.answer, wait(5000, 'still open')]);
    expect(answer).toMatch(new RegExp(`^HTTP/1.1 ${status} .*"type":"invalid_request_error"`, 's'));
  });

  it('that is injected is answered without an error in the log', async () => {
    const lines: string[] = [];
    const stream = { write: (line: string) => void lines.push(line) };
    const app = fastify({ logger: { stream } }) as unknown as FastifyInstance;
    onTestFinished(() => app.close());
    await app.register(onehead, { models: [micro], load: { device: 'cpu', threads: 2 }, preload: false });
    const headers = { connection: 'upgrade', upgrade: 'h2c' };
    expect((await app.inject({ url: '/v1/nothing', headers })).statusCode).toBe(404);
    await until(() => lines.some((line) => /request (completed|errored)/.test(line)));
    expect(lines.filter((line) => JSON.parse(line).err !== undefined)).toEqual([]);
  });
});

describe('URLs and methods', () => {
  it('that do not exist are refused', async () => {
    expect(errorOf(await get(server, '/v1/nothing'))).toEqual([404, null, null]);
    const answer = await get(server, '/v1/audio/transcriptions');
    expect([answer.status, answer.headers.get('allow')]).toEqual([405, 'POST']);
    expect((await get(server, `/v1/models/${'x'.repeat(5000)}`)).json.error.message.length).toBeLessThan(300);
    expect(errorOf(await get(server, '/v1/models/%zz'))).toEqual([400, null, null]);
  });
});

it('omits fields that were not requested', async () => {
  const bodies = [form(model, file), form(file, model), Buffer.concat([part('file', speech, 'x'), model, end])];
  const answers = await Promise.all(bodies.map((body) => post(server, body)));
  expect(answers.map(({ json }) => json.text)).toEqual([sampleText, sampleText, sampleText]);
});
