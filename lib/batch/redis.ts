/** Connects to Redis and converts its errors. */
import type { Redis } from 'ioredis';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { optional } from './optional.js';

/** Milliseconds within which the first connection must succeed. */
const connectTimeout = 5000;

/** The address without its password. */
function addressOf(url: string): string {
  try {
    const { protocol, host } = new URL(url);
    if (host !== '') return `${protocol}//${host}`;
  } catch {}
  return shown(url.replace(/\/\/[^@/]*@/, '//'));
}

export const packages = 'bullmq ioredis';
export const purpose = 'A queue on Redis';

/**
 * Connects to Redis. After the first connection, commands wait while the server is away, so that workers survive its
 * restart. Throws OneheadError INVALID_ARGUMENT for an invalid address, QUEUE_UNAVAILABLE if the server is not reached
 * within 5 seconds or refuses the connection.
 */
export async function connect(url: string): Promise<Redis> {
  const { Redis: Connection } = await optional(() => import('ioredis'), purpose, packages);
  if (!/^rediss?:\/\/[^/]/.test(url) || !URL.canParse(url) || !/^\/?\d*$/.test(new URL(url).pathname)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Expected the address of Redis to be like redis://host:6379 but received '${addressOf(url)}'.`,
      { argument: 'redis' },
    );
  }
  const client = new Connection(url, { maxRetriesPerRequest: null, lazyConnect: true, retryStrategy: () => null });
  let last: unknown = new Error('no answer');
  client.on('error', (error) => {
    last = error;
  });
  const late = new Promise<never>((_, reject) => setTimeout(reject, connectTimeout, last).unref());
  try {
    // The client ignores an error when it selects its database and then uses database 0, so it is selected again here.
    const selected = client.connect().then(() => client.select(client.options.db ?? 0));
    await Promise.race([selected, late]);
  } catch (cause) {
    client.disconnect();
    const reason = reasonOf(last instanceof Error && last.message ? last : cause);
    throw new OneheadError('QUEUE_UNAVAILABLE', `Cannot reach Redis at ${addressOf(url)}: ${reason}.`, { cause });
  }
  client.options.retryStrategy = (times) => Math.min(2000, 50 * 2 ** Math.min(times, 6));
  return client;
}

/**
 * Returns the result of `ask`. An error of the server, such as full memory, becomes a OneheadError QUEUE_UNAVAILABLE.
 */
export async function answered<T>(ask: () => Promise<T>): Promise<T> {
  try {
    return await ask();
  } catch (cause) {
    if (cause instanceof OneheadError) throw cause;
    // The position within a Lua script is of use only to developers.
    const reason = reasonOf(cause).replace(/\.? *script: .*$/, '');
    throw new OneheadError('QUEUE_UNAVAILABLE', `Redis refused a command: ${reason}.`, { cause });
  }
}
