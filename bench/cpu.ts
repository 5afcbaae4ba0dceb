/**
 * `npm run bench -- cpu`: compares onehead with other programs, on the same checkpoints and pinned cores. Each system
 * runs in a separate process, in turns. Prints a table for each round, and stores JSON after each case. A system that
 * fails has a row with the reason.
 *
 *   --models LIST     sizes with random weights (tiny, base, small, ...), or NAME=FOLDER for a checkpoint
 *                     (default: tiny,base,small)
 *   --systems LIST    parts of `system dtype`, such as 'onehead,whisper.cpp q8_0'; int8 selects all systems with 8
 *                     bits, including whisper.cpp's q8_0 (default: all)
 *   --python FILE     a Python with the packages of bench/peers/requirements.txt (default: ONEHEAD_PYTHON, else
 *                     python3)
 *   --whisper-cpp DIR whisper.cpp's folder with whisper-cli and whisper-quantize built
 *   --threads N       (default: 2)
 *   --cores LIST      cores to which processes are pinned (default: the last ones)
 *   --repeats N       runs in a process, of which the median counts (default: 5)
 *   --rounds N        processes of each system, of which the minimum of each figure counts (default: 1)
 *   --cpu-time        CPU time instead of wall time, for a machine with other work. Only valid with --threads 1, since
 *                     waiting threads also use CPU time
 *   --cache DIR       folder for checkpoints in the formats of other programs
 *   --output FILE
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { homedir, loadavg } from 'node:os';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { whisperConfig } from '../lib/profiler/measuring/shapes.js';
import { type Figures, type Model, type Setting, systems } from './cpu/systems.js';
import { commit, describeCpu, lastCores, root } from './machine.js';
import { addOtherFiles, writeRandomCheckpoint } from './random-checkpoint.js';
import { ResultFile, type StoredResult } from './result-file.js';

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    models: { type: 'string', default: 'tiny,base,small' },
    systems: { type: 'string', default: '' },
    threads: { type: 'string', default: '2' },
    cores: { type: 'string' },
    repeats: { type: 'string', default: '5' },
    rounds: { type: 'string', default: '1' },
    'cpu-time': { type: 'boolean', default: false },
    python: { type: 'string', default: process.env.ONEHEAD_PYTHON ?? 'python3' },
    'whisper-cpp': { type: 'string' },
    cache: { type: 'string', default: join(homedir(), '.cache/onehead/cpu') },
    output: { type: 'string' },
  },
});

const threads = Number(values.threads);
const cores = values.cores ?? lastCores(threads);
const setting: Setting = {
  threads,
  cores,
  repeats: Number(values.repeats),
  cpuTime: values['cpu-time'],
  python: values.python,
  whisperCpp: values['whisper-cpp'] && resolve(values['whisper-cpp']),
};

interface Row {
  model: string;
  system: string;
  dtype: string;
  figures?: Figures;
  /** The reason, if there are no figures. */
  missing?: string;
  /** The machine's load average before the measurement. */
  load: number;
}

async function modelOf(argument: string): Promise<Model> {
  const [name, folder] = argument.split('=');
  const converted = join(values.cache, folder ? resolve(folder).replaceAll(/[^\w.-]+/g, '_') : `random-${name}`);
  mkdirSync(converted, { recursive: true });
  if (folder) return { name, checkpoint: resolve(folder), converted };
  const checkpoint = join(converted, 'checkpoint');
  if (!existsSync(join(checkpoint, 'preprocessor_config.json'))) {
    writeRandomCheckpoint(checkpoint, name);
    await addOtherFiles(checkpoint, whisperConfig(name));
  }
  return { name, checkpoint, converted };
}

/** The minimum of each figure. */
function minimumOf(a: Figures | undefined, b: Figures): Figures {
  if (!a) return b;
  const decode = { ...a.decodeMillisecondsPerToken };
  for (const [tokens, time] of Object.entries(b.decodeMillisecondsPerToken)) {
    decode[tokens] = Math.min(decode[tokens] ?? Number.POSITIVE_INFINITY, time);
  }
  return {
    ...(b.logMelMilliseconds && { logMelMilliseconds: Math.min(a.logMelMilliseconds!, b.logMelMilliseconds) }),
    encoderMilliseconds: Math.min(a.encoderMilliseconds, b.encoderMilliseconds),
    decodeMillisecondsPerToken: decode,
    peakMemoryMiB: Math.min(a.peakMemoryMiB, b.peakMemoryMiB),
  };
}

const patterns = values.systems.split(',').filter(Boolean);
/** The text that --systems selects from. whisper.cpp's q8_0 is also found as int8. */
const label = (name: string, dtype: string) => `${name} ${dtype}${dtype === 'q8_0' ? ' int8' : ''}`;
const chosen = systems(setting).filter(
  ({ name, dtype }) => patterns.length === 0 || patterns.some((part) => label(name, dtype).includes(part)),
);
if (chosen.length === 0) throw new Error(`There are no systems '${values.systems}'.`);

execFileSync('npm', ['run', '--silent', 'build:types'], { cwd: root, stdio: 'inherit' });
const machine = { ...describeCpu(), node: process.version };
const date = new Date().toISOString();
const result: StoredResult & { rows: Row[]; [field: string]: unknown } = {
  date,
  complete: false,
  commit: commit(),
  machine,
  settings: {
    threads,
    repeats: setting.repeats,
    rounds: Number(values.rounds),
    cpuTime: setting.cpuTime,
    window: '30 s',
    batch: 1,
  },
  rows: [],
  failures: [],
};
const file = new ResultFile(values.output ?? join(root, 'bench', 'results', `cpu-${date.slice(0, 10)}.json`), result);

/** The time of a token, measured with the number of tokens that is nearest to `tokens`. */
function tokenTime({ decodeMillisecondsPerToken: times }: Figures, tokens: number): number {
  const counts = Object.keys(times).map(Number);
  return times[counts.reduce((a, b) => (Math.abs(b - tokens) < Math.abs(a - tokens) ? b : a))];
}

function print({ model, system, dtype, figures, missing }: Row): void {
  const name = `${model.padEnd(8)} ${system.padEnd(15)} ${dtype.padEnd(9)}`;
  if (!figures) {
    console.log(`${name}  - ${missing}`);
    return;
  }
  const { encoderMilliseconds, logMelMilliseconds = Number.NaN, peakMemoryMiB } = figures;
  const times = [encoderMilliseconds, tokenTime(figures, 25), tokenTime(figures, 256), logMelMilliseconds];
  console.log(
    `${name}${times.map((time) => time.toFixed(2).padStart(9)).join('')}${peakMemoryMiB.toFixed(0).padStart(8)}`,
  );
}

for (let round = 0; round < Number(values.rounds); ++round) {
  console.log(
    `${'model'.padEnd(8)} ${'system'.padEnd(15)} ${'dtype'.padEnd(9)}  encoder   tok(25)  tok(256)  log-mel     MiB   (ms${setting.cpuTime ? ' of CPU time' : ''}, ${threads} threads on cores ${cores}; round ${round + 1})`,
  );
  for (const argument of values.models.split(',')) {
    const model = await modelOf(argument);
    for (const { name: system, dtype, measure } of chosen) {
      const isSame = (row: Row) => row.model === model.name && row.system === system && row.dtype === dtype;
      let row = result.rows.find(isSame);
      if (!row) {
        row = { model: model.name, system, dtype, load: 0 };
        result.rows.push(row);
      }
      if (row.missing) continue;
      row.load = Number(loadavg()[0].toFixed(1));
      try {
        row.figures = minimumOf(row.figures, await measure(model));
      } catch (error) {
        row.missing = (error as Error).message.slice(0, 300);
      }
      print(row);
      file.store();
    }
  }
}
file.finish();
