/**
 * A worker that transcribes the recordings of a queue, each with exactly one result. Here the queue is in memory; with
 * Redis (`RedisQueue`, `npm install bullmq ioredis`) any number of machines share it.
 *
 *     node examples/queue-worker.mjs /recordings transcripts
 */

import { Whisper } from 'onehead';
import { BatchWorker, MemoryQueue, modelDigest, openStore, Results, recordingsOf } from 'onehead/batch';

const [folder, output] = process.argv.slice(2);
const whisper = await Whisper.load('openai/whisper-small');
const store = await openStore(output); // a folder, or s3://bucket/prefix
const queue = new MemoryQueue();
await queue.add(await recordingsOf([folder], { language: 'en' }));

const stop = new AbortController();
process.once('SIGTERM', () => stop.abort()); // finishes running recordings and claims no new ones

const model = await modelDigest(whisper.model.checkpoint.directory); // results are stored for each model
const worker = new BatchWorker(queue, whisper, model, new Results(store, ['json', 'srt']), {
  untilEmpty: true,
  onEvent: (event) => {
    if (event.event === 'done') console.log(`${event.recording.name}: done`);
    if (event.event === 'failed') console.error(`${event.recording.name}: ${event.reason}`);
  },
});
await worker.run(stop.signal);
whisper.dispose();
await queue.close();
store.close();
