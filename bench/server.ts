/**
 * `npm run bench -- server`: measures `onehead serve` under load, over loopback.
 *
 * - load: closed loops of 1 to 256 clients. A tenth of the requests are aborted, a tenth are invalid, and one client
 *   uploads at 1 kB/s all the time. Every other request must get the correct response
 * - memory after every thousand requests
 * - overhead: CPU time of the server for each request, compared with that of the engine without a server, in turns.
 *   The clients' CPU time is not included
 * - whisper.cpp's server with the same clips, if its folder is given
 *
 *   --model DIR          (default: the bundled model)
 *   --clips DIR          a folder of FLAC or WAV files (default: the held-out recordings)
 *   --clients N,...      (default: 1,16,64,256)
 *   --seconds N          duration of each load (default: 10)
 *   --requests N         requests of the memory measurement; 0 to omit it (default: 10000)
 *   --threads N  --output FILE
 *   --whisper-cpp DIR    with build/bin/whisper-server
 *   --ggml FILE          the model for whisper.cpp
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
import { type Clip, type Counted, closedLoop, form, percentile, post, uploadSlowly } from './server/clients.js';
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

/** The server's metrics by name, summed over labels. */
async function readMetrics(url: string): Promise<Map<string, number>> {
  const sums = new Map<string, number>();
  for (const line of (await (await fetch(`${url}/metrics`)).text()).split('\n')) {
    const [, name, value] = /^(\w+)(?:\{[^}]*\})? (\S+)$/.exec(line) ?? [];
    if (name !== undefined) sums.set(name, (sums.get(name) ?? 0) + Number(value));
  }
  return sums;
}

/** Waits until a server responds with success. */
async function waitUntilReady(url: string, child: ChildProcess): Promise<void> {
  for (;;) {
    if (child.exitCode !== null) throw new Error(`The server exited with status ${child.exitCode}.`);
    const ready = await fetch(url).then(
      ({ ok }) => ok,
      () => false,
    );
    if (ready) return;
    await sleep(100);
  }
}

async function stop(child: ChildProcess): Promise<void> {
  child.kill('SIGTERM');
  if (child.exitCode === null) await once(child, 'exit');
}

interface Monitored {
  /** Milliseconds: the 99th percentile of the event loop's delay, in the worst second. */
  lag: number;
  /** Resident memory in MiB, once a second. */
  memory: number[];
}

/** Reads the server's metrics each second while `work` runs. */
async function monitor<T>(url: string, work: () => Promise<T>): Promise<[T, Monitored]> {
  const monitored: Monitored = { lag: 0, memory: [] };
  let running = true;
  const monitoring = (async () => {
    while (running) {
      const metrics = await readMetrics(url).catch(() => null);
      monitored.lag = Math.max(monitored.lag, 1000 * (metrics?.get('nodejs_eventloop_lag_p99_seconds') ?? 0));
      if (metrics) monitored.memory.push(metrics.get('process_resident_memory_bytes')! / 2 ** 20);
      await sleep(1000);
    }
  })();
  const result = await work();
  running = false;
  await monitoring;
  return [result, monitored];
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

function line(name: string, counted: Counted): string {
  const { answered, refused, aborted, invalid, wrong, audio, times, elapsed } = counted;
  const rate = `${((1000 * answered) / elapsed).toFixed(1)} requests/s, ${((1000 * audio) / elapsed).toFixed(0)} s of audio/s`;
  const latency = `p50 ${percentile(times, 0.5).toFixed(0)} ms, p99 ${percentile(times, 0.99).toFixed(0)} ms`;
  return `${name}: ${rate}, ${latency}; ${answered} answered, ${refused} refused as overloaded, ${aborted} aborted, ${invalid} invalid ones refused, ${wrong.length} WRONG`;
}

const round = (value: number, digits = 1) => Number(value.toFixed(digits));
const summary = ({ times, wrong, elapsed, audio, ...rest }: Counted) => ({
  ...rest,
  wrong: wrong.length,
  requestsPerSecond: round((1000 * rest.answered) / elapsed),
  audioPerSecond: round((1000 * audio) / elapsed),
  p50: round(percentile(times, 0.5)),
  p99: round(percentile(times, 0.99)),
});

const fields = { model: 'whisper-1', response_format: 'text' };
const clientCounts = values.clients.split(',').map(Number);
const results: Record<string, unknown> = {};
const wrong: string[] = [];

/** Closed loops with faulty requests and a slow upload. */
async function measureLoads(url: string, address: string): Promise<void> {
  for (const clients of clientCounts) {
    const slow = uploadSlowly(address, form(fields, clips[0].bytes), 1000);
    const [counted, { lag, memory }] = await monitor(url, () =>
      closedLoop({ url: address, fields, clips, clients, faultRate: 0.1, until: { milliseconds } }),
    );
    slow.stop();
    wrong.push(...counted.wrong);
    console.log(line(`${clients} clients`, counted));
    const peak = Math.max(...memory);
    console.log(`  event loop delay ${lag.toFixed(1)} ms (p99 of the worst second), ${peak.toFixed(0)} MiB`);
    results[`clients${clients}`] = { ...summary(counted), eventLoopLag: round(lag), memory: round(peak, 0) };
  }
}

/** Memory after every thousand of `requests`. */
async function measureMemory(url: string, address: string, requests: number): Promise<void> {
  const memory: number[] = [];
  const interval = Math.min(1000, Math.max(1, Math.round(requests / 10)));
  const counted = await closedLoop({
    url: address,
    fields,
    clips,
    clients: 64,
    faultRate: 0.1,
    until: { requests },
    onAnswer: (answered) => {
      if (answered % interval !== 0) return;
      void readMetrics(url).then((metrics) => memory.push(metrics.get('process_resident_memory_bytes')! / 2 ** 20));
    },
  });
  await sleep(500); // the last metrics
  wrong.push(...counted.wrong);
  console.log(line(`${requests} requests`, counted));
  console.log(`  memory over time: ${memory.map((mebibytes) => mebibytes.toFixed(0)).join(', ')} MiB`);
  results.memory = { ...summary(counted), requests, mebibytes: memory.map((mebibytes) => round(mebibytes, 0)) };
}

/** The server's overhead, without faulty requests, compared with the same work without a server. */
async function measureOverhead(url: string, address: string): Promise<void> {
  const cost = await measureCost({
    load: { url: address, fields, clips, clients: 64 },
    cpuOf: async () => 1000 * (await readMetrics(url)).get('process_cpu_seconds_total')!,
    script: join(root, 'bench/server/measure-engine.mjs'),
    model: values.model,
    threads: Number(values.threads),
    milliseconds: 3 * milliseconds,
  });
  const more = (100 * (cost.cpu / cost.engineCpu - 1)).toFixed(1);
  console.log(
    `64 clients: ${cost.cpu.toFixed(2)} ms of CPU per request, ${more}% more than the engine alone (${cost.engineCpu.toFixed(2)} ms); ` +
      `clients ${cost.clientCpu.toFixed(2)} ms; ` +
      `${cost.requestsPerSecond.toFixed(1)} requests/s, the engine alone ${cost.engineRequestsPerSecond.toFixed(1)}`,
  );
  results.cost = Object.fromEntries(Object.entries(cost).map(([name, value]) => [name, round(value, 2)]));
}

/** whisper.cpp's server with the same clips. */
async function measureWhisperCpp(folder: string, ggml: string): Promise<void> {
  const port = await freePort();
  const settings = ['-m', ggml, '--port', String(port), '-t', values.threads, '-l', 'en'];
  const child = spawn(join(folder, 'build/bin/whisper-server'), settings, { stdio: 'ignore' });
  try {
    await waitUntilReady(`http://127.0.0.1:${port}/`, child);
    for (const clients of clientCounts) {
      const measured = await closedLoop({
        url: `http://127.0.0.1:${port}/inference`,
        fields: { response_format: 'text', temperature: '0' },
        clips: clips.map((clip) => ({ ...clip, text: '' })), // without a text, responses are not compared
        clients,
        faultRate: 0,
        until: { milliseconds },
      });
      console.log(line(`whisper.cpp, ${clients} clients`, measured));
      results[`whisperCpp${clients}`] = summary(measured);
    }
  } finally {
    child.kill('SIGKILL');
  }
}

const port = await freePort();
const url = `http://127.0.0.1:${port}`;
const command = [join(root, 'dist/cli/main.js'), 'serve', values.model, '--port', String(port)];
const server = spawn(process.execPath, [...command, '--threads', values.threads, '--log-level', 'error'], {
  stdio: ['ignore', 'inherit', 'inherit'],
});
const address = `${url}/v1/audio/transcriptions`;
try {
  await waitUntilReady(`${url}/ready`, server);
  const agent = new Agent();
  for (const clip of clips) clip.text = (await post(address, form(fields, clip.bytes), agent)).body.trim();
  agent.destroy();
  await measureLoads(url, address);
  const requests = Number(values.requests);
  if (requests > 0) await measureMemory(url, address, requests);
  await measureOverhead(url, address);
  await stop(server);
  const { 'whisper-cpp': folder, ggml } = values;
  if (folder !== undefined && ggml !== undefined) await measureWhisperCpp(folder, ggml);
  else console.log("whisper.cpp's server was not measured: set --whisper-cpp and --ggml.");

  for (const message of new Set(wrong)) console.log(`WRONG: ${message}`);
  if (wrong.length > 0) process.exitCode = 1;
  if (values.output !== undefined) {
    mkdirSync(dirname(values.output), { recursive: true });
    const machine = { cpu: cpus()[0]?.model, cores: availableParallelism() };
    // Stored results should not contain paths of this machine.
    const relativePath = relative(root, resolve(values.model));
    const model = relativePath.startsWith('..') ? basename(values.model) : relativePath;
    writeFileSync(values.output, `${JSON.stringify({ machine, model, results }, null, 2)}\n`);
  }
} finally {
  if (server.exitCode === null) server.kill('SIGKILL');
}
