/** Long messages, committed silence, and changes of the configuration between turns, in /v1/realtime. */
import { afterAll, beforeAll, expect, it } from 'vitest';
import type { RunningServer } from '../../lib/server/index.js';
import { bytes, checkItems, connect, spoken, transcriptOf } from './realtime-client.js';
import { startServer } from './support.js';

let server: RunningServer;
let pcm: Int16Array;
beforeAll(async () => {
  server = await startServer();
  pcm = await spoken(24_000);
});
afterAll(() => server?.close());

const open = () => connect(`${server.url}/v1/realtime?intent=transcription`);
const completed = 'conversation.item.input_audio_transcription.completed';
const manual = { type: 'transcription', audio: { input: { turn_detection: null } } };

it('transcribes all audio of a message, also if it is longer than a stream may lag behind', async () => {
  const { ask, append, next, events } = await open();
  // Silence of which 160 s would be dropped, were it pushed at once.
  append(Buffer.concat([bytes(pcm), Buffer.alloc(2 * 24_000 * 200)]), Number.POSITIVE_INFINITY);
  while (events.filter(({ type }) => type === completed).length < 3) await next(completed);
  await ask({ type: 'session.update', session: { type: 'transcription' } }, 'session.updated');
  checkItems(events);
  expect(transcriptOf(events)).toContain('shopping list');
  expect(events.filter(({ type }) => type === 'error')).toEqual([]);
});

it('answers a commit of silence with an item without text', async () => {
  const { ask, append, next, events } = await open();
  append(Buffer.alloc(24_000));
  const answered = next(completed);
  const { item_id: item } = await ask({ type: 'input_audio_buffer.commit' }, 'input_audio_buffer.committed');
  expect(await answered).toMatchObject({ item_id: item, transcript: '' });
  // A commit that ends a detected turn has that turn's item only.
  append(bytes(pcm.subarray(0, 1.5 * 24_000)));
  const text = next(completed);
  await ask({ type: 'input_audio_buffer.commit' }, 'input_audio_buffer.committed');
  expect((await text).transcript).toContain('We will return');
  const failed = await ask({ type: 'input_audio_buffer.commit' }, 'error');
  expect(failed.error.code).toBe('input_audio_buffer_commit_empty');
  checkItems(events);
  expect(events.filter(({ type }) => type === 'input_audio_buffer.committed')).toHaveLength(2);
});

it('reports items in the order of their audio when the configuration changes', async () => {
  const { send, append, next, events } = await open();
  append(bytes(pcm));
  send({ type: 'session.update', session: manual });
  append(bytes(pcm.subarray(0, 2.2 * 24_000)));
  send({ type: 'input_audio_buffer.commit' });
  while (events.filter(({ type }) => type === completed).length < 4) await next(completed);
  checkItems(events);
  const ids = (kind: string) => events.filter(({ type }) => type.endsWith(kind)).map(({ item_id: item }) => item);
  expect(ids('input_audio_buffer.committed')).toEqual(ids('transcription.completed'));
  expect(events.findLast(({ type }) => type === completed)!.transcript).toBe('We will return on Thursday.');
});

it('transcribes only what was not cleared, however fast the messages follow one another', async () => {
  const { ask, append, send, next, events } = await open();
  await ask({ type: 'session.update', session: manual }, 'session.updated');
  const [first, second] = [bytes(pcm.subarray(0, 2.2 * 24_000)), bytes(pcm.subarray(2.2 * 24_000, 5 * 24_000))];
  for (const [heard, cleared] of [
    [first, second],
    [second, first],
  ]) {
    append(heard);
    send({ type: 'input_audio_buffer.commit' });
    append(cleared);
    send({ type: 'input_audio_buffer.clear' });
  }
  // Ends the stream, which has no more turns.
  send({ type: 'session.update', session: { type: 'transcription', audio: { input: { turn_detection: {} } } } });
  append(first);
  send({ type: 'input_audio_buffer.commit' });
  while (events.filter(({ type }) => type === completed).length < 3) await next(completed);
  checkItems(events);
  const texts = events.filter(({ type }) => type === completed).map(({ transcript }) => transcript);
  expect(texts).toEqual([
    'We will return on Thursday.',
    expect.stringMatching(/^Add honey and chicken to the shopping list\.$/),
    'We will return on Thursday.',
  ]);
});

it('announces the item of audio that was not committed when the session ends', async () => {
  const own = await startServer();
  const { ask, append, events, closed } = await connect(`${own.url}/v1/realtime?intent=transcription`);
  await ask({ type: 'session.update', session: manual }, 'session.updated');
  append(bytes(pcm.subarray(0, 2.2 * 24_000)));
  // The audio has arrived before the shutdown begins.
  await ask({ type: 'session.update', session: manual }, 'session.updated');
  await own.close();
  expect(await closed).toBe(1001);
  checkItems(events);
  expect(transcriptOf(events)).toBe('We will return on Thursday.');
});
