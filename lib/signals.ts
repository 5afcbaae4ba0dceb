/** Helpers for signals that abort work. */
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

/**
 * The result of `work`. Rejects with the signal's reason if it aborts first; the work goes on. `release` is called with
 * a result that comes later, such as a connection, which would keep the process alive.
 */
export async function unlessAborted<T>(
  work: Promise<T>,
  signal: AbortSignal | undefined,
  release: (late: T) => unknown = () => {},
): Promise<T> {
  if (!signal) return work;
  let stopListening = () => {};
  const aborted = new Promise<never>((_, reject) => {
    if (signal.aborted) reject(signal.reason);
    stopListening = onAbort(signal, () => reject(signal.reason));
  });
  const inTime = work.then((value) => {
    if (signal.aborted) release(value);
    return value;
  });
  return Promise.race([aborted, inTime]).finally(stopListening);
}
