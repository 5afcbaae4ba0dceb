import { setMaxListeners } from 'node:events';

/**
 * Calls `listener` when the signal aborts. Returns a function that removes it. Any number of calls may share a caller's
 * signal, such as that of the program's end, so Node.js does not warn of a leak.
 */
export function onAbort(signal: AbortSignal, listener: (event: Event) => void): () => void {
  setMaxListeners(0, signal);
  signal.addEventListener('abort', listener, { once: true });
  return () => signal.removeEventListener('abort', listener);
}
