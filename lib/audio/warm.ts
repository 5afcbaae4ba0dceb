/** Makes the first recording as fast as later ones. */
import { stat } from 'node:fs/promises';
import type { WorkerPool } from '../workers/pool.js';
import type { FromWorker, Opening } from './messages.js';
import { readingOf } from './options.js';

/**
 * Starts a thread in the background and decodes a short recording on it to compile its code. Does not keep the process
 * alive.
 */
export async function warmUp(pool: WorkerPool, path: string): Promise<void> {
  if (pool.threads > 0) return;
  pool.warm();
  const file = await stat(path).catch(() => null);
  if (!file) return;
  const { signal, maxBytes, ...reading } = readingOf({});
  const origin = { path, name: path, size: file.size };
  const data: Opening = { origin, reading, apart: false, ahead: Number.POSITIVE_INFINITY };
  const message = (given: unknown) => {
    const received = given as FromWorker<Float32Array>;
    if ('item' in received && !('chunk' in received.item)) void session?.close();
  };
  const session = pool.open('audio', data, { message, failed: () => {} });
  session?.setState(true, false);
}
