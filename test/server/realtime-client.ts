/** A plain WebSocket client of /v1/realtime, and checks of its events. */
import { expect, onTestFinished } from 'vitest';
import WebSocket from 'ws';
import { openAudio } from '../../lib/audio/index.js';
import { sample } from './support.js';

// biome-ignore lint/suspicious/noExplicitAny: events of every kind
export type Event = { type: string } & Record<string, any>;

/** The sample as 16-bit PCM at a rate. */
export async function spoken(sampleRate: number): Promise<Int16Array> {
  const source = await openAudio(sample, { sampleRate });
  const parts: number[] = [];
  for await (const chunk of source.chunks()) for (const one of chunk) parts.push(Math.round(one * 32_767));
  return Int16Array.from(parts);
}

export const bytes = (samples: Int16Array) => Buffer.from(samples.buffer, samples.byteOffset, samples.byteLength);
export const transcriptOf = (events: readonly Event[]) =>
  events
    .filter(({ type }) => type.endsWith('transcription.completed'))
    .map(({ transcript }) => transcript)
    .join(' ');

/** Checks that the deltas of each item form its transcript, and that items follow one another. */
export function checkItems(events: readonly Event[]): void {
  const completed = events.filter(({ type }) => type.endsWith('transcription.completed'));
  expect(completed.length).toBeGreaterThan(0);
  for (const { item_id: item, transcript, content_index: index, usage } of completed) {
    const own = events.filter((one) => one.item_id === item);
    const deltas = own.filter(({ type }) => type.endsWith('transcription.delta'));
    expect(deltas.map(({ delta }) => delta).join('')).toBe(transcript);
    expect(index).toBe(0);
    expect(usage).toEqual({ type: 'duration', seconds: expect.any(Number) });
    expect(own.some(({ type }) => type === 'input_audio_buffer.committed')).toBe(true);
  }
  const committed = events.filter(({ type }) => type === 'input_audio_buffer.committed');
  committed.forEach(({ previous_item_id: previous }, i) => {
    expect(previous).toBe(i === 0 ? null : committed[i - 1].item_id);
  });
  expect(new Set(events.map(({ event_id: id }) => id)).size).toBe(events.length);
}

/** Opens a WebSocket: its events, and functions that send and wait for events. */
export async function connect(url: string, options: WebSocket.ClientOptions = {}, protocols: string[] = []) {
  const socket = new WebSocket(url.replace('http', 'ws'), protocols, options);
  onTestFinished(() => socket.terminate());
  const events: Event[] = [];
  const waiting: { fits(event: Event): boolean; resolve(event: Event): void }[] = [];
  socket.on('message', (data) => {
    const event = JSON.parse(String(data));
    events.push(event);
    for (const one of [...waiting]) {
      if (!one.fits(event)) continue;
      waiting.splice(waiting.indexOf(one), 1);
      one.resolve(event);
    }
  });
  const closed = new Promise<number>((resolve) => socket.on('close', resolve));
  await new Promise((resolve, reject) => {
    socket.on('open', resolve);
    socket.on('error', reject);
  });
  const next = (type: string) =>
    new Promise<Event>((resolve) => waiting.push({ fits: (event) => event.type === type, resolve }));
  const send = (event: object) => socket.send(JSON.stringify(event));
  const ask = (event: object, answer: string) => {
    const answered = next(answer);
    send(event);
    return answered;
  };
  const append = (data: Buffer, piece = 9600) => {
    for (let at = 0; at < data.length; at += piece) {
      send({ type: 'input_audio_buffer.append', audio: data.subarray(at, at + piece).toString('base64') });
    }
  };
  return { socket, events, closed, next, send, ask, append };
}
