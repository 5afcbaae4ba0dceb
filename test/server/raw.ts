/** Requests that no regular client sends, written byte by byte. */
import { connect, type Socket } from 'node:net';
import type { RunningServer } from '../../lib/server/index.js';

export const boundary = 'boundary-of-the-test';

/** A part of a form: a field, or a file if it has a file name. */
export function part(name: string, value: string | Uint8Array, filename?: string): Buffer {
  const file = filename === undefined ? '' : `; filename="${filename}"\r\ncontent-type: application/octet-stream`;
  const head = `--${boundary}\r\ncontent-disposition: form-data; name="${name}"${file}\r\n\r\n`;
  return Buffer.concat([Buffer.from(head), Buffer.from(value), Buffer.from('\r\n')]);
}

export const end = Buffer.from(`--${boundary}--\r\n`);

export const form = (...parts: Uint8Array[]): Buffer => Buffer.concat([...parts, end]);

export interface Answer {
  status: number;
  headers: Headers;
  text: string;
  // biome-ignore lint/suspicious/noExplicitAny: any response of the server
  json: any;
}

export interface Sending {
  path?: string;
  method?: string;
  headers?: Record<string, string>;
  signal?: AbortSignal;
}

async function answerOf(response: Response): Promise<Answer> {
  const text = await response.text();
  const json = response.headers.get('content-type')?.includes('json') ? JSON.parse(text) : null;
  return { status: response.status, headers: response.headers, text, json };
}

export async function get(server: RunningServer, path: string, headers: Record<string, string> = {}): Promise<Answer> {
  return answerOf(await fetch(server.url + path, { headers }));
}

/** Sends a body as a form. */
export async function post(server: RunningServer, body: Uint8Array, sending: Sending = {}): Promise<Answer> {
  const { path = '/v1/audio/transcriptions', method = 'POST', headers, signal } = sending;
  const type = { 'content-type': `multipart/form-data; boundary=${boundary}` };
  const request = { method, body: body as Uint8Array<ArrayBuffer>, headers: { ...type, ...headers }, signal };
  return answerOf(await fetch(server.url + path, request));
}

/** A connection for writing raw bytes. */
export async function open(server: RunningServer): Promise<Socket & { answer: Promise<string> }> {
  const { hostname, port } = new URL(server.url);
  const socket = connect(Number(port), hostname);
  socket.on('error', () => {});
  await new Promise((resolve) => socket.once('connect', resolve));
  let text = '';
  socket.setEncoding('utf8').on('data', (piece: string) => {
    text += piece;
  });
  const answer = new Promise<string>((resolve) => socket.once('close', () => resolve(text)));
  return Object.assign(socket, { answer });
}

/** The head of a request with a form in chunked encoding. */
export const chunkedHead = (path = '/v1/audio/transcriptions') =>
  `POST ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: multipart/form-data; boundary=${boundary}\r\ntransfer-encoding: chunked\r\n\r\n`;

export const chunk = (bytes: Uint8Array): Buffer =>
  Buffer.concat([Buffer.from(`${bytes.length.toString(16)}\r\n`), bytes, Buffer.from('\r\n')]);

/** Waits until a condition is true, for at most five seconds. */
export async function until(holds: () => boolean): Promise<void> {
  for (let i = 0; i < 500 && !holds(); ++i) await new Promise((resolve) => setTimeout(resolve, 10));
  if (!holds()) throw new Error('It did not come true.');
}
