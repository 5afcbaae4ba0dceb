/** `onehead worker`: transcribes the recordings of a queue, or those named as arguments, and stores the results. */
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
import { unlessAborted } from '../signals.js';
import { precisionText } from '../whisper/model/precision.js';
import { checkTranscribeOptions } from '../whisper/transcription/options.js';
import { Whisper } from '../whisper/whisper.js';
import { readArguments } from './arguments.js';
import { modelOptions } from './command-options.js';
import { flagsHelp, flagsOf, optionsFrom } from './flags.js';
import { printMessage } from './messages.js';
import { modelChoice, modelFlags } from './model-choice.js';
import { plural } from './plural.js';
import { progressBar } from './progress.js';
import { formatSource, openQueue, queueChoice, queueFlags, withTermination } from './queue.js';
import { UsageError } from './usage.js';

const workerFlags = [...flagsOf(modelOptions), ...flagsOf(workerOptions)];
const formatFlags = flagsOf(formatOptions);
const flags = [...queueFlags, ...workerFlags, ...formatFlags, ...modelFlags];

export const workerHelp =
  () => `onehead worker [SOURCE...]             transcribes the recordings of a queue, many at once

  With SOURCEs (as for submit) and no --redis, transcribes only these, on this machine. If a worker
  ends for any reason, start it again: it skips recordings that have results, and continues
  interrupted ones.
${flagsHelp([...queueFlags, ...workerFlags])}
  and the model and format options of transcribe; with SOURCEs, also its decoding options. The exit
  status is 1 if recordings were set aside, else 0, even after SIGTERM or SIGINT.
`;

/** Prints events: all as JSON lines with `log`; otherwise errors and warnings as sentences, and a progress bar. */
function reporter(queue: Queue, { log, quiet }: { log: boolean; quiet: boolean }) {
  const bar = progressBar('recordings', !quiet && !log);
  const count = { done: 0, setAside: 0, seconds: 0 };
  let requesting = false;
  const updateBar = async () => {
    // One request at a time, since hundreds of recordings may finish together.
    if (!bar.visible || requesting) return;
    requesting = true;
    const counts = await queue.counts().catch(() => null);
    requesting = false;
    if (!counts) return;
    const total = Object.values(counts).reduce((sum, count) => sum + count, 0);
    bar.update('done', counts.done, total);
  };
  const print = (message: string) => {
    bar.stop();
    printMessage(message);
  };
  const onEvent = (event: WorkerEvent) => {
    if (log) console.log(JSON.stringify({ time: new Date().toISOString(), pid: process.pid, ...event }));
    if (event.event === 'done') {
      count.done += 1;
      count.seconds += event.summary.repeated ? 0 : event.summary.duration;
      if (!log) for (const warning of event.warnings) print(`${formatSource(event.recording.source)}: ${warning}`);
      void updateBar();
    } else if (event.event === 'failed') {
      if (event.setAside) count.setAside += 1;
      if (!log)
        print(`${formatSource(event.recording.source)}: ${event.reason}${event.setAside ? ' It is set aside.' : ''}`);
    } else if (event.event === 'trouble' && !log) print(event.message);
  };
  return { onEvent, count, stop: () => bar.stop() };
}

/** Prevents workers of one queue from using different models. Throws OneheadError INVALID_ARGUMENT. */
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
  const stopSignal = withTermination(signal);
  try {
    return await runWorker(args, stopSignal);
  } catch (error) {
    // Stopped before any recording was claimed, which is not an error.
    if (stopSignal.aborted && error === stopSignal.reason) return signal.aborted ? 130 : 0;
    throw error;
  }
}

async function runWorker(args: string[], stopSignal: AbortSignal): Promise<number> {
  const { values, positionals } = readArguments('worker', args, flags);
  const { model } = check(modelOptions, optionsFrom(modelOptions, flagsOf(modelOptions), values));
  const options = check(workerOptions, optionsFrom(workerOptions, flagsOf(workerOptions), values));
  const formatting = optionsFrom(formatOptions, formatFlags, values);
  const { load, transcribe } = modelChoice(values);
  checkTranscribeOptions(transcribe);
  const { redis, queue: name } = queueChoice(values);
  if (options.results === undefined)
    throw new UsageError('Set the destination of results: --results DIR, or --results s3://BUCKET/PREFIX.');
  if (positionals.length > 0 && redis !== null) {
    const unset = values.redis === undefined ? ', or unset ONEHEAD_REDIS to transcribe them without a queue' : '';
    throw new UsageError(`Add recordings to a queue on Redis with onehead submit; leave them out here${unset}.`);
  }
  if (positionals.length === 0 && redis === null) {
    throw new UsageError('Name recordings to transcribe here, or a queue with --redis redis://HOST:6379.');
  }
  if (redis !== null && Object.keys(transcribe).length > 0) {
    throw new UsageError('Decoding options for a queue are set by onehead submit; leave them out here.');
  }
  const store = await unlessAborted(openStore(options.results), stopSignal);
  const lock = Math.round(options.lock);
  const queue: Queue =
    redis === null
      ? new MemoryQueue({ attempts: options.attempts })
      : await openQueue({ redis, queue: name }, stopSignal, { lock, attempts: options.attempts });
  const { onEvent, count, stop } = reporter(queue, options);
  let whisper: Whisper | null = null;
  let missing = 0;
  try {
    if (positionals.length > 0) {
      const onMissing = ({ message }: Error) => {
        missing += 1;
        console.error(`onehead: ${message}`);
      };
      const recordings = await unlessAborted(
        recordingsOf(positionals, transcribe as StoredOptions, onMissing),
        stopSignal,
      );
      if (recordings.length === 0) throw new UsageError('No recordings were found.');
      await queue.add(recordings);
    }
    whisper = await Whisper.load(model, { ...load, signal: stopSignal });
    await whisper.checkOptions(transcribe);
    const digest = await unlessAborted(modelDigest(whisper.model.checkpoint.directory), stopSignal);
    await unlessAborted(agreeOnModel(queue, name, digest), stopSignal);
    const types = precisionText(whisper.model.precision);
    const loaded = JSON.stringify([digest, types, load.wordTimes ?? null, load.alignmentHeads ?? null]);
    const results = new Results(store, [...new Set(options.format)], formatting);
    const worker = new BatchWorker(queue, whisper, loaded, results, {
      concurrency: options.concurrency,
      journalInterval: options.journalInterval,
      drain: options.drain,
      untilEmpty: options.untilEmpty ?? redis === null,
      onEvent,
    });
    const started = performance.now();
    await worker.run(stopSignal);
    stop();
    if (!options.quiet && !options.log) {
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
