/**
 * `npm run bench -- real PATH --model CHECKPOINT`: transcribes recordings of real speech with onehead, openai/whisper,
 * faster-whisper, transformers and whisper.cpp, with the same weights on the same pinned cores. Prints a table of error
 * rates, speed, memory, text without speech, and word times. Stores JSON, and with --page a page with plots.
 *
 *   PATH                 a manifest.json, or a folder with one: [{file, language, text, kind, alignment}], where a text
 *                        of null means no speech; or a folder with NAME.txt (empty: no speech) for each NAME.wav (flac,
 *                        mp3, ...), with speech in --language
 *   --model DIR          a Hugging Face folder with safetensors, which is converted for the other systems
 *   --only LIST          names of systems, or beginnings of names: onehead, 'onehead float32', faster-whisper, openai,
 *                        transformers, whisper.cpp
 *   --variant NAME=JSON  another configuration of onehead: {package, model, load, transcribe}, where package is a
 *                        folder with dist; may be repeated
 *   --python DIR         a venv with the packages of bench/peers/requirements.txt (default: created in the cache)
 *   --whisper-cpp DIR    whisper.cpp's folder with its programs built
 *   --threads N          (default: 2)
 *   --cores LIST         cores to which processes are pinned (default: the last ones)
 *   --repeats N          rounds, of which the shortest time counts (default: 1)
 *   --give-language      passes the recordings' languages to the systems
 *   --filter TEXT        only recordings with this text in their names
 *   --add                keeps the rows of other systems in --output
 *   --from FILE          only writes the page, from stored results
 *   --cache DIR  --output FILE  --page FILE
 *
 * To measure AVX2 on a newer CPU, set ONEHEAD_CPU_KERNELS=avx2 and ONEDNN_MAX_CPU_ISA=AVX2 for onehead, and
 * CT2_FORCE_CPU_ISA=AVX2 for faster-whisper.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { homedir, loadavg } from 'node:os';
import { dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { commit as commitOf, describeCpu, lastCores, root } from './machine.js';
import { run } from './programs.js';
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

const path = positionals[1]; // positionals[0] is the benchmark's own name
if (values.from) {
  await writePage(values.page ?? join(root, 'docs/real-speech.md'), JSON.parse(readFileSync(values.from, 'utf8')));
  process.exit();
}
if (path === undefined || values.model === undefined) {
  console.error(
    'Name the recordings, and a checkpoint with --model. The options are explained at the top of bench/real.ts.',
  );
  process.exit(2);
}
const model = resolve(values.model);
const threads = Number(values.threads);
const cores = values.cores ?? lastCores(threads);
const setting: Setting = { cores, threads, giveLanguage: values['give-language'] };

const only = values.only?.split(',') ?? [];

/** Returns a function that calls `make` once, and then returns or throws its outcome again. */
function memoize<T>(make: () => T): () => T {
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

/** The selected systems in the order of the table. For one that cannot run, `missing` is the reason. */
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
  /** The Python with the peers, and the checkpoint in their formats. Created when the first peer needs them. */
  const peers = memoize(() => {
    const python = peersPython(values.python, values.cache);
    const folder = join(values.cache, 'checkpoints', model.replaceAll(/[^\w.-]+/g, '_'));
    run([python, join(root, 'bench/peers/checkpoints.py'), model, folder]);
    return { python, folder };
  });
  const addPeer = (name: string, peer: string, compute: string, checkpoint: () => string) =>
    all.push({
      name,
      make: () => pythonPeer(name, { python: peers().python, peer, model: checkpoint(), compute }, setting),
    });
  const converted = (file: string) => () => join(peers().folder, file);
  addPeer('faster-whisper int8', 'faster-whisper', 'int8', converted('ct2'));
  addPeer('faster-whisper int8 batched', 'faster-whisper-batched', 'int8', converted('ct2'));
  addPeer('faster-whisper float32', 'faster-whisper', 'float32', converted('ct2'));
  addPeer('openai/whisper float32', 'openai', 'float32', converted('openai.pt'));
  addPeer('transformers float32', 'transformers', 'float32', () => model);
  for (const type of ['f16', 'q8_0']) {
    const name = `whisper.cpp ${type}`;
    all.push({
      name,
      make: () => {
        const folder = values['whisper-cpp'];
        if (!folder) throw new Error('set --whisper-cpp to its folder');
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
  const selects = (name: string) => (text: string) => name === text || (!names.includes(text) && name.startsWith(text));
  const variants = values.variant.map((variant) => variant.slice(0, variant.indexOf('=')));
  return all
    .filter(({ name }) => only.length === 0 || variants.includes(name) || only.some(selects(name)))
    .map(({ name, make }) => {
      try {
        return make();
      } catch (error) {
        return { name, missing: (error as Error).message };
      }
    });
}

/** Merges the results of two rounds: the shorter time of each recording counts. */
function merge(previous: SystemRun | undefined, current: SystemRun): SystemRun {
  if (!previous) return current;
  const runs = previous.runs.map((run, i) => ({
    ...run,
    seconds: Math.min(run.seconds, current.runs[i].seconds),
    cpuSeconds: Math.min(run.cpuSeconds, current.runs[i].cpuSeconds),
  }));
  return { runs, memory: Math.max(previous.memory, current.memory), load: Math.min(previous.load, current.load) };
}

execFileSync('npm', ['run', '-s', 'build:types'], { cwd: root, stdio: 'inherit' });
const found = await realRecordings(path, join(values.cache, 'wav'), values.language ?? null);
const recordings = found.filter(({ name }) => name.includes(values.filter));
if (recordings.length === 0) throw new Error(`No recording in ${path} is selected.`);

const commit = commitOf();
const cpu = describeCpu();
const machine = { ...cpu, kernels: process.env.ONEHEAD_CPU_KERNELS ?? cpu.kernels };
const date = new Date().toISOString();
const settings = { threads, repeats: Number(values.repeats), giveLanguage: setting.giveLanguage };
const set = recordings.map(({ name, language, kind, seconds, text, words }) => {
  return { name, language, kind, seconds, words: text?.split(/\s+/).length ?? 0, timedWords: words.length };
});
const output = values.output ?? join(root, 'bench', 'results', `real-${date.slice(0, 10)}.json`);
const about = { date, commit, machine, settings, set };
/** The rows by system. With --add, those of an earlier run are kept unless they are measured again. */
const rows = new Map<string, Row>();
if (values.add && existsSync(output)) {
  const earlier = JSON.parse(readFileSync(output, 'utf8')) as RealResult;
  if (JSON.stringify([earlier.set, earlier.settings]) !== JSON.stringify([set, settings])) {
    throw new Error(`${output} was measured with other recordings or settings; choose another --output.`);
  }
  for (const row of earlier.rows) rows.set(row.name, row);
}

function store(row: Row): void {
  rows.set(row.name, row);
  mkdirSync(dirname(output), { recursive: true });
  writeFileSync(output, `${JSON.stringify({ ...about, rows: [...rows.values()] }, null, 1)}\n`);
}

const all = systems();
const results = new Map<string, SystemRun>();
const missing = new Set<string>();
// The systems run in turns, so that disturbances affect all of them alike.
for (let round = 0; round < settings.repeats; ++round) {
  for (const system of all) {
    const { name } = system;
    if (missing.has(name)) continue;
    const start = performance.now();
    const load = Number(loadavg()[0].toFixed(1));
    try {
      if ('missing' in system) throw new Error(system.missing);
      const run = merge(results.get(name), await system.run(recordings));
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
