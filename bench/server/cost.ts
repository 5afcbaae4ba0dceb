/** What a server costs over its engine: CPU time of its process a request, beside that of the same clips without a server, in turns. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { statistics } from '../../lib/profiler/measuring/statistics.js';
import { type Clip, closedLoop, type Load } from './clients.js';

/** Turns of each. */
const turns = 3;

export interface Cost {
  /** CPU milliseconds a request, each the median of the turns: of the server's process, and of the engine's alone. */
  cpu: number;
  engineCpu: number;
  /** Of the clients, which are a process of their own, and count for neither. */
  clientCpu: number;
  requestsPerSecond: number;
  engineRequestsPerSecond: number;
}

export interface CostOptions {
  load: Pick<Load, 'url' | 'fields' | 'clients'> & { clips: readonly (Clip & { file: string })[] };
  /** CPU milliseconds of the server's process so far. */
  cpuOf(): Promise<number>;
  /** What runs the engine alone: bench/server/measure-engine.mjs. */
  script: string;
  model: string;
  threads: number;
  milliseconds: number;
}

const median = (values: readonly number[]) => statistics(values).median;

export async function measureCost(options: CostOptions): Promise<Cost> {
  const { load, cpuOf, script, model, threads, milliseconds } = options;
  const engine = {
    model,
    load: { device: 'cpu', threads },
    clips: load.clips.map(({ file }) => file),
    callers: load.clients,
  };
  const child = spawn(process.execPath, [script, JSON.stringify(engine)], { stdio: ['pipe', 'pipe', 'inherit'] });
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  const alone = async (duration: number) => {
    child.stdin.write(`${duration}\n`);
    return JSON.parse((await lines.next()).value) as { requests: number; elapsed: number; cpu: number };
  };
  const served = async (duration: number) => {
    const [before, own] = [await cpuOf(), process.cpuUsage()];
    const counted = await closedLoop({ ...load, mischief: 0, until: { milliseconds: duration } });
    const { user, system } = process.cpuUsage(own);
    const { answered: requests, elapsed } = counted;
    return { requests, elapsed, cpu: (await cpuOf()) - before, clientCpu: (user + system) / 1000 };
  };
  try {
    await served(500);
    await alone(500);
    const [withServer, without]: [Awaited<ReturnType<typeof served>>[], Awaited<ReturnType<typeof alone>>[]] = [[], []];
    for (let turn = 0; turn < turns; ++turn) {
      withServer.push(await served(milliseconds / turns));
      without.push(await alone(milliseconds / turns));
    }
    const each = <T extends { requests: number }>(runs: readonly T[], value: (run: T) => number) =>
      median(runs.map((run) => value(run) / run.requests));
    const rate = (runs: readonly { requests: number; elapsed: number }[]) =>
      median(runs.map(({ requests, elapsed }) => (1000 * requests) / elapsed));
    return {
      cpu: each(withServer, ({ cpu }) => cpu),
      engineCpu: each(without, ({ cpu }) => cpu),
      clientCpu: each(withServer, ({ clientCpu }) => clientCpu),
      requestsPerSecond: rate(withServer),
      engineRequestsPerSecond: rate(without),
    };
  } finally {
    child.kill('SIGKILL');
  }
}
