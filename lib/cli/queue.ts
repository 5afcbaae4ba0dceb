/** Code shared by the commands that use a queue. */
import { RedisQueue } from '../batch/bullmq.js';
import { queueOptions } from '../batch/options.js';
import { shown } from '../errors.js';
import { check } from '../options/options.js';
import { unlessAborted } from '../signals.js';
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
 * Opens the Redis queue, and warns of settings that may lose recordings. Throws UsageError if no address is given, and
 * the signal's reason if it aborts.
 */
export async function openQueue(
  { redis, queue }: QueueChoice,
  signal: AbortSignal,
  { lock, attempts }: { lock?: number; attempts?: number } = {},
): Promise<RedisQueue> {
  if (redis === null) {
    throw new UsageError('Set the address of Redis: --redis redis://HOST:6379, or the variable ONEHEAD_REDIS.');
  }
  const opening = RedisQueue.open({
    url: redis,
    name: queue,
    lock,
    attempts,
    onConnection: (message) => console.error(`onehead: ${message}`),
  });
  const opened = await unlessAborted(opening, signal, (late) => late.close());
  try {
    for (const risk of await unlessAborted(opened.risks(), signal)) console.error(`onehead: ${risk}`);
    return opened;
  } catch (error) {
    await opened.close();
    throw error;
  }
}

/** Formats a source for the terminal: without control characters, and shortened only if it is very long. */
export const formatSource = (source: string): string => shown(source, 4096);

/** A signal that aborts with the command's, and on SIGTERM, with which process managers stop workers. */
export function withTermination(signal: AbortSignal): AbortSignal {
  const terminated = new AbortController();
  process.once('SIGTERM', () => terminated.abort());
  return AbortSignal.any([signal, terminated.signal]);
}
