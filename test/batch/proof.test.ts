/**
 * Three workers transcribe a thousand short recordings and five long ones, while workers are killed and suspended,
 * Redis is killed, the disk of results is full, and the network fails. Each recording must have exactly one result,
 * that of an undisturbed run.
 *
 * ONEHEAD_BATCH_SEED determines the faults, ONEHEAD_BATCH_RECORDINGS the number of short recordings. The log is in
 * build/batch-proof/. Creating a disk or a network needs root; without it, other faults are used.
 */
import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { createWriteStream, mkdirSync, readdirSync, readFileSync, rmSync, statfsSync, writeFileSync } from 'node:fs';
import { availableParallelism } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, describe, expect, it } from 'vitest';
import { RedisQueue } from '../../lib/batch/bullmq.js';
import type { ResultRecord } from '../../lib/batch/results.js';
import { recordingsOf } from '../../lib/batch/sources.js';
import type { WorkerEvent } from '../../lib/batch/worker.js';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { randomNumbers } from '../random.js';
import { clips, essence, hasRedis, longRecording, RedisServer, shortRecording, temporaryFolder } from './support.js';

const seed = Number(process.env.ONEHEAD_BATCH_SEED ?? 1);
const shortOnes = Number(process.env.ONEHEAD_BATCH_RECORDINGS ?? 1000);
const root = new URL('../..', import.meta.url).pathname;
const command = join(root, 'dist/cli/main.js');

const succeeds = (name: string, ...args: string[]) => spawnSync(name, args, { stdio: 'ignore' }).status === 0;

/** A network namespace, whose link to this one can be disconnected. */
function openNetwork() {
  const name = `onehead${process.pid % 10_000}`;
  const [here, there] = ['10.231.77.1', '10.231.77.2'];
  const steps: string[][] = [
    ['netns', 'add', name],
    ['link', 'add', `${name}a`, 'type', 'veth', 'peer', 'name', `${name}b`, 'netns', name],
    ['addr', 'add', `${here}/30`, 'dev', `${name}a`],
    ['link', 'set', `${name}a`, 'up'],
    ['-n', name, 'addr', 'add', `${there}/30`, 'dev', `${name}b`],
    ['-n', name, 'link', 'set', `${name}b`, 'up'],
  ];
  const close = () => {
    succeeds('ip', 'link', 'del', `${name}a`);
    succeeds('ip', 'netns', 'del', name);
  };
  if (!steps.every((step) => succeeds('ip', ...step))) {
    close();
    return null;
  }
  const set = (state: 'up' | 'down') => succeeds('ip', 'link', 'set', `${name}a`, state);
  return { here, within: ['ip', 'netns', 'exec', name], pull: () => set('down'), plug: () => set('up'), close };
}

/** A disk of a given size in MiB, which can be filled. */
function openDisk(folder: string, size: number) {
  if (!succeeds('mount', '-t', 'tmpfs', '-o', `size=${size}m`, 'none', folder)) return null;
  return { close: () => succeeds('umount', '-l', folder) };
}

interface WorkerProcess {
  child: ChildProcess;
  /** True once it was stopped; it must not exit otherwise. */
  told: boolean;
  /** True if it runs in the network namespace. */
  apart: boolean;
  stopped: boolean;
}

describe.skipIf(!hasRedis)('a thousand recordings', () => {
  const { folder, remove } = temporaryFolder();
  const [input, output] = [join(folder, 'in'), join(folder, 'out')];
  const network = openNetwork();
  for (const place of [input, output, join(root, 'build/batch-proof')]) mkdirSync(place, { recursive: true });
  const disk = openDisk(output, 64);
  const logFile = join(root, `build/batch-proof/${seed}.log`);
  const log = createWriteStream(logFile);
  const started = Date.now();
  const note = (text: string) => log.write(`${((Date.now() - started) / 1000).toFixed(2)} ${text}\n`);
  const workers: WorkerProcess[] = [];
  /** Unexpected exits of workers. */
  const unexpected: string[] = [];
  let over = false;
  let server: RedisServer | undefined;

  afterAll(async () => {
    over = true;
    for (const one of workers) {
      one.told = true;
      one.child.kill('SIGKILL');
    }
    await server?.remove();
    network?.close();
    disk?.close();
    remove();
  });

  it('each have exactly one result despite failures', async () => {
    console.log(`seed ${seed}, ${shortOnes} recordings; log: ${logFile}`);
    const random = randomNumbers(seed);
    const all = await clips();
    for (let i = 0; i < shortOnes; ++i) writeFileSync(join(input, `short${i}.wav`), shortRecording(all, i));
    for (let i = 0; i < 5; ++i) writeFileSync(join(input, `long${i}.wav`), longRecording(all, 100, i));
    writeFileSync(join(input, 'notes.wav'), 'This is no recording.');

    server = await RedisServer.start(network ? network.here : '127.0.0.1');
    const redis = server;
    const queue = await RedisQueue.open({ url: redis.url, lock: 1500, attempts: 1000 });
    const recordings = await recordingsOf([input], { wordTimestamps: true });
    expect((await queue.add(recordings)).added).toBe(shortOnes + 6);

    const startWorker = (apart: boolean) => {
      const settings = ['--redis', redis.url, '--results', output, '--format', 'json', '--threads', '1', '--log'];
      const limits = ['--lock', '1.5', '--attempts', '1000', '--journal-interval', '0.5', '--drain', '2'];
      const [name, ...args] = [
        ...(apart && network ? network.within : []),
        ...[process.execPath, command, 'worker', ...settings, ...limits],
      ];
      if (over) return;
      const child = spawn(name, args, { stdio: ['ignore', 'pipe', 'pipe'] });
      const one = { child, apart, stopped: false, told: false };
      let said = '';
      child.stderr.on('data', (text: string) => {
        said += text;
      });
      child.once('close', (status, signal) => {
        if (one.told) return;
        workers.splice(workers.indexOf(one), 1);
        // It exited because it started while Redis was down; a process manager would restart it.
        if (/Cannot reach Redis/.test(said)) setTimeout(startWorker, 500, apart);
        else unexpected.push(`worker ${child.pid} ended by itself: ${status ?? signal}`);
      });
      for (const stream of [child.stdout, child.stderr]) {
        stream.setEncoding('utf8').on('data', (text: string) => log.write(text));
      }
      workers.push(one);
      note(`worker ${child.pid} starts`);
    };
    const anyWorker = () => {
      const running = workers.filter(({ stopped }) => !stopped);
      return running[Math.floor(random() * running.length)];
    };
    const kill = async () => {
      const one = anyWorker();
      if (!one) return;
      note(`kill -9 ${one.child.pid}`);
      workers.splice(workers.indexOf(one), 1);
      one.told = true;
      one.child.kill('SIGKILL');
      await sleep(100);
      startWorker(one.apart);
    };
    const happenings: [string, () => Promise<void>][] = [
      ['a worker is killed', kill],
      ['a worker is killed', kill],
      [
        'a worker stops for longer than its lock',
        async () => {
          const one = anyWorker();
          if (!one) return;
          one.stopped = true;
          note(`SIGSTOP ${one.child.pid}`);
          one.child.kill('SIGSTOP');
          await sleep(3500);
          one.child.kill('SIGCONT');
          one.stopped = false;
        },
      ],
      [
        'Redis is killed and started again',
        async () => {
          await redis.kill();
          await sleep(500 + 1000 * random());
          await redis.start();
        },
      ],
      [
        disk ? 'the disk is full' : 'a worker is told to end',
        async () => {
          if (!disk) {
            const one = anyWorker();
            if (!one) return;
            workers.splice(workers.indexOf(one), 1);
            one.told = true;
            one.child.kill('SIGTERM');
            startWorker(one.apart);
            return;
          }
          const filler = join(output, 'filler');
          spawnSync('dd', ['if=/dev/zero', `of=${filler}`, 'bs=64k'], { stdio: 'ignore' });
          const { bavail } = statfsSync(output);
          expect(bavail).toBe(0);
          await sleep(2000);
          rmSync(filler, { force: true });
        },
      ],
      [
        network ? 'the network is away' : 'a worker is killed',
        async () => {
          if (!network) return kill();
          expect(network.pull()).toBe(true);
          await sleep(3000);
          expect(network.plug()).toBe(true);
        },
      ],
    ];
    for (let i = 0; i < 3; ++i) startWorker(i === 0);

    const done = async () => {
      const { waiting, delayed, active } = await queue.counts();
      return waiting + delayed + active === 0;
    };
    const happened = new Map<string, number>();
    for (let turn = 0; !(await done()); ++turn) {
      // Each fault occurs once early, while there is work on any machine; then they are random.
      const early = turn > 0 && turn < happenings.length;
      await sleep((early ? 0.3 : 1) * (800 + 1500 * random()));
      const index = turn < happenings.length ? turn : Math.floor(random() * happenings.length);
      // The remaining work is finished undisturbed.
      if (turn > 40) continue;
      const [name, happen] = happenings[index];
      note(`-- ${name}`);
      happened.set(name, (happened.get(name) ?? 0) + 1);
      await happen();
    }
    const events = readFileSync(logFile, 'utf8')
      .split('\n')
      .filter((line) => line.startsWith('{'))
      .flatMap((line): WorkerEvent[] => {
        try {
          return [JSON.parse(line)];
        } catch {
          return []; // the worker was killed while writing the line
        }
      });
    const count = (kind: WorkerEvent['event']) => events.filter(({ event }) => event === kind).length;
    console.log(
      `${((Date.now() - started) / 1000).toFixed(0)} s: ${[...happened].map(([name, times]) => `${name} (${times})`).join(', ')}; ` +
        `${count('done')} done, ${count('left')} left, ${count('failed')} failed, ${count('trouble')} times trouble`,
    );

    expect(unexpected).toEqual([]);
    // Each fault occurred, if there was enough work.
    if (shortOnes >= 1000)
      expect([...happened.keys()].sort()).toEqual([...new Set(happenings.map(([name]) => name))].sort());
    // Nothing is lost: all are done, except the invalid recording.
    expect(await queue.counts()).toEqual({ waiting: 0, delayed: 0, active: 0, done: shortOnes + 5, failed: 1 });
    expect(await queue.failures()).toMatchObject([
      { name: 'notes', reason: expect.stringMatching(/not look like audio/) },
    ]);
    // Nothing is done twice: one result each, and each is acknowledged once.
    const summaries = (await queue.done(shortOnes + 100)).map(({ summary }) => summary);
    expect(new Set(summaries.map(({ key }) => key)).size).toBe(shortOnes + 5);
    const told = events.flatMap((event) => (event.event === 'done' ? [event.recording.id] : []));
    expect(new Set(told).size).toBe(told.length);
    const results = join(output, '.onehead/results');
    const kept = readdirSync(results, { recursive: true, encoding: 'utf8' }).filter((name) => name.endsWith('.json'));
    expect(kept).toHaveLength(shortOnes + 5);
    expect(readdirSync(output).filter((name) => name.endsWith('.json'))).toHaveLength(shortOnes + 5);
    // Interrupted long ones were resumed. With few recordings, none may have been interrupted.
    const resumed = events.filter((event) => event.event === 'started' && event.known > 0);
    if (shortOnes >= 1000) expect(resumed.length).toBeGreaterThan(0);

    // Each result equals that of an undisturbed run.
    const whisper = await Whisper.load();
    const alone = async (name: string): Promise<Transcription> =>
      whisper.transcribe(join(input, `${name}.wav`), { wordTimestamps: true });
    const keys = new Map(
      events.flatMap((event) => (event.event === 'done' ? [[event.recording.name, event.summary.key] as const] : [])),
    );
    const names = recordings.map(({ name }) => name).filter((name) => name !== 'notes');
    const lanes = Array.from({ length: 2 * availableParallelism() }, async () => {
      for (let name = names.pop(); name !== undefined; name = names.pop()) {
        const lone = await alone(name);
        expect(JSON.parse(readFileSync(join(output, `${name}.json`), 'utf8')).text, name).toBe(lone.text);
        const key = keys.get(name);
        if (key === undefined) continue; // acknowledged by a worker that was killed before it logged this
        const text = readFileSync(join(results, key.slice(0, 2), `${key.slice(2)}.json`), 'utf8');
        const { transcription } = JSON.parse(text) as ResultRecord;
        expect(essence(transcription), name).toEqual(essence(lone));
      }
    });
    await Promise.all(lanes);
    whisper.dispose();
    await queue.close();
    expect(keys.size).toBeGreaterThan(0.98 * shortOnes);
  }, 600_000);
});
