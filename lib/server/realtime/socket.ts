/**
 * A session's socket: messages in order, no more of them than can be heard, and an end for whoever is silent, rude or
 * gone.
 */
import type { CheckedServerOptions } from '../service/options.js';
import type { OpenRequest, Service } from '../service/service.js';
import { errorEvent, identifier, type ServerEvent } from './events.js';
import { Session } from './session.js';
import type { SessionConfig } from './session-config.js';

/** The part of a ws socket that is used. */
export interface Socket {
  readonly bufferedAmount: number;
  readonly readyState: number;
  send(text: string): void;
  close(code?: number, reason?: string): void;
  terminate(): void;
  pause(): void;
  resume(): void;
  ping(): void;
  on(event: 'message', listener: (data: Buffer | ArrayBuffer | Buffer[], binary: boolean) => void): void;
  on(event: 'close' | 'pong', listener: () => void): void;
  on(event: 'error', listener: (error: Error) => void): void;
}

const open = 1;
/** Messages that wait, from which on no more are read; and until which none are. */
const [mostWaiting, fewWaiting] = [32, 8];
/** Bytes that a client may leave unread. */
const mostUnread = 8 * 2 ** 20;
/** Messages after one another that are no events, after which nobody listens any more. */
const mostWrong = 100;
/** Milliseconds between looks whether somebody is there. */
const pingEvery = 30_000;

export function serveSocket(
  socket: Socket,
  service: Service,
  config: SessionConfig,
  request: OpenRequest,
  { realtimeIdle, realtimeDuration }: Pick<CheckedServerOptions, 'realtimeIdle' | 'realtimeDuration'>,
): void {
  const send = (event: ServerEvent) => {
    if (socket.readyState !== open) return;
    if (socket.bufferedAmount > mostUnread) return socket.terminate();
    socket.send(JSON.stringify({ event_id: identifier('event'), ...event }));
  };
  const expiresAt = Math.floor(Date.now() / 1000 + realtimeDuration);
  const session = new Session(service, config, expiresAt, send);
  let [waiting, wrong, alive, paused] = [0, 0, true, false];
  let heard = performance.now();
  let chain: Promise<void> = Promise.resolve();

  const close = (code: number, reason: string) => {
    if (socket.readyState !== open) return;
    socket.close(code, reason);
    socket.resume(); // to hear that the client closes it, too
  };
  session.onFailure = (error) => {
    send(errorEvent(error));
    close(1011, 'the stream could not go on');
  };
  /** Lets what was heard be told, then closes. */
  const goodbye = (code: number, reason: string) => {
    chain = chain
      .then(() => session.finish())
      .catch(() => {})
      .then(() => close(code, reason));
  };
  const shutDown = () => goodbye(1001, 'the server is shutting down');
  const stop = () => socket.terminate();

  const pings = setInterval(
    () => {
      if (!alive) return socket.terminate();
      alive = false;
      socket.ping();
      if (performance.now() - heard > realtimeIdle * 1000) goodbye(1000, 'nothing was sent for too long');
    },
    Math.min(pingEvery, realtimeIdle * 500),
  );
  const limit = setTimeout(() => goodbye(1000, 'the session has lasted as long as it may'), realtimeDuration * 1000);
  service.ending.addEventListener('abort', shutDown, { once: true });
  service.ended.addEventListener('abort', stop, { once: true });

  socket.on('pong', () => {
    alive = true;
  });
  socket.on('error', (error) => service.log.info({ err: error, session: session.id }, 'realtime socket failed'));
  socket.on('close', () => {
    clearInterval(pings);
    clearTimeout(limit);
    service.ending.removeEventListener('abort', shutDown);
    service.ended.removeEventListener('abort', stop);
    session.end();
    request.close();
  });
  socket.on('message', (data, binary) => {
    heard = performance.now();
    alive = true;
    waiting += 1;
    if (waiting >= mostWaiting && !paused) {
      paused = true;
      socket.pause();
    }
    chain = chain.then(async () => {
      if (socket.readyState === open) {
        const text = Array.isArray(data) ? Buffer.concat(data).toString() : Buffer.from(data as Buffer).toString();
        const right = await session.receive(binary ? '' : text);
        wrong = right ? 0 : wrong + 1;
        if (wrong >= mostWrong) close(1008, 'too many messages that are no events');
      }
      waiting -= 1;
      if (paused && waiting <= fewWaiting) {
        paused = false;
        if (socket.readyState === open) socket.resume();
      }
    });
  });
  session.begin();
}
