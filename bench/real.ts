/**
 * `npm run bench -- real PATH --model CHECKPOINT`: recordings of real speech with their texts on a real checkpoint, beside openai/whisper,
 * faster-whisper, transformers and whisper.cpp on the same weights and pinned cores. Prints a table of errors, speed, memory, text where nobody
 * speaks and times of words; stores JSON, and with --page a page with plots.
 *   PATH                 a folder or manifest.json: [{file, language, text (null: nobody speaks), kind, alignment}]; or a folder with NAME.txt
 *                        beside NAME.wav (flac, mp3, ...), an empty one where nobody speaks, in --language
 *   --model DIR          a folder of safetensors, as Hugging Face has it; peers' files are made of it
 *   --only LIST          systems by name, or all whose names begin so: onehead, 'onehead float32', faster-whisper, openai, transformers, whisper.cpp
 *   --variant NAME=JSON  another way to run onehead, beside the others: {package (a folder with dist), model, load, transcribe}; may be repeated
 *   --python DIR         a venv that holds the peers of bench/peers/requirements.txt; made in the cache unless named
 *   --whisper-cpp DIR    its folder, built; without it it is a row that says so
 *   --threads 2  --cores LIST  --repeats 1 (the shortest time counts)  --give-language  --filter TEXT (in recordings' names)
 *   --add                keeps the rows that --output has of other systems
 * On a machine with fewer instructions: ONEHEAD_CPU_KERNELS=avx2 ONEDNN_MAX_CPU_ISA=AVX2 for onehead, CT2_FORCE_CPU_ISA=AVX2 for faster-whisper beside that.
 *   --cache DIR  --output FILE  --page FILE  --from FILE (draws the page of stored results, and measures nothing)
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { cpus, homedir, loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { Device } from '../lib/device/device.js';
import { type RealResult, writePage } from './real/page.js';
import { realRecordings } from './real/recordings.js';
import { type Row, tableOf } from './real/rows.js';
import { score } from './real/score.js';
import {
  onehead,
  peersPython,
  pythonPeer,
  type Setting,
  type System,
  type SystemRun,
  whisperCpp,
} from './real/systems.js';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    only: { type: 'string' },
    variant: { type: 'string', multiple: true, default: [] },
    python: { type: 'string' },
    'whisper-cpp': { type: 'string' },
    threads: { type: 'string', default: '2' },
    cores: { type: 'string' },
    repeats: { type: 'string', default: '1' },
    language: { type: 'string' },
    'give-language': { type: 'boolean', default: false },
    filter: { type: 'string', default: '' },
    cache: { type: 'string', default: join(homedir(), '.cache/onehead/real') },
    add: { type: 'boolean', default: false },
    output: { type: 'string' },
    page: { type: 'string' },
    from: { type: 'string' },
  },
});

const root = new URL('..', import.meta.url).pathname;
const path = positionals[1]; // positionals[0] is the benchmark's own name
if (values.from) {
  await writePage(values.page ?? join(root, 'docs/real-speech.md'), JSON.parse(readFileSync(values.from, 'utf8')));
  process.exit();
}
if (path === undefined || values.model === undefined) {
  console.error('Name the recordings and --model. bench/real.ts says at its top what it takes.');
  process.exit(2);
}
const model = resolve(values.model);
const threads = Number(values.threads);
const cores = values.cores ?? Array.from({ length: threads }, (_, i) => cpus().length - threads + i).join(',');
const setting: Setting = { cores, threads, giveLanguage: values['give-language'] };

const wanted = values.only?.split(',') ?? [];

/** What `make` gave or threw the first time. */
function once<T>(make: () => T): () => T {
  let outcome: { value: T } | { error: unknown } | undefined;
  return () => {
    if (!outcome) {
      try {
        outcome = { value: make() };
      } catch (error) {
        outcome = { error };
      }
    }
    if ('error' in outcome) throw outcome.error;
    return outcome.value;
  };
}

/** The systems in the table's order; one that cannot run is a sentence. */
function systems(): (System | { name: string; missing: string })[] {
  const all: { name: string; make: () => System }[] = [
    { name: 'onehead', make: () => onehead('onehead', model, {}, setting) },
    {
      name: 'onehead float32',
      make: () => onehead('onehead float32', model, { load: { dtype: 'float32' } }, setting),
    },
    { name: 'onehead int8', make: () => onehead('onehead int8', model, { load: { dtype: 'int8' } }, setting) },
  ];
  for (const given of values.variant) {
    const [name, json] = [given.slice(0, given.indexOf('=')), given.slice(given.indexOf('=') + 1)];
    all.push({ name, make: () => onehead(name, model, JSON.parse(json), setting) });
  }
  /** The peers' Python, and their files of the same weights: made once, for the first that wants them. */
  const peers = once(() => {
    const python = peersPython(values.python, values.cache);
    const folder = join(values.cache, 'checkpoints', model.replaceAll(/[^\w.-]+/g, '_'));
    const convert = [join(root, 'bench/peers/checkpoints.py'), model, folder];
    const { status, stderr } = spawnSync(python, convert, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr.trim().split('\n').at(-1));
    return { python, folder };
  });
  const python = (name: string, peer: string, file: string, compute: string) => ({
    name,
    make: () => pythonPeer(name, peers().python, peer, join(peers().folder, file), compute, setting),
  });
  all.push(python('faster-whisper int8', 'faster-whisper', 'ct2', 'int8'));
  all.push(python('faster-whisper int8 batched', 'faster-whisper-batched', 'ct2', 'int8'));
  all.push(python('faster-whisper float32', 'faster-whisper', 'ct2', 'float32'));
  all.push(python('openai/whisper float32', 'openai', 'openai.pt', 'float32'));
  const transformers = 'transformers float32';
  all.push({
    name: transformers,
    make: () => pythonPeer(transformers, peers().python, 'transformers', model, 'float32', setting),
  });
  for (const type of ['f16', 'q8_0']) {
    const name = `whisper.cpp ${type}`;
    all.push({
      name,
      make: () => {
        const folder = values['whisper-cpp'];
        if (!folder) throw new Error('name its folder with --whisper-cpp');
        const files = peers().folder;
        const file = join(files, `ggml-${type}.bin`);
        if (!existsSync(file)) {
          const quantize = join(folder, 'build/bin/whisper-quantize');
          execFileSync(quantize, [join(files, 'ggml-f16.bin'), file, type], { stdio: 'ignore' });
        }
        return whisperCpp(name, resolve(folder), file, setting);
      },
    });
  }
  const names = all.map(({ name }) => name);
  const asked = (name: string) => (one: string) => name === one || (!names.includes(one) && name.startsWith(one));
  const variants = values.variant.map((one) => one.slice(0, one.indexOf('=')));
  return all
    .filter(({ name }) => wanted.length === 0 || variants.includes(name) || wanted.some(asked(name)))
    .map(({ name, make }) => {
      try {
        return make();
      } catch (error) {
        return { name, missing: (error as Error).message };
      }
    });
}

/** The same recordings of another pass: of each the shorter time. */
function merged(before: SystemRun | undefined, now: SystemRun): SystemRun {
  if (!before) return now;
  const runs = before.runs.map((run, i) => ({
    ...run,
    seconds: Math.min(run.seconds, now.runs[i].seconds),
    cpuSeconds: Math.min(run.cpuSeconds, now.runs[i].cpuSeconds),
  }));
  return { runs, memory: Math.max(before.memory, now.memory), load: Math.min(before.load, now.load) };
}

execFileSync('npm', ['run', '-s', 'build:types'], { cwd: root, stdio: 'inherit' });
const found = await realRecordings(path, join(values.cache, 'wav'), values.language ?? null);
const recordings = found.filter(({ name }) => name.includes(values.filter));
if (recordings.length === 0) throw new Error(`There are no such recordings in ${path}.`);

const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
const { cpu, onednn } = Device.information();
const machine = {
  cpu: cpus()[0].model,
  cores: cpus().length,
  kernels: process.env.ONEHEAD_CPU_KERNELS ?? cpu.kernels,
  onednn: onednn.version,
};
const date = new Date().toISOString();
const settings = { threads, repeats: Number(values.repeats), giveLanguage: setting.giveLanguage };
const set = recordings.map(({ name, language, kind, seconds, text, words }) => {
  return { name, language, kind, seconds, words: text?.split(/\s+/).length ?? 0, timedWords: words.length };
});
const output = values.output ?? join(root, 'bench', 'results', `real-${date.slice(0, 10)}.json`);
const about = { date, commit, machine, settings, set };
/** Rows of a run that was broken off, or that lacked systems: they stay unless they are measured anew. */
const rows = new Map<string, Row>();
if (values.add && existsSync(output)) {
  const before = JSON.parse(readFileSync(output, 'utf8')) as RealResult;
  if (JSON.stringify([before.set, before.settings]) !== JSON.stringify([set, settings])) {
    throw new Error(`${output} was measured with other recordings or settings; name another --output.`);
  }
  for (const row of before.rows) rows.set(row.name, row);
}

function store(row: Row): void {
  rows.set(row.name, row);
  mkdirSync(dirname(output), { recursive: true });
  writeFileSync(output, `${JSON.stringify({ ...about, rows: [...rows.values()] }, null, 1)}\n`);
}

const all = systems();
const results = new Map<string, SystemRun>();
const missing = new Set<string>();
// All in turns, so that a busy moment of the machine falls on each.
for (let pass = 0; pass < settings.repeats; ++pass) {
  for (const system of all) {
    const { name } = system;
    if (missing.has(name)) continue;
    const start = performance.now();
    const load = Number(loadavg()[0].toFixed(1));
    try {
      if ('missing' in system) throw new Error(system.missing);
      const run = merged(results.get(name), await system.run(recordings));
      results.set(name, run);
      store({ name, commit, load, ...score(recordings, run) });
      console.log(`${name}: ${((performance.now() - start) / 1000).toFixed(0)} s`);
    } catch (error) {
      missing.add(name);
      store({ name, missing: (error as Error).message });
    }
  }
}
console.log(tableOf([...rows.values()]));
console.log(`stored in ${output}`);
if (values.page) await writePage(values.page, { ...about, rows: [...rows.values()] });
