/** Code shared by the commands of the queue. */
import { RedisQueue } from '../batch/bullmq.js';
import { queueOptions } from '../batch/options.js';
import { shown } from '../errors.js';
import { check } from '../options/options.js';
import { flagsOf, optionsFrom, type Values } from './flags.js';
import { UsageError } from './usage.js';

export const queueFlags = flagsOf(queueOptions);

export interface QueueChoice {
  redis: string | null;
  queue: string;
}

export function queueChoice(values: Values): QueueChoice {
  const { redis, queue } = check(queueOptions, optionsFrom(queueOptions, queueFlags, values));
  return { redis: redis ?? (process.env.ONEHEAD_REDIS || null), queue };
}

/** Opens the Redis queue, and warns of settings that may lose recordings. Throws UsageError if no address is given. */
export async function openQueue(
  { redis, queue }: QueueChoice,
  { lock, attempts }: { lock?: number; attempts?: number } = {},
): Promise<RedisQueue> {
  if (redis === null) {
    throw new UsageError('Name the queue: --redis redis://HOST:6379, or ONEHEAD_REDIS in the environment.');
  }
  const opened = await RedisQueue.open({
    url: redis,
    name: queue,
    lock,
    attempts,
    onConnection: (message) => console.error(`onehead: ${message}`),
  });
  for (const risk of await opened.risks()) console.error(`onehead: ${risk}`);
  return opened;
}

export const plural = (count: number, one: string): string => `${count} ${one}${count === 1 ? '' : 's'}`;

/** A source for the terminal: without control characters, and not shortened if possible. */
export const sourceShown = (source: string): string => shown(source, 4096);

/** The command's signal, which SIGTERM also aborts: process managers use it to stop workers. */
export function endedBy(signal: AbortSignal): AbortSignal {
  const terminated = new AbortController();
  process.once('SIGTERM', () => terminated.abort());
  return AbortSignal.any([signal, terminated.signal]);
}

/**
 * The result of `work`, unless `signal` aborts first: a server that does not answer must not prevent exiting. Rejects
 * with the signal's reason.
 */
export async function unlessEnded<T>(work: Promise<T>, signal: AbortSignal): Promise<T> {
  let end = () => {};
  const ended = new Promise<never>((_, reject) => {
    end = () => reject(signal.reason);
    if (signal.aborted) end();
    signal.addEventListener('abort', end, { once: true });
  });
  return Promise.race([work, ended]).finally(() => signal.removeEventListener('abort', end));
}
