/**
 * `npm run bench -- together FILE...`: recordings one after the other, all at once, and all at once cut at silences: how many times faster than
 * they are spoken, the host's share, the peak of memory, and whether the words are the same. Each way runs in a process of its own, on the
 * compiled package.
 *   --model DIR (the bundled model unless given)  --windows 8  --threads N  --dtype TYPE  --language CODE  --only 'one by one,at once,cut at silences'
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
    only: { type: 'string', default: 'one by one,at once,cut at silences' },
  },
});

interface Found {
  audioSeconds: number;
  seconds: number;
  hostShare: number;
  peakBytes: number;
  texts: string[];
}

const [, ...files] = positionals; // the first is the benchmark's own name
if (files.length === 0) throw new Error('Name some recordings.');
const ways: Record<string, { atOnce: boolean; batched: boolean }> = {
  'one by one': { atOnce: false, batched: false },
  'at once': { atOnce: true, batched: false },
  'cut at silences': { atOnce: true, batched: true },
};

console.log('                 times real time   host    MiB   same words');
let first: Found | null = null;
for (const name of values.only.split(',')) {
  const way = ways[name];
  if (!way) throw new Error(`There is no way '${name}': name some of ${Object.keys(ways).join(', ')}.`);
  const load = {
    device: 'cpu',
    windows: Number(values.windows),
    dtype: values.dtype,
    ...(values.threads && { threads: Number(values.threads) }),
  };
  const about = { dist: join(root, 'dist'), model: values.model, load, language: values.language };
  const job = { ...about, ...way, files: files.map((file) => resolve(file)) };
  const script = join(root, 'bench/measure-together.mjs');
  const { status, stdout, stderr } = spawnSync(process.execPath, [script, JSON.stringify(job)], { encoding: 'utf8' });
  if (status !== 0) throw new Error(stderr);
  const found = JSON.parse(stdout) as Found;
  first ??= found;
  const same = found.texts.filter((text, i) => text === first!.texts[i]).length;
  const figures = [
    (found.audioSeconds / found.seconds).toFixed(1).padStart(15),
    `${(100 * found.hostShare).toFixed(1)}%`.padStart(7),
    (found.peakBytes / 2 ** 20).toFixed(0).padStart(7),
    `${same} of ${files.length}`.padStart(10),
  ];
  console.log(`${name.padEnd(17)}${figures.join('')}`);
}
