/** Measures a server's overhead: its CPU time per request and that of the engine without a server, in turns. */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { statistics } from '../../lib/profiler/measuring/statistics.js';
import { type Clip, closedLoop, type Load } from './clients.js';

const rounds = 3;

export interface Cost {
  /** Median CPU milliseconds per request: of the server's process, and of the process with only the engine. */
  cpu: number;
  engineCpu: number;
  /** The same of this process, which runs the clients. */
  clientCpu: number;
  requestsPerSecond: number;
  engineRequestsPerSecond: number;
}

export interface CostOptions {
  load: Pick<Load, 'url' | 'fields' | 'clients'> & { clips: readonly (Clip & { file: string })[] };
  /** CPU milliseconds of the server's process so far. */
  cpuOf(): Promise<number>;
  /** The path of bench/server/measure-engine.mjs. */
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
  const runEngine = async (duration: number) => {
    child.stdin.write(`${duration}\n`);
    return JSON.parse((await lines.next()).value) as { requests: number; elapsed: number; cpu: number };
  };
  const runServer = async (duration: number) => {
    const [serverBefore, clientBefore] = [await cpuOf(), process.cpuUsage()];
    const counted = await closedLoop({ ...load, faultRate: 0, until: { milliseconds: duration } });
    const { user, system } = process.cpuUsage(clientBefore);
    const { answered: requests, elapsed } = counted;
    return { requests, elapsed, cpu: (await cpuOf()) - serverBefore, clientCpu: (user + system) / 1000 };
  };
  try {
    // Warm-up.
    await runServer(500);
    await runEngine(500);
    const serverRuns: Awaited<ReturnType<typeof runServer>>[] = [];
    const engineRuns: Awaited<ReturnType<typeof runEngine>>[] = [];
    for (let round = 0; round < rounds; ++round) {
      serverRuns.push(await runServer(milliseconds / rounds));
      engineRuns.push(await runEngine(milliseconds / rounds));
    }
    const perRequest = <T extends { requests: number }>(runs: readonly T[], value: (run: T) => number) =>
      median(runs.map((run) => value(run) / run.requests));
    const rate = (runs: readonly { requests: number; elapsed: number }[]) =>
      median(runs.map(({ requests, elapsed }) => (1000 * requests) / elapsed));
    return {
      cpu: perRequest(serverRuns, ({ cpu }) => cpu),
      engineCpu: perRequest(engineRuns, ({ cpu }) => cpu),
      clientCpu: perRequest(serverRuns, ({ clientCpu }) => clientCpu),
      requestsPerSecond: rate(serverRuns),
      engineRequestsPerSecond: rate(engineRuns),
    };
  } finally {
    child.kill('SIGKILL');
  }
}
