/** `onehead worker`: transcribes the recordings of a queue, or given ones, and stores the results. */
import { modelDigest } from '../batch/digest.js';
import { MemoryQueue } from '../batch/memory.js';
import { openStore } from '../batch/open-store.js';
import { workerOptions } from '../batch/options.js';
import type { Queue, StoredOptions } from '../batch/queue.js';
import { Results } from '../batch/results.js';
import { recordingsOf } from '../batch/sources.js';
import { BatchWorker, type WorkerEvent } from '../batch/worker.js';
import { OneheadError } from '../errors.js';
import { formatOptions } from '../formats/options.js';
import { check } from '../options/options.js';
import { precisionText } from '../whisper/model/precision.js';
import { Whisper } from '../whisper/whisper.js';
import { readArguments } from './arguments.js';
import { modelOptions } from './command-options.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { modelChoice, modelFlags } from './model-choice.js';
import { progressBar } from './progress.js';
import { endedBy, openQueue, plural, queueChoice, queueFlags, sourceShown, unlessEnded } from './queue.js';
import { UsageError } from './usage.js';

const ownFlags = [...flagsOf(modelOptions), ...flagsOf(workerOptions)];
const formatFlags = flagsOf(formatOptions);
const flags = [...queueFlags, ...ownFlags, ...formatFlags, ...modelFlags];

export const workerHelp =
  () => `onehead worker [SOURCE...]             transcribes the recordings of a queue, many at once

  With SOURCEs (as for submit) and no --redis, transcribes only these, on this machine. A worker that ended for any
  reason can be started again: it skips recordings that have results, and continues long ones where they stopped.
${flagsHelp([...queueFlags, ...ownFlags])}
  and transcribe's options of models and formats; with SOURCEs, also those of decoding. The exit status is 1 if
  recordings were set aside, else 0, also after SIGTERM or SIGINT.
`;

/** Prints events: as JSON lines if requested, else errors as sentences, and a progress bar. */
function reporter(queue: Queue, { log, quiet }: { log: boolean; quiet: boolean }) {
  const bar = progressBar('recordings', !quiet && !log);
  const count = { done: 0, setAside: 0, seconds: 0 };
  let asking = false;
  const show = async () => {
    // The queue is asked only if the bar is visible, and one request at a time: recordings may finish by the hundred.
    if (!bar.visible || asking) return;
    asking = true;
    const counts = await queue.counts().catch(() => null);
    asking = false;
    if (!counts) return;
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    bar.update('done', counts.done, total);
  };
  const say = (sentence: string) => {
    bar.stop();
    console.error(`onehead: ${sentence}`);
  };
  const onEvent = (event: WorkerEvent) => {
    if (log) console.log(JSON.stringify({ time: new Date().toISOString(), pid: process.pid, ...event }));
    if (event.event === 'done') {
      count.done += 1;
      count.seconds += event.summary.repeated ? 0 : event.summary.duration;
      if (!log) for (const warning of event.warnings) say(`${sourceShown(event.recording.source)}: ${warning}`);
      void show();
    } else if (event.event === 'failed') {
      if (event.setAside) count.setAside += 1;
      if (!log)
        say(`${sourceShown(event.recording.source)}: ${event.reason}${event.setAside ? ' It is set aside.' : ''}`);
    } else if (event.event === 'trouble' && !log) say(event.message);
  };
  return { onEvent, count, stop: () => bar.stop() };
}

/** Refuses to mix results of two models in one queue. */
async function agreeOnModel(queue: Queue, name: string, digest: string): Promise<void> {
  const agreed = await queue.agree('model', digest);
  if (agreed === digest) return;
  throw new OneheadError(
    'INVALID_ARGUMENT',
    `The queue ${name} is transcribed with another model; give this model a separate queue with --queue.`,
    { argument: 'model' },
  );
}

/** Returns the exit status. */
export async function workerCommand(args: string[], signal: AbortSignal): Promise<number> {
  const ended = endedBy(signal);
  try {
    return await work(args, ended);
  } catch (error) {
    // Stopped before it began: nothing was claimed, and nothing is wrong.
    if (ended.aborted && error === ended.reason) return signal.aborted ? 130 : 0;
    throw error;
  }
}

async function work(args: string[], ended: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments('worker', args, flags);
  const { model } = check(modelOptions, optionsFrom(modelOptions, flagsOf(modelOptions), values));
  const own = check(workerOptions, optionsFrom(workerOptions, flagsOf(workerOptions), values));
  const shown = optionsFrom(formatOptions, formatFlags, values);
  const { load, transcribe } = modelChoice(values);
  const { redis, queue: name } = queueChoice(values);
  if (own.results === undefined)
    throw new UsageError('Give the destination of results: --results DIR, or s3://BUCKET/PREFIX.');
  if (positionals.length > 0 && redis !== null) {
    const unset = values.redis === undefined ? ', or unset ONEHEAD_REDIS to transcribe them without a queue' : '';
    throw new UsageError(`Add recordings to a queue on Redis with onehead submit; leave them out here${unset}.`);
  }
  if (positionals.length === 0 && redis === null) {
    throw new UsageError('Give recordings to transcribe here, or a queue with --redis redis://HOST:6379.');
  }
  if (redis !== null && Object.keys(transcribe).length > 0) {
    throw new UsageError('Options of decoding for a queue belong to onehead submit; leave them out here.');
  }
  const store = await unlessEnded(openStore(own.results), ended);
  const lock = Math.round(own.lock * 1000);
  const queue: Queue =
    redis === null
      ? new MemoryQueue({ attempts: own.attempts })
      : await unlessEnded(openQueue({ redis, queue: name }, { lock, attempts: own.attempts }), ended);
  const { onEvent, count, stop } = reporter(queue, own);
  let whisper: Whisper | null = null;
  let missing = 0;
  try {
    if (positionals.length > 0) {
      const missed = ({ message }: Error) => {
        missing += 1;
        console.error(`onehead: ${message}`);
      };
      const recordings = await unlessEnded(recordingsOf(positionals, transcribe as StoredOptions, missed), ended);
      if (recordings.length === 0) throw new UsageError('No recordings were found.');
      await queue.add(recordings);
    }
    whisper = await Whisper.load(model, { ...load, signal: ended });
    const digest = await unlessEnded(modelDigest(whisper.model.checkpoint.directory), ended);
    await unlessEnded(agreeOnModel(queue, name, digest), ended);
    const types = precisionText(whisper.model.precision);
    const loaded = JSON.stringify([digest, types, load.wordTimes ?? null, load.alignmentHeads ?? null]);
    const results = new Results(store, [...new Set(own.format)], shown);
    const worker = new BatchWorker(queue, whisper, loaded, results, {
      concurrency: own.concurrency,
      journalInterval: own.journalInterval * 1000,
      drain: own.drain * 1000,
      untilEmpty: own.untilEmpty ?? redis === null,
      onEvent,
    });
    const started = performance.now();
    await worker.run(ended);
    stop();
    if (!own.quiet && !own.log) {
      const seconds = (performance.now() - started) / 1000;
      console.error(
        `onehead: ${plural(count.done, 'recording')} in ${seconds.toFixed(1)} s, ${(count.seconds / seconds).toFixed(1)} times real time`,
      );
    }
    const setAside = redis === null ? (await queue.counts()).failed : count.setAside;
    return setAside + missing > 0 ? 1 : 0;
  } finally {
    stop();
    whisper?.dispose();
    await queue.close();
    store.close();
  }
}
