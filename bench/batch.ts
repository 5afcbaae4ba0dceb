/**
 * `npm run bench -- batch`: what a queue costs, and what it wins.
 *
 * - the queue's cost: CPU milliseconds a recording of everything but transcription (claim, digest, result, formats, acknowledgement), and Redis' own;
 * - one worker with as many threads as there are cores, beside one worker a core with one thread each;
 * - recovery: seconds from the end of a worker (SIGKILL) until what it had is taken by another.
 *
 * Takes --recordings N, --lock SECONDS, --model DIR, --output FILE. Needs redis-server.
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

/** Seconds of CPU that Redis has taken. */
async function redisSeconds(): Promise<number> {
  const info = await client.info('cpu');
  const of = (name: string) => Number(new RegExp(`used_cpu_${name}:([\\d.]+)`).exec(info)?.[1]);
  return of('sys') + of('user');
}

const open = (name: string) => RedisQueue.open({ url: server.url, name, lock: Number(values.lock) * 1000 });

/** A model that takes no time: what is left is the queue's. */
const nothing = {
  model: { windows: 8 },
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

async function costOfQueue() {
  const queue = await open('cost');
  await queue.add(await recordingsOf([input], {}));
  const store = await openStore(join(folder, 'cost'));
  let ended = 0;
  const onEvent = () => {
    ended = performance.now();
  };
  const settings = { untilEmpty: true, onEvent };
  const worker = new BatchWorker(queue, nothing, 'none', new Results(store, ['json']), settings);
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

interface Running {
  child: ChildProcess;
  events: { at: number; event: WorkerEvent }[];
}

function startWorker(name: string, threads: number): Running {
  const command = [join(root, 'dist/cli/main.js'), 'worker', '--redis', server.url, '--queue', name, '--log'];
  const settings = ['--results', join(folder, name), '--threads', String(threads), '--lock', values.lock];
  const child = spawn(process.execPath, [...command, ...settings, '--model', values.model], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  const events: Running['events'] = [];
  createInterface({ input: child.stdout }).on('line', (line) => {
    events.push({ at: performance.now(), event: JSON.parse(line) as WorkerEvent });
  });
  return { child, events };
}

async function until(ready: () => boolean | Promise<boolean>): Promise<void> {
  while (!(await ready())) await sleep(20);
}

/** Ends a worker in order; Redis must outlive it. */
async function end({ child }: Running): Promise<void> {
  const ended = once(child, 'exit');
  child.kill('SIGTERM');
  await ended;
}

/** Recordings a second of some workers, from the first result on, so that loading does not count. */
async function throughput(name: string, workers: number, threads: number): Promise<number> {
  const queue = await open(name);
  await queue.add(await recordingsOf([input], {}));
  const running = Array.from({ length: workers }, () => startWorker(name, threads));
  await until(async () => (await queue.counts()).done === count);
  const ends = running
    .flatMap(({ events }) => events)
    .filter(({ event }) => event.event === 'done')
    .map(({ at }) => at)
    .sort((a, b) => a - b);
  await Promise.all(running.map(end));
  await queue.close();
  return (1000 * (ends.length - 1)) / (ends.at(-1)! - ends[0]);
}

async function recovery(): Promise<number> {
  const queue = await open('recovery');
  await queue.add(await recordingsOf([input], {}));
  const [one, other] = [startWorker('recovery', 1), startWorker('recovery', 1)];
  const busy = ({ events }: Running) => events.some(({ event }) => event.event === 'done');
  await until(() => busy(one) && busy(other));
  one.child.kill('SIGKILL');
  const killed = performance.now();
  const again = () => other.events.find(({ event }) => event.event === 'started' && event.attempt > 1);
  await until(() => again() !== undefined);
  await end(other);
  await queue.close();
  return (again()!.at - killed) / 1000;
}

try {
  const cores = availableParallelism();
  const cost = await costOfQueue();
  console.log(
    `the queue: ${cost.cpuMilliseconds.toFixed(2)} ms of CPU a recording, Redis ${cost.redisMilliseconds.toFixed(2)} ms; ` +
      `${cost.recordingsPerSecond.toFixed(0)} recordings a second`,
  );
  const together = await throughput('together', 1, cores);
  const apart = await throughput('apart', cores, 1);
  console.log(
    `recordings a second: one worker of ${cores} threads ${together.toFixed(1)}, ${cores} workers of one ${apart.toFixed(1)}`,
  );
  const seconds = await recovery();
  console.log(`recovery after a kill: ${seconds.toFixed(1)} s, of which the lock is ${values.lock}`);
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
