/**
 * Records the jobs of a device, to show where it is idle. Times are those that JavaScript sees: a job begins when it is
 * submitted, or when the job before it has ended, whichever is later.
 *
 * - elapsed: the device's own clock
 * - within: the rest of the job: its writes and reads, synchronization, launches, recording of a new program
 * - before: the queue was empty, and the device waited until the job was submitted
 */
import { Device } from '../../lib/device/device.js';
import { Program, type Run } from '../../lib/device/program.js';

interface Job {
  name: string;
  submitted: number;
  ended: number;
  elapsed: number;
  replays: number;
}

/** The first word of a program's name, which has no sizes. */
const kindOf = (name: string) => name.split(' ')[0];

export class DeviceJobs {
  #jobs: Job[] = [];

  /** Records all jobs from now on, of all devices. */
  constructor() {
    const jobs = () => this.#jobs;
    const begin = (name: string): Job => {
      const job = { name, submitted: performance.now(), ended: Number.NaN, elapsed: 0, replays: 0 };
      jobs().push(job);
      return job;
    };
    const { submit } = Program.prototype;
    Program.prototype.submit = function (this: Program, ...given): Run {
      const run = submit.apply(this, given);
      const job = begin(this.name);
      run.done.then(
        ({ elapsed, times }) => Object.assign(job, { elapsed, replays: times, ended: performance.now() }),
        () => {},
      );
      return run;
    };
    const { transfer } = Device.prototype;
    Device.prototype.transfer = function (this: Device, ...given) {
      const done = transfer.apply(this, given);
      const job = begin('transfer');
      done.then(
        () => Object.assign(job, { ended: performance.now() }),
        () => {},
      );
      return done;
    };
  }

  /** Forgets the jobs so far. */
  clear(): void {
    this.#jobs = [];
  }

  /** Prints the jobs since `clear`, and where the device was idle, in milliseconds of each request. */
  print(requests: number): void {
    const jobs = this.#jobs.filter(({ ended }) => !Number.isNaN(ended));
    const { kinds, gaps } = sumsOf(jobs);
    const milliseconds = (times: readonly number[]) => times.map((time) => number(time / requests, 9)).join('');
    console.log(`  job                           jobs  replays   ms each  ms/request: elapsed   within   before`);
    const total = { elapsed: 0, within: 0, before: 0 };
    for (const [name, { count, replays, elapsed, within, before }] of [...kinds].sort()) {
      total.elapsed += elapsed;
      total.within += within;
      total.before += before;
      const each = number(elapsed / Math.max(1, replays), 10);
      const counts = `${number(count, 7, 0)}${number(replays, 9, 0)}`;
      console.log(`  ${name.padEnd(27)}${counts}${each}           ${milliseconds([elapsed, within, before])}`);
    }
    const sums = milliseconds([total.elapsed, total.within, total.before]);
    console.log(`  ${'all'.padEnd(27)}${number(jobs.length, 7, 0)}${' '.repeat(30)}${sums}`);
    const longest = [...gaps].sort(([, a], [, b]) => b.before - a.before).slice(0, 8);
    for (const [name, { count, before }] of longest) {
      console.log(`  empty queue, ${name}: ${count} times, ${number(before / requests, 0)} ms/request`);
    }
  }
}

const number = (value: number, width: number, digits = 3) => value.toFixed(digits).padStart(width);

/** Sums of milliseconds over jobs of one name. */
interface JobSums {
  count: number;
  replays: number;
  elapsed: number;
  within: number;
  before: number;
}

/** Sums over the jobs of each name, and over the times in which the queue was empty, by the jobs before and after. */
function sumsOf(jobs: readonly Job[]) {
  const kinds = new Map<string, JobSums>();
  const gaps = new Map<string, Pick<JobSums, 'count' | 'before'>>();
  let last: Job | undefined;
  for (const job of jobs) {
    const begun = Math.max(job.submitted, last?.ended ?? 0);
    const before = last ? begun - last.ended : 0;
    const kind = kinds.get(job.name) ?? { count: 0, replays: 0, elapsed: 0, within: 0, before: 0 };
    kind.count += 1;
    kind.replays += job.replays;
    kind.elapsed += job.elapsed;
    kind.within += job.ended - begun - job.elapsed;
    kind.before += before;
    kinds.set(job.name, kind);
    if (last && before > 0) {
      const name = `${kindOf(last.name)} -> ${kindOf(job.name)}`;
      const gap = gaps.get(name) ?? { count: 0, before: 0 };
      gap.count += 1;
      gap.before += before;
      gaps.set(name, gap);
    }
    last = job;
  }
  return { kinds, gaps };
}
