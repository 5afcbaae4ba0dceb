/** Batch processing: queues, workers, results. */

export { RedisQueue, type RedisQueueOptions } from './bullmq.js';
export { modelDigest } from './digest.js';
export { MemoryQueue, type MemoryQueueOptions } from './memory.js';
export { openStore } from './open-store.js';
export type {
  BatchProgress,
  Chosen,
  Claim,
  Counts,
  Done,
  Failure,
  Queue,
  Recording,
  StoredOptions,
  Summary,
} from './queue.js';
export { type ResultRecord, Results } from './results.js';
export { recordingsOf } from './sources.js';
export { type Status, statusOf } from './status.js';
export type { Store } from './store.js';
export { type WatchOptions, watchFolder } from './watch.js';
export { BatchWorker, type WorkerEvent, type WorkerOptions } from './worker.js';
