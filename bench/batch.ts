/**
 * `npm run bench -- batch`: measures batch processing with a queue on Redis.
 *
 * - overhead: CPU milliseconds for each recording without transcription (claim, digest, result, formats,
 *   acknowledgement), of the worker and of Redis
 * - throughput: one worker with a thread for each core, compared with a worker of one thread for each core
 * - recovery: seconds from the end of a worker (SIGKILL) until another one claims its recordings
 *
 * Options: --recordings N, --lock SECONDS, --model DIR, --output FILE. Needs redis-server.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, writeFileSync } from 'node:fs';
import { availableParallelism, cpus } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { Redis } from 'ioredis';
import { RedisQueue } from '../lib/batch/bullmq.js';
import { openStore } from '../lib/batch/open-store.js';
import { Results } from '../lib/batch/results.js';
import { recordingsOf } from '../lib/batch/sources.js';
import { BatchWorker, type WorkerEvent } from '../lib/batch/worker.js';
import type { Whisper } from '../lib/whisper/whisper.js';
import { clips, RedisServer, shortRecording, temporaryFolder } from '../test/batch/support.js';

const root = new URL('..', import.meta.url).pathname;
const { values } = parseArgs({
  allowPositionals: true,
  options: {
    recordings: { type: 'string', default: '500' },
    lock: { type: 'string', default: '30' },
    model: { type: 'string', default: join(root, 'models/micro') },
    output: { type: 'string' },
  },
});
const count = Number(values.recordings);

const { folder, remove } = temporaryFolder();
const input = join(folder, 'in');
mkdirSync(input);
const all = await clips();
for (let i = 0; i < count; ++i) writeFileSync(join(input, `${i}.wav`), shortRecording(all, i));
const server = await RedisServer.start();
const client = new Redis(server.url);

/** The CPU seconds of Redis so far. */
async function redisSeconds(): Promise<number> {
  const info = await client.info('cpu');
  const cpu = (name: string) => Number(new RegExp(`used_cpu_${name}:([\\d.]+)`).exec(info)?.[1]);
  return cpu('sys') + cpu('user');
}

const open = (name: string) => RedisQueue.open({ url: server.url, name, lock: Number(values.lock) * 1000 });

/** A model whose transcription takes no time, so that the rest is measured. */
const instantModel = {
  model: { windows: 8 },
  figures: () => ({ failure: null }),
  transcribe: async () => ({
    task: 'transcribe',
    language: 'en',
    duration: 3,
    text: ' The doctor watched the book two days ago.',
    segments: [
      { id: 0, seek: 0, start: 0.1, end: 2.9, text: ' The doctor watched the book two days ago.', tokens: [1, 2, 3] },
    ],
    warnings: [],
    incomplete: false,
    timings: {},
  }),
} as unknown as Whisper;

async function measureOverhead() {
  const queue = await open('cost');
  await queue.add(await recordingsOf([input], {}));
  const store = await openStore(join(folder, 'cost'));
  let ended = 0;
  const onEvent = () => {
    ended = performance.now();
  };
  const settings = { untilEmpty: true, onEvent };
  const worker = new BatchWorker(queue, instantModel, 'none', new Results(store, ['json']), settings);
  const [cpu, redis, started] = [process.cpuUsage(), await redisSeconds(), performance.now()];
  await worker.run(new AbortController().signal);
  const used = process.cpuUsage(cpu);
  const result = {
    cpuMilliseconds: (used.user + used.system) / 1000 / count,
    redisMilliseconds: (1000 * ((await redisSeconds()) - redis)) / count,
    recordingsPerSecond: (1000 * count) / (ended - started),
  };
  await queue.close();
  store.close();
  return result;
}

interface RunningWorker {
  child: ChildProcess;
  events: { at: number; event: WorkerEvent }[];
}

function startWorker(name: string, threads: number): RunningWorker {
  const command = [join(root, 'dist/cli/main.js'), 'worker', '--redis', server.url, '--queue', name, '--log'];
  const settings = ['--results', join(folder, name), '--threads', String(threads), '--lock', values.lock];
  const child = spawn(process.execPath, [...command, ...settings, '--model', values.model], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const events: RunningWorker['events'] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push({ at: performance.now(), event: JSON.parse(line) as WorkerEvent });
  });
  return { child, events };
}

async function waitUntil(condition: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await condition())) await sleep(20);
}

/** Stops a worker and waits for its exit, since it needs Redis until then. */
async function stop({ child }: RunningWorker): Promise<void> {
  const exit = once(child, 'exit');
  child.kill('SIGTERM');
  await exit;
}

/** Recordings per second of several workers. It is counted from the first result, so that loading is excluded. */
async function throughput(name: string, workers: number, threads: number): Promise<number> {
  const queue = await open(name);
  await queue.add(await recordingsOf([input], {}));
  const running = Array.from({ length: workers }, () => startWorker(name, threads));
  await waitUntil(async () => (await queue.counts()).done === count);
  const times = running
    .flatMap(({ events }) => events)
    .filter(({ event }) => event.event === 'done')
    .map(({ at }) => at)
    .sort((a, b) => a - b);
  await Promise.all(running.map(stop));
  await queue.close();
  return (1000 * (times.length - 1)) / (times.at(-1)! - times[0]);
}

/** Seconds until the recordings of a killed worker are claimed again. */
async function measureRecovery(): Promise<number> {
  const queue = await open('recovery');
  await queue.add(await recordingsOf([input], {}));
  const [victim, survivor] = [startWorker('recovery', 1), startWorker('recovery', 1)];
  const isBusy = ({ events }: RunningWorker) => events.some(({ event }) => event.event === 'done');
  await waitUntil(() => isBusy(victim) && isBusy(survivor));
  victim.child.kill('SIGKILL');
  const killedAt = performance.now();
  const reclaimed = () => survivor.events.find(({ event }) => event.event === 'started' && event.attempt > 1);
  await waitUntil(() => reclaimed() !== undefined);
  await stop(survivor);
  await queue.close();
  return (reclaimed()!.at - killedAt) / 1000;
}

try {
  const cores = availableParallelism();
  const cost = await measureOverhead();
  console.log(
    `overhead per recording: ${cost.cpuMilliseconds.toFixed(2)} ms of CPU, and ${cost.redisMilliseconds.toFixed(2)} ms of Redis; ` +
      `${cost.recordingsPerSecond.toFixed(0)} recordings per second`,
  );
  const together = await throughput('together', 1, cores);
  const apart = await throughput('apart', cores, 1);
  console.log(
    `recordings per second: ${together.toFixed(1)} of one worker with ${cores} threads, ${apart.toFixed(1)} of ${cores} workers with one`,
  );
  const seconds = await measureRecovery();
  console.log(`recovery after SIGKILL: ${seconds.toFixed(1)} s, including the lock's ${values.lock} s`);
  if (values.output !== undefined) {
    const machine = { cpu: cpus()[0]?.model, cores };
    const result = { machine, model: values.model, recordings: count, cost, together, apart, recovery: seconds };
    writeFileSync(values.output, `${JSON.stringify(result, null, 2)}\n`);
  }
} finally {
  client.disconnect();
  await server.remove();
  remove();
}
