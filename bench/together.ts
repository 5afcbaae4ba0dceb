/**
 * `npm run bench -- together FILE...`: transcribes recordings one by one, all at once, and all at once split at
 * silences. Prints the speed relative to real time, the host's share of the time, the peak memory, and how many texts
 * are the same. Each method runs in a separate process with the compiled package.
 *
 *   --model DIR          (default: the bundled model)
 *   --windows N          (default: 8)
 *   --only NAME,...      'one by one', 'at once', 'split at silences' (default: all)
 *   --threads N  --dtype TYPE  --language CODE
 */
import { spawnSync } from 'node:child_process';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const root = new URL('..', import.meta.url).pathname;
const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    windows: { type: 'string', default: '8' },
    threads: { type: 'string' },
    dtype: { type: 'string' },
    language: { type: 'string' },
    only: { type: 'string', default: 'one by one,at once,split at silences' },
  },
});

interface Measured {
  audioSeconds: number;
  seconds: number;
  hostShare: number;
  peakBytes: number;
  texts: string[];
}

const [, ...files] = positionals; // the first is the benchmark's own name
if (files.length === 0) throw new Error('Name some recordings.');
const methods: Record<string, { atOnce: boolean; batched: boolean }> = {
  'one by one': { atOnce: false, batched: false },
  'at once': { atOnce: true, batched: false },
  'split at silences': { atOnce: true, batched: true },
};

console.log('                   times real time   host    MiB   same texts');
let first: Measured | null = null;
for (const name of values.only.split(',')) {
  const method = methods[name];
  if (!method) throw new Error(`There is no method '${name}'; the methods are ${Object.keys(methods).join(', ')}.`);
  const load = {
    device: 'cpu',
    windows: Number(values.windows),
    dtype: values.dtype,
    ...(values.threads && { threads: Number(values.threads) }),
  };
  const common = { dist: join(root, 'dist'), model: values.model, load, language: values.language };
  const job = { ...common, ...method, files: files.map((file) => resolve(file)) };
  const script = join(root, 'bench/measure-together.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, JSON.stringify(job)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const measured = JSON.parse(stdout) as Measured;
  first ??= measured;
  const same = measured.texts.filter((text, i) => text === first!.texts[i]).length;
  const figures = [
    (measured.audioSeconds / measured.seconds).toFixed(1).padStart(15),
    `${(100 * measured.hostShare).toFixed(1)}%`.padStart(7),
    (measured.peakBytes / 2 ** 20).toFixed(0).padStart(7),
    `${same} of ${files.length}`.padStart(10),
  ];
  console.log(`${name.padEnd(19)}${figures.join('')}`);
}
