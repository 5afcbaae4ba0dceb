/** Invalid messages and URLs of /v1/realtime. */
import type { Duplex } from 'node:stream';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type WebSocket from 'ws';
import type { RunningServer } from '../../lib/server/index.js';
import { connect } from './realtime-client.js';
import { startServer } from './support.js';

let server: RunningServer;
beforeAll(async () => {
  server = await startServer();
});
afterAll(() => server?.close());

const realtime = (query = '?intent=transcription') => `${server.url}/v1/realtime${query}`;

/** Writes bytes of a frame that ws itself would not send. */
const writeFrame = (socket: WebSocket, frame: number[]) =>
  (socket as unknown as { _socket: Duplex })._socket.write(Buffer.from(frame));

describe('invalid messages', () => {
  it.each([
    ['rubbish', 'not JSON', 'invalid_json'],
    ['[1]', 'not an event', 'invalid_event'],
    ['{"type":5}', 'not an event', 'invalid_event'],
    ['{"type":"__proto__"}', 'Expected type to be one of', 'invalid_value'],
    ['{"type":"input_audio_buffer.append"}', 'base64', 'invalid_value'],
    ['{"type":"input_audio_buffer.append","audio":"*"}', 'base64', 'invalid_value'],
    ['{"type":"session.update","session":7}', 'Expected session to be an object', 'invalid_value'],
    ['{"type":"session.update","session":{"type":"realtime"}}', 'only transcribes', 'invalid_value'],
    [
      '{"type":"session.update","session":{"nonsense":1}}',
      "Unknown parameter: 'session.nonsense'",
      'unknown_parameter',
    ],
    ['{"type":"session.update","session":{"audio":{"input":{"format":{"type":"mp3"}}}}}', 'audio/pcm', 'invalid_value'],
    [
      '{"type":"session.update","session":{"audio":{"input":{"turn_detection":{"type":"semantic_vad"}}}}}',
      "'server_vad'",
      'invalid_value',
    ],
    [
      '{"type":"session.update","session":{"audio":{"input":{"turn_detection":{"threshold":7}}}}}',
      'a number from 0 to 1',
      'invalid_value',
    ],
    [
      '{"type":"session.update","session":{"audio":{"input":{"transcription":{"model":"no"}}}}}',
      'not served',
      'model_not_found',
    ],
    [
      '{"type":"session.update","session":{"audio":{"input":{"transcription":{"language":"xx"}}}}}',
      "'xx'",
      'invalid_value',
    ],
    [
      '{"type":"session.update","session":{"audio":{"input":{"transcription":{"language":"de"}}}}}',
      "'de'",
      'invalid_value',
    ],
    ['{"type":"session.update","session":{"include":["all"]}}', 'transcription.logprobs', 'invalid_value'],
    ['{"type":"session.update","session":{"include":"all"}}', 'a list', 'invalid_value'],
  ])('%s is answered with an error, and the session continues', async (message, sentence, code) => {
    const { socket, next, ask } = await connect(realtime());
    const answered = next('error');
    socket.send(message);
    const { error } = await answered;
    expect(error).toMatchObject({ code, type: 'invalid_request_error' });
    expect(error.message).toContain(sentence);
    await ask({ type: 'session.update', session: { type: 'transcription' } }, 'session.updated');
  });

  it('that set an unsupported language open no session, and create no secret', async () => {
    await expect(connect(realtime('?language=xx'))).rejects.toThrow('400');
    const response = await fetch(`${server.url}/v1/realtime/client_secrets`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        session: { type: 'transcription', audio: { input: { transcription: { language: 'xx' } } } },
      }),
    });
    expect(response.status).toBe(400);
    expect((await response.json()) as object).toMatchObject({
      error: { param: 'session.audio.input.transcription.language', message: expect.stringContaining("'xx'") },
    });
  });

  it('are answered a hundred times', async () => {
    const { socket, closed, events } = await connect(realtime());
    for (let i = 0; i < 200; ++i) socket.send(i % 2 ? 'x' : Buffer.from([i]));
    expect(await closed).toBe(1008);
    expect(events.filter(({ type }) => type === 'error')).toHaveLength(100);
  });

  it.each([
    ['messages larger than 16 MiB', 1009, (socket: WebSocket) => socket.send('x'.repeat(17 * 2 ** 20))],
    // A text frame of one byte that is not UTF-8, masked with zeros.
    ['texts that are not UTF-8', 1007, (socket: WebSocket) => writeFrame(socket, [0x81, 0x81, 0, 0, 0, 0, 0xff])],
    ['frames of an unknown kind', 1002, (socket: WebSocket) => writeFrame(socket, [0x83, 0x80, 0, 0, 0, 0])],
  ])('close the socket with the code of the reason: %s', async (_, code, send) => {
    const { socket, closed } = await connect(realtime());
    send(socket);
    expect(await closed).toBe(code);
    await expect.poll(() => server.service.openRequests).toBe(0);
  });

  it('and invalid URLs are refused', async () => {
    await expect(connect(realtime('?intent=conversation'))).rejects.toThrow('400');
    await expect(connect(realtime('?model=nobody'))).rejects.toThrow('404');
    const answer = await fetch(realtime());
    expect(answer.status).toBe(426);
    expect(((await answer.json()) as { error: { message: string } }).error.message).toContain('WebSocket');
  });
});
