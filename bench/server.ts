/**
 * `npm run bench -- server`: `onehead serve` under load, on loopback alone.
 *
 * - closed loops of 1, 16, 64 and 256 clients; a tenth of the requests are given up in their middle, a tenth are rubbish, and one client uploads at
 *   1 kB/s all the time. Every request must have exactly one right answer;
 * - memory over many requests, from the first thousand on;
 * - the server's own cost: CPU time a request of its process beside that of the same clips on the engine alone, in turns; the clients are a process of
 *   their own and are not counted;
 * - whisper.cpp's server on the same clips, where its folder is given.
 *
 *   --model DIR  --clips DIR (flac)  --clients 1,16,64,256  --seconds 10  --requests 10000 (0: none)  --threads N  --output FILE
 *   --whisper-cpp DIR (with build/bin/whisper-server)  --ggml FILE
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { Agent } from 'node:http';
import { availableParallelism, cpus } from 'node:os';
import { basename, dirname, join, relative, resolve } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { openAudio } from '../lib/audio/index.js';
import { freePort } from '../test/batch/support.js';
import { type Clip, type Counted, closedLoop, form, percentile, post, trickle } from './server/clients.js';
import { measureCost } from './server/cost.js';

const root = new URL('..', import.meta.url).pathname;
const { values } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string', default: join(root, 'models/micro') },
    clips: { type: 'string', default: join(root, 'test/fixtures/heldout') },
    clients: { type: 'string', default: '1,16,64,256' },
    seconds: { type: 'string', default: '10' },
    requests: { type: 'string', default: '10000' },
    threads: { type: 'string', default: String(availableParallelism()) },
    'whisper-cpp': { type: 'string' },
    ggml: { type: 'string' },
    output: { type: 'string' },
  },
});
const milliseconds = 1000 * Number(values.seconds);

/** Figures of the server's /metrics, by name; those with labels are added up. */
async function figures(url: string): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  for (const line of (await (await fetch(`${url}/metrics`)).text()).split('\n')) {
    const [, name, value] = /^(\w+)(?:\{[^}]*\})? (\S+)$/.exec(line) ?? [];
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

async function until(url: string, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`The server ended with ${child.exitCode}.`);
    const ready = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return;
    await sleep(100);
  }
}

async function end(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM');
  if (child.exitCode === null) await once(child, 'exit');
}

interface Watched {
  /** Milliseconds by which the event loop was late, over the worst second. */
  lag: number;
  /** MiB. */
  memory: number[];
}

/** Looks at the server each second while `work` runs. */
async function watched<T>(url: string, work: () => Promise<T>): Promise<[T, Watched]> {
  const seen: Watched = { lag: 0, memory: [] };
  let running = true;
  const watching = (async () => {
    while (running) {
      const now = await figures(url).catch(() => null);
      seen.lag = Math.max(seen.lag, 1000 * (now?.get('nodejs_eventloop_lag_p99_seconds') ?? 0));
      if (now) seen.memory.push(now.get('process_resident_memory_bytes')! / 2 ** 20);
      await sleep(1000);
    }
  })();
  const result = await work();
  running = false;
  await watching;
  return [result, seen];
}

const files = readdirSync(values.clips)
  .filter((name) => /\.(flac|wav)$/.test(name))
  .map((name) => join(values.clips, name));
const clips: (Clip & { file: string })[] = [];
for (const file of files) {
  const source = await openAudio(file);
  const { duration } = source;
  await source.close();
  if (duration !== null && duration < 8) clips.push({ file, bytes: readFileSync(file), duration, text: '' });
}

function line(name: string, { answered, refused, left, rubbish, wrong, audio, times, elapsed }: Counted): string {
  const rate = `${((1000 * answered) / elapsed).toFixed(1)} requests/s, ${((1000 * audio) / elapsed).toFixed(0)} s of audio/s`;
  const latency = `p50 ${percentile(times, 0.5).toFixed(0)} ms, p99 ${percentile(times, 0.99).toFixed(0)} ms`;
  return `${name}: ${rate}, ${latency}; ${answered} answered, ${refused} told to come back, ${left} went away, ${rubbish} rubbish refused, ${wrong.length} WRONG`;
}

const round = (value: number, digits = 1) => Number(value.toFixed(digits));
const shown = ({ times, wrong, elapsed, audio, ...rest }: Counted) => ({
  ...rest,
  wrong: wrong.length,
  requestsPerSecond: round((1000 * rest.answered) / elapsed),
  audioPerSecond: round((1000 * audio) / elapsed),
  p50: round(percentile(times, 0.5)),
  p99: round(percentile(times, 0.99)),
});

const port = await freePort();
const url = `http://127.0.0.1:${port}`;
const command = [join(root, 'dist/cli/main.js'), 'serve', values.model, '--port', String(port)];
const server = spawn(process.execPath, [...command, '--threads', values.threads, '--log-level', 'error'], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
const address = `${url}/v1/audio/transcriptions`;
const fields = { model: 'whisper-1', response_format: 'text' };
const results: Record<string, unknown> = {};
try {
  await until(`${url}/ready`, server);
  const agent = new Agent();
  for (const clip of clips) clip.text = (await post(address, form(fields, clip.bytes), agent)).body.trim();
  agent.destroy();

  const wrong: string[] = [];
  for (const clients of values.clients.split(',').map(Number)) {
    const slow = trickle(address, form(fields, clips[0].bytes), 1000);
    const [counted, { lag, memory }] = await watched(url, () =>
      closedLoop({ url: address, fields, clips, clients, mischief: 0.1, until: { milliseconds } }),
    );
    slow.stop();
    wrong.push(...counted.wrong);
    console.log(line(`${clients} clients`, counted));
    console.log(
      `  event loop ${lag.toFixed(1)} ms late at p99 of the worst second, ${Math.max(...memory).toFixed(0)} MiB`,
    );
    results[`clients${clients}`] = {
      ...shown(counted),
      eventLoopLag: round(lag),
      memory: round(Math.max(...memory), 0),
    };
  }

  const requests = Number(values.requests);
  if (requests > 0) {
    const memory: number[] = [];
    const counted = await closedLoop({
      url: address,
      fields,
      clips,
      clients: 64,
      mischief: 0.1,
      until: { requests },
      onAnswer: (answered) => {
        if (answered % Math.min(1000, Math.max(1, Math.round(requests / 10))) !== 0) return;
        void figures(url).then((now) => memory.push(now.get('process_resident_memory_bytes')! / 2 ** 20));
      },
    });
    await sleep(500);
    wrong.push(...counted.wrong);
    console.log(line(`${requests} requests`, counted));
    console.log(`  memory, one after the other: ${memory.map((one) => one.toFixed(0)).join(', ')} MiB`);
    results.memory = { ...shown(counted), requests, mebibytes: memory.map((one) => round(one, 0)) };
  }

  // The server's own cost: without mischief, and beside the same work without a server.
  const cpuOf = async () => 1000 * (await figures(url)).get('process_cpu_seconds_total')!;
  const cost = await measureCost({
    load: { url: address, fields, clips, clients: 64 },
    cpuOf,
    script: join(root, 'bench/server/measure-engine.mjs'),
    model: values.model,
    threads: Number(values.threads),
    milliseconds: 3 * milliseconds,
  });
  await end(server);
  const more = (100 * (cost.cpu / cost.engineCpu - 1)).toFixed(1);
  console.log(
    `64 clients: ${cost.cpu.toFixed(2)} ms of CPU a request, the engine alone ${cost.engineCpu.toFixed(2)} (${more}% more); ` +
      `the clients themselves ${cost.clientCpu.toFixed(2)}; ` +
      `${cost.requestsPerSecond.toFixed(1)} requests/s beside ${cost.engineRequestsPerSecond.toFixed(1)}`,
  );
  results.cost = Object.fromEntries(Object.entries(cost).map(([name, value]) => [name, round(value, 2)]));

  const peer = values['whisper-cpp'];
  if (peer !== undefined && values.ggml !== undefined) {
    const other = await freePort();
    const settings = ['-m', values.ggml, '--port', String(other), '-t', values.threads, '-l', 'en'];
    const child = spawn(join(peer, 'build/bin/whisper-server'), settings, { stdio: 'ignore' });
    const inference = `http://127.0.0.1:${other}/inference`;
    try {
      await until(`http://127.0.0.1:${other}/`, child);
      for (const clients of values.clients.split(',').map(Number)) {
        const unread = clips.map((clip) => ({ ...clip, text: '' }));
        const measured = await closedLoop({
          url: inference,
          fields: { response_format: 'text', temperature: '0' },
          clips: unread,
          clients,
          mischief: 0,
          until: { milliseconds },
        });
        console.log(line(`whisper.cpp, ${clients} clients`, measured));
        results[`whisperCpp${clients}`] = shown(measured);
      }
    } finally {
      child.kill('SIGKILL');
    }
  } else console.log("whisper.cpp's server was not measured: give --whisper-cpp and --ggml.");

  for (const one of new Set(wrong)) console.log(`WRONG: ${one}`);
  if (wrong.length > 0) process.exitCode = 1;
  if (values.output !== undefined) {
    mkdirSync(dirname(values.output), { recursive: true });
    const machine = { cpu: cpus()[0]?.model, cores: availableParallelism() };
    // Folders of a machine are nobody's business.
    const inside = relative(root, resolve(values.model));
    const model = inside.startsWith('..') ? basename(values.model) : inside;
    writeFileSync(values.output, `${JSON.stringify({ machine, model, results }, null, 2)}\n`);
  }
} finally {
  if (server.exitCode === null) server.kill('SIGKILL');
}
