/** Shared by the commands of the queue. */
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

/**
 * Opens the queue on Redis that is named, and says what there could lose recordings. Throws UsageError where none is
 * named.
 */
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

/** A source as a terminal may have it: without control characters, and whole where it can be. */
export const sourceShown = (source: string): string => shown(source, 4096);

/** The command's signal, which SIGTERM ends too: process managers stop workers by it. */
export function endedBy(signal: AbortSignal): AbortSignal {
  const terminated = new AbortController();
  process.once('SIGTERM', () => terminated.abort());
  return AbortSignal.any([signal, terminated.signal]);
}

/**
 * The result of `work`, unless `signal` aborts first: a server that does not answer must not prevent the end. Rejects
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
