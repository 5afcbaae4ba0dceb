/** The worker thread's side of the pool: opens sessions and passes messages to them. */
import { parentPort, type Transferable } from 'node:worker_threads';
import type { Reply, Request } from './pool.js';

/** Sends a message to the opener of a session. */
export type Post = (message: never, transfer?: readonly Transferable[]) => void;

/** The thread's side of a session. */
export interface Served {
  receive?(message: never): void;
  /** Stops the work and releases resources. */
  close(): void | Promise<void>;
}

/** Opens a session; later errors are sent as messages of the session. */
export type Service = (data: never, post: Post) => Served;

/** Serves sessions of the given kinds to the main thread. */
export function serve(services: Readonly<Record<string, Service>>): void {
  const port = parentPort!;
  const post = (reply: Reply, transfer: readonly Transferable[] = []) => port.postMessage(reply, transfer);
  const sessions = new Map<number, Served>();
  port.on('message', async (request: Request) => {
    const { session } = request;
    if ('kind' in request) {
      const postToSession: Post = (message, transfer) => post({ session, message }, transfer);
      sessions.set(session, services[request.kind](request.data as never, postToSession));
    } else if ('close' in request) {
      const served = sessions.get(session);
      sessions.delete(session);
      await served?.close();
      post({ session, closed: true });
    } else sessions.get(session)?.receive?.(request.message as never);
  });
  post({ ready: true });
}
