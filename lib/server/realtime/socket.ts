/**
 * The socket of a session. It passes on messages in order, limits the number of unhandled ones, and closes idle,
 * misbehaving and lost connections.
 */
import type { FastifyBaseLogger } from 'fastify';
import { onAbort } from '../../signals.js';
import type { OpenRequest, Service } from '../service/service.js';
import { errorEvent, identifier, type ServerEvent } from './events.js';
import { Session } from './session.js';
import type { SessionConfig } from './session-config.js';

/** The members of ws's WebSocket that are used here. */
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

/** The value of `readyState` for an open socket. */
const open = 1;
/** Unhandled messages at which reading pauses, and at which it resumes. */
const [pauseAt, resumeAt] = [32, 8];
/** Bytes that the client has not read, above which the connection is terminated. */
const maxUnreadBytes = 8 * 2 ** 20;
/** Successive invalid messages after which the socket is closed. */
const maxInvalid = 100;
/** Milliseconds between pings. */
const pingInterval = 30_000;

export function serveSocket(
  socket: Socket,
  service: Service,
  config: SessionConfig,
  request: OpenRequest,
  log: FastifyBaseLogger,
): void {
  const { realtimeIdle, realtimeDuration } = service.options;
  const send = (event: ServerEvent) => {
    if (socket.readyState !== open) return;
    if (socket.bufferedAmount > maxUnreadBytes) return socket.terminate();
    socket.send(JSON.stringify({ event_id: identifier('event'), ...event }));
  };
  const expiresAt = Math.floor((Date.now() + realtimeDuration) / 1000);
  const session = new Session(service, config, expiresAt, send);
  let [unhandled, invalid, alive, paused] = [0, 0, true, false];
  let lastMessageAt = performance.now();
  /** Settles when all messages so far have been handled. */
  let queue: Promise<void> = Promise.resolve();

  const close = (code: number, reason: string) => {
    if (socket.readyState !== open) return;
    socket.close(code, reason);
    socket.resume(); // the client's close frame has to be read
  };
  let audioSeconds = 0;
  session.onAudio = (model, seconds) => {
    audioSeconds += seconds;
    service.metrics.transcribed(model, request.key, seconds);
  };
  session.onFailure = (error) => {
    send(errorEvent(error));
    close(1011, 'the transcription has failed');
  };
  /** Closes the socket after the remaining events have been sent. */
  const finish = (code: number, reason: string) => {
    queue = queue
      .then(() => session.finish())
      .catch(() => {})
      .then(() => close(code, reason));
  };
  const shutDown = () => finish(1001, 'the server is shutting down');
  const terminate = () => socket.terminate();

  const pings = setInterval(
    () => {
      if (!alive) return socket.terminate();
      alive = false;
      socket.ping();
      if (performance.now() - lastMessageAt > realtimeIdle) finish(1000, 'the session was idle for too long');
    },
    Math.min(pingInterval, realtimeIdle / 2),
  );
  const durationTimer = setTimeout(
    () => finish(1000, 'the session has reached its maximum duration'),
    realtimeDuration,
  );
  const removals = [onAbort(service.ending, shutDown), onAbort(service.ended, terminate)];

  socket.on('pong', () => {
    alive = true;
  });
  socket.on('error', (error) => log.info({ err: error, session: session.id }, 'realtime socket failed'));
  socket.on('close', () => {
    clearInterval(pings);
    clearTimeout(durationTimer);
    for (const remove of removals) remove();
    log.info({ session: session.id, audioSeconds }, 'realtime session ended');
    session.abort();
    request.close();
  });
  socket.on('message', (data, binary) => {
    lastMessageAt = performance.now();
    alive = true;
    unhandled += 1;
    if (unhandled >= pauseAt && !paused) {
      paused = true;
      socket.pause();
    }
    queue = queue.then(async () => {
      if (socket.readyState === open) {
        const text = Array.isArray(data) ? Buffer.concat(data).toString() : Buffer.from(data as Buffer).toString();
        const valid = await session.receive(binary ? '' : text);
        invalid = valid ? 0 : invalid + 1;
        if (invalid >= maxInvalid) close(1008, 'too many invalid messages');
      }
      unhandled -= 1;
      if (paused && unhandled <= resumeAt) {
        paused = false;
        if (socket.readyState === open) socket.resume();
      }
    });
  });
  session.begin();
}
