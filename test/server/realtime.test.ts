/** /v1/realtime with OpenAI's client over TLS, and with a plain WebSocket. */
import { writeFileSync } from 'node:fs';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import OpenAI from 'openai';
import { OpenAIRealtimeWS } from 'openai/realtime/ws';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { RunningServer } from '../../lib/server/index.js';
import { decodeSamples as decoded } from '../../lib/server/realtime/audio.js';
import { selfSigned } from './certificate.js';
import { bytes, checkItems, connect, type Event, spoken, transcriptOf } from './realtime-client.js';
import { startServer, testServer } from './support.js';

const sentences =
  /^We will return on Thursday\. Add honey and chicken to the shopping list\. Move left forty five (meters|feet)\.$/;
let server: RunningServer;
let pcm: Int16Array;
beforeAll(async () => {
  server = await startServer();
  pcm = await spoken(24_000);
});
afterAll(() => server?.close());

const realtime = (query = '?intent=transcription') => `${server.url}/v1/realtime${query}`;
const manual = { type: 'transcription', audio: { input: { turn_detection: null } } };

describe("OpenAI's client", () => {
  it('transcribes over TLS: detected turns, deltas, transcripts', async () => {
    const tls = await testServer({}, selfSigned());
    const client = new OpenAI({ apiKey: 'none', baseURL: `${tls.url}/v1` });
    const ws = new OpenAIRealtimeWS({ model: 'whisper-1', options: { rejectUnauthorized: false } }, client);
    const events: Event[] = [];
    const done = new Promise<void>((resolve, reject) => {
      ws.on('error', reject);
      ws.on('event', (event) => {
        events.push(event as Event);
        const ended = events.filter(({ type }) => type.endsWith('transcription.completed'));
        if (ended.length === 3) resolve();
      });
    });
    ws.on('session.created', () => {
      ws.send({
        type: 'session.update',
        session: {
          type: 'transcription',
          audio: {
            input: {
              format: { type: 'audio/pcm', rate: 24_000 },
              transcription: { model: 'whisper-1', language: 'en' },
              turn_detection: { type: 'server_vad', threshold: 0.5, prefix_padding_ms: 300, silence_duration_ms: 400 },
            },
          },
        },
      });
      const data = Buffer.concat([bytes(pcm), Buffer.alloc(48_000)]);
      for (let at = 0; at < data.length; at += 4800) {
        ws.send({ type: 'input_audio_buffer.append', audio: data.subarray(at, at + 4800).toString('base64') });
      }
    });
    await done;
    ws.close();
    checkItems(events);
    expect(transcriptOf(events)).toMatch(sentences);
    const types = events.map(({ type }) => type);
    expect(types.slice(0, 2)).toEqual(['session.created', 'session.updated']);
    const [, { session }] = events;
    expect(session).toMatchObject({
      type: 'transcription',
      object: 'realtime.transcription_session',
      audio: { input: { turn_detection: { silence_duration_ms: 400 }, transcription: { language: 'en' } } },
    });
    const ofFirst = events.filter(({ item_id: item }) => item === events.find(({ item_id: one }) => one)!.item_id);
    expect(ofFirst[0]).toMatchObject({ type: 'input_audio_buffer.speech_started', audio_start_ms: expect.any(Number) });
    expect(ofFirst.at(-1)!.type).toBe('conversation.item.input_audio_transcription.completed');
    const stopped = events.findIndex(({ type }) => type === 'input_audio_buffer.speech_stopped');
    expect(types.slice(stopped, stopped + 4)).toEqual([
      'input_audio_buffer.speech_stopped',
      'input_audio_buffer.committed',
      'conversation.item.added',
      'conversation.item.done',
    ]);
  });

  it('is refused without a key, and accepted with one', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'onehead-keys-'));
    writeFileSync(join(folder, 'keys'), 'secret name=tester\n');
    const guarded = await testServer({ keys: join(folder, 'keys') });
    const url = `${guarded.url}/v1/realtime?intent=transcription`;
    await expect(connect(url)).rejects.toThrow('401');
    await expect(connect(url, { headers: { authorization: 'Bearer wrong' } })).rejects.toThrow('401');
    const open = await connect(url, { headers: { authorization: 'Bearer secret' } });
    open.socket.close();
    // A browser sends its key as a subprotocol.
    const browser = await connect(url, {}, ['realtime', 'openai-insecure-api-key.secret']);
    expect(browser.socket.protocol).toBe('realtime');
    browser.socket.close();
    const client = new OpenAI({ apiKey: 'secret', baseURL: `${guarded.url}/v1`, maxRetries: 0 });
    const secret = await client.realtime.clientSecrets.create({
      expires_after: { anchor: 'created_at', seconds: 60 },
      session: { type: 'transcription', audio: { input: { transcription: { model: 'whisper-1', language: 'en' } } } },
    });
    expect(secret.value).toMatch(/^ek_/);
    const short = await connect(url, { headers: { authorization: `Bearer ${secret.value}` } });
    const created = short.events[0] ?? (await short.next('session.created'));
    expect(created.session.audio.input.transcription).toMatchObject({ language: 'en' });
    await expect(connect(url, { headers: { authorization: 'Bearer ek_00' } })).rejects.toThrow('401');
    await expect(
      client.realtime.clientSecrets.create({ expires_after: { anchor: 'created_at', seconds: 5 } }),
    ).rejects.toThrow(/seconds to be a number from 10 to 7200/);
    const ask = (body: string) =>
      fetch(`${guarded.url}/v1/realtime/client_secrets`, {
        method: 'POST',
        headers: { authorization: 'Bearer secret', 'content-type': 'application/json' },
        body,
      });
    for (const wrong of ['[]', '7', '{"expires_after":7}', '{"expires":60}', '{"session":[]}', '{']) {
      const answer = await ask(wrong);
      expect([wrong, answer.status]).toEqual([wrong, 400]);
      const { error } = (await answer.json()) as { error: { type: string; code: string | null } };
      expect(error.type).toBe('invalid_request_error');
      expect(error.code ?? '').not.toMatch(/fst/i);
    }
  });
});

describe('a plain client', () => {
  it('commits its audio, and gets text before that', async () => {
    const { ask, append, next, events, socket } = await connect(realtime());
    await ask({ type: 'session.update', session: manual }, 'session.updated');
    const early = next('conversation.item.input_audio_transcription.delta');
    append(bytes(pcm));
    await early;
    const completed = next('conversation.item.input_audio_transcription.completed');
    await ask({ type: 'input_audio_buffer.commit' }, 'input_audio_buffer.committed');
    await completed;
    socket.close();
    checkItems(events);
    expect(transcriptOf(events)).toContain('shopping list');
    expect(events.some(({ type }) => type === 'input_audio_buffer.speech_started')).toBe(false);
  });

  it('discards cleared audio, and reports commits in order', async () => {
    const { ask, append, send, events, next } = await connect(realtime());
    await ask({ type: 'session.update', session: manual }, 'session.updated');
    const [first, second] = [pcm.subarray(0, 2.2 * 24_000), pcm.subarray(2.2 * 24_000, 5 * 24_000)];
    append(bytes(second));
    await ask({ type: 'input_audio_buffer.clear' }, 'input_audio_buffer.cleared');
    append(bytes(first));
    send({ type: 'input_audio_buffer.commit' });
    append(bytes(second));
    send({ type: 'input_audio_buffer.commit' });
    append(bytes(first));
    await ask({ type: 'input_audio_buffer.clear' }, 'input_audio_buffer.cleared');
    const ended = () => events.filter(({ type }) => type.endsWith('transcription.completed'));
    while (ended().length < 2) await next('conversation.item.input_audio_transcription.completed');
    checkItems(events.filter((one) => ended().some(({ item_id: item }) => item === one.item_id)));
    expect(ended()[0].transcript).toBe('We will return on Thursday.');
    expect(ended()[1].transcript).toMatch(/^Add honey/);
    const failed = await ask({ type: 'input_audio_buffer.commit', event_id: 'mine' }, 'error');
    expect(failed.error).toMatchObject({ code: 'input_audio_buffer_commit_empty', event_id: 'mine' });
  });

  it('gets log-probabilities if it requests them', async () => {
    const { ask, append, next, events } = await connect(realtime());
    const include = ['item.input_audio_transcription.logprobs'];
    const { session } = await ask({ type: 'session.update', session: { ...manual, include } }, 'session.updated');
    expect(session.include).toEqual(include);
    append(bytes(pcm));
    const completed = next('conversation.item.input_audio_transcription.completed');
    await ask({ type: 'input_audio_buffer.commit' }, 'input_audio_buffer.committed');
    const { transcript, logprobs } = await completed;
    for (const { logprob } of logprobs) expect(logprob).toBeLessThanOrEqual(0);
    const spelled = Buffer.from(logprobs.flatMap((one: { bytes: number[] }) => one.bytes)).toString();
    expect(spelled.trim()).toBe(transcript);
    const deltas = events.filter(({ type }) => type.endsWith('transcription.delta'));
    expect(deltas.flatMap((one) => one.logprobs)).toEqual(logprobs);
    // An absent field keeps the setting; null removes it.
    const kept = await ask({ type: 'session.update', session: { type: 'transcription' } }, 'session.updated');
    expect(kept.session.include).toEqual(include);
    const without = await ask({ type: 'session.update', session: { include: null } }, 'session.updated');
    expect(without.session.include).toBeNull();
  });

  it.each([
    ['audio/pcmu', (one: number) => decoded(Buffer.from([one]), { type: 'audio/pcmu' })[0]],
    ['audio/pcma', (one: number) => decoded(Buffer.from([one]), { type: 'audio/pcma' })[0]],
  ] as const)('speaks %s, as telephones do', async (type, value) => {
    const levels = Array.from({ length: 256 }, (_, byte) => value(byte));
    // The loudest and quietest values of ITU-T G.711.
    expect(Math.max(...levels)).toBe(type === 'audio/pcmu' ? 32_124 : 32_256);
    expect(Math.min(...levels.map(Math.abs))).toBe(type === 'audio/pcmu' ? 0 : 8);
    const slow = await spoken(8000);
    const companded = Buffer.from(
      slow.map((one) =>
        levels.reduce((best, level, byte) => (Math.abs(level - one) < Math.abs(levels[best] - one) ? byte : best), 0),
      ),
    );
    const { ask, append, next, events } = await connect(realtime());
    await ask(
      {
        type: 'session.update',
        session: { type: 'transcription', audio: { input: { format: { type }, turn_detection: null } } },
      },
      'session.updated',
    );
    append(companded, 1601);
    const completed = next('conversation.item.input_audio_transcription.completed');
    await ask({ type: 'input_audio_buffer.commit' }, 'input_audio_buffer.committed');
    await completed;
    expect(transcriptOf(events)).toContain('honey and chicken');
  });

  it('can use the beta interface', async () => {
    const { ask } = await connect(realtime('?model=whisper-1&language=en'));
    const { session } = await ask(
      {
        type: 'transcription_session.update',
        session: {
          input_audio_format: 'g711_ulaw',
          input_audio_transcription: { model: 'whisper-1', language: 'en', prompt: 'Honey.' },
          turn_detection: { type: 'server_vad', silence_duration_ms: 300 },
        },
      },
      'transcription_session.updated',
    );
    expect(session).toMatchObject({
      input_audio_format: 'g711_ulaw',
      input_audio_transcription: { language: 'en', prompt: 'Honey.' },
      turn_detection: { type: 'server_vad', silence_duration_ms: 300, threshold: 0.5, prefix_padding_ms: 300 },
    });
  });

  it('that disconnects leaves no request open', async () => {
    const { ask, append, socket, next, closed } = await connect(realtime());
    await ask({ type: 'session.update', session: manual }, 'session.updated');
    const delta = next('conversation.item.input_audio_transcription.delta');
    append(bytes(pcm));
    await delta;
    socket.terminate();
    await closed;
    const [{ whisper }] = server.service.models.loaded();
    await expect
      .poll(() => whisper.figures())
      .toMatchObject({ requests: 0, rows: { used: 0 }, positions: { used: 0 } });
    await expect.poll(() => server.service.openRequests).toBe(0);
  });

  it('gets its remaining text when the server shuts down', async () => {
    const own = await startServer();
    const { ask, append, events, closed } = await connect(`${own.url}/v1/realtime?intent=transcription`);
    await ask({ type: 'session.update', session: { type: 'transcription' } }, 'session.updated');
    append(bytes(pcm.subarray(0, 2.2 * 24_000)));
    // The messages arrive before the shutdown begins.
    await ask({ type: 'session.update', session: { type: 'transcription' } }, 'session.updated');
    await own.close();
    expect(await closed).toBe(1001);
    expect(transcriptOf(events)).toBe('We will return on Thursday.');
  });

  it('that is idle, or connected for too long, is disconnected', async () => {
    const own = await testServer({ realtimeIdle: 1000, realtimeDuration: 60_000 });
    const idle = await connect(`${own.url}/v1/realtime?intent=transcription`);
    expect(await idle.closed).toBe(1000);
    const short = await testServer({ realtimeDuration: 1000 });
    const { closed } = await connect(`${short.url}/v1/realtime?intent=transcription`);
    expect(await closed).toBe(1000);
  });
});
