/** The connection to Redis, and its errors. */
import type { Redis } from 'ioredis';
import { refuse } from '../checks.js';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { optional } from './optional.js';

/** Milliseconds within which the first connection has to succeed. */
const connectTimeout = 5000;

/** The address without its password. */
function addressOf(url: string): string {
  try {
    const { protocol, host } = new URL(url);
    if (host !== '') return `${protocol}//${host}`;
  } catch {}
  return shown(url.replace(/\/\/[^@/]*@/, '//'));
}

/** For messages on missing packages. */
export const packages = 'bullmq ioredis';
export const purpose = 'A queue on Redis';

/**
 * Connects to Redis. Once it is connected, commands wait while the server cannot be reached, so that workers survive
 * its restart. Throws OneheadError INVALID_ARGUMENT for an invalid address, QUEUE_UNAVAILABLE if the server is not
 * reached within 5 seconds or refuses the connection.
 */
export async function connect(url: string): Promise<Redis> {
  const { Redis: Connection } = await optional(() => import('ioredis'), purpose, packages);
  if (!/^rediss?:\/\/[^/]/.test(url) || !URL.canParse(url) || !/^\/?\d*$/.test(new URL(url).pathname)) {
    refuse('redis', 'an address such as redis://host:6379', addressOf(url));
  }
  const client = new Connection(url, { maxRetriesPerRequest: null, lazyConnect: true, retryStrategy: () => null });
  let lastError: unknown = new Error('no answer');
  client.on('error', (error) => {
    lastError = error;
  });
  const timeout = new Promise<never>((_, reject) => setTimeout(reject, connectTimeout, lastError).unref());
  try {
    // If selecting the database fails, the client ignores that and uses database 0. Selecting it again rejects.
    const selected = client.connect().then(() => client.select(client.options.db ?? 0));
    await Promise.race([selected, timeout]);
  } catch (cause) {
    client.disconnect();
    const reason = reasonOf(lastError instanceof Error && lastError.message ? lastError : cause);
    throw new OneheadError('QUEUE_UNAVAILABLE', `Cannot reach Redis at ${addressOf(url)}: ${reason}.`, { cause });
  }
  client.options.retryStrategy = (times) => Math.min(2000, 50 * 2 ** Math.min(times, 6));
  return client;
}

/** Returns the result of `request`. Throws OneheadError QUEUE_UNAVAILABLE for an error of the server. */
export async function wrapErrors<T>(request: () => Promise<T>): Promise<T> {
  try {
    return await request();
  } catch (cause) {
    if (cause instanceof OneheadError) throw cause;
    // The position within a Lua script does not help users.
    const reason = reasonOf(cause).replace(/\.? *script: .*$/, '');
    throw new OneheadError('QUEUE_UNAVAILABLE', `Redis refused a command: ${reason}.`, { cause });
  }
}
