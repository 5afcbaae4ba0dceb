/** Recordings by the thousand: queues, workers, results. */
export { type MemoryQueueOptions, MemoryQueue } from './memory.js';
export { RedisQueue, type RedisQueueOptions } from './bullmq.js';
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
export { modelDigest } from './digest.js';
export { Results, type ResultRecord } from './results.js';
export { recordingsOf, watchFolder } from './sources.js';
export { type Status, statusOf } from './status.js';
export { openStore, type Store } from './store.js';
export { BatchWorker, type WorkerEvent, type WorkerOptions } from './worker.js';
