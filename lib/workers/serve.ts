/** The worker thread's side of the pool: sessions of the given kinds. */
import { parentPort, type Transferable } from 'node:worker_threads';
import type { Reply, Request } from './pool.js';

/** Sends a message to the opener of a session. */
export type Post = (message: never, transfer?: readonly Transferable[]) => void;

export interface Served {
  receive?(message: never): void;
  /** Stops the work and releases resources. */
  close(): void | Promise<void>;
}

/** Opens a session; later errors are sent as messages of the session. */
export type Service = (data: never, post: Post) => Served;

export function serve(services: Readonly<Record<string, Service>>): void {
  const port = parentPort!;
  const post = (reply: Reply, transfer: readonly Transferable[] = []) => port.postMessage(reply, transfer);
  const sessions = new Map<number, Served>();
  port.on('message', async (request: Request) => {
    const { session } = request;
    if ('kind' in request) {
      const own: Post = (message, transfer) => post({ session, message }, transfer);
      sessions.set(session, services[request.kind](request.data as never, own));
    } else if ('close' in request) {
      const served = sessions.get(session);
      sessions.delete(session);
      await served?.close();
      post({ session, closed: true });
    } else sessions.get(session)?.receive?.(request.message as never);
  });
  post({ ready: true });
}
