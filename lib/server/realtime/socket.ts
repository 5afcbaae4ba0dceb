/**
 * A session's socket: handles messages in order, limits the backlog, and closes idle, misbehaving or lost connections.
 */
import type { CheckedServerOptions } from '../service/options.js';
import type { OpenRequest, Service } from '../service/service.js';
import { errorEvent, identifier, type ServerEvent } from './events.js';
import { Session } from './session.js';
import type { SessionConfig } from './session-config.js';

/** The used part of a ws socket. */
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
/** Waiting messages at which reading pauses, and at which it resumes. */
const [pauseAt, resumeAt] = [32, 8];
/** Maximum bytes that a client may leave unread. */
const maxUnreadBytes = 8 * 2 ** 20;
/** Successive invalid messages after which the socket is closed. */
const maxInvalid = 100;
/** Milliseconds between pings. */
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
    if (socket.bufferedAmount > maxUnreadBytes) return socket.terminate();
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
    close(1011, 'the stream has failed');
  };
  /** Sends the remaining events, then closes. */
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
  const limit = setTimeout(
    () => goodbye(1000, 'the session has reached its maximum duration'),
    realtimeDuration * 1000,
  );
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
    if (waiting >= pauseAt && !paused) {
      paused = true;
      socket.pause();
    }
    chain = chain.then(async () => {
      if (socket.readyState === open) {
        const text = Array.isArray(data) ? Buffer.concat(data).toString() : Buffer.from(data as Buffer).toString();
        const right = await session.receive(binary ? '' : text);
        wrong = right ? 0 : wrong + 1;
        if (wrong >= maxInvalid) close(1008, 'too many invalid messages');
      }
      waiting -= 1;
      if (paused && waiting <= resumeAt) {
        paused = false;
        if (socket.readyState === open) socket.resume();
      }
    });
  });
  session.begin();
}
