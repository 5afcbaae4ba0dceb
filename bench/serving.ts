/**
 * `npm run bench -- serving`: measures concurrent callers of a model.
 *
 * - closed loops: each caller sends the next clip when it has the text of the previous one
 * - random arrivals (a Poisson process) at shares of the capacity, which is the rate of the closed loop
 * - both with short clips, with mixed ones, and while a long recording is transcribed
 *
 * Prints a table, and stores JSON.
 *
 *   --model DIR          a checkpoint (default: the bundled model)
 *   --random NAME        instead of --model: random weights of this size, such as large-v3
 *   --tokens N           with --random: tokens of each text (default: 20)
 *   --audio DIR          recordings of which clips are made: wav, flac, mp3, ... (default: the held-out recordings)
 *   --before DIR         another build of the package, which is measured too, with `batch` instead of `windows`
 *   --peer DIR           a checkpoint in CTranslate2's format, for faster-whisper
 *   --python PYTHON      a Python with faster-whisper (default: python3)
 *   --capacity N         clips of 5 s per second, for random arrivals at the same rates on several devices (default: 0,
 *                        which measures it)
 *   --shares X,...       shares of the capacity; '' for no random arrivals (default: 0.5,0.8,0.95)
 *   --windows N,...      (default: 8)
 *   --context NAME,...   audioContext: full, fit (default: full)
 *   --callers N,...      (default: 1,8,32,64)
 *   --seconds N          duration of each measurement (default: 10)
 *   --device cpu         or cpu,cpu
 *   --threads N          threads of each device
 *   --jobs               prints the device's jobs after each row, and where the device was idle
 *                        (bench/serving/jobs.ts); measures the source instead of the compiled package
 *   --only TEXT          only rows with this text in clips and arrivals, such as '5 s 8 callers'
 *   --dtype TYPE  --output FILE
 */
import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';
import { parseArgs } from 'node:util';
import { joinSamples, readSamples } from '../lib/audio/join.js';
import type * as Onehead from '../lib/index.js';
import { whisperConfig } from '../lib/profiler/measuring/shapes.js';
import { randomNumbers } from '../test/random.js';
import { addOtherFiles, writeRandomCheckpoint } from './random-checkpoint.js';
import { DeviceJobs } from './serving/jobs.js';
import { type Arrivals, closedLoop, type Measured, poisson, steps, warmUp } from './serving/load.js';
import { measurePeer } from './serving/peer.js';

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    model: { type: 'string' },
    random: { type: 'string' },
    tokens: { type: 'string', default: '20' },
    audio: { type: 'string' },
    before: { type: 'string' },
    peer: { type: 'string' },
    python: { type: 'string', default: 'python3' },
    windows: { type: 'string', default: '8' },
    context: { type: 'string', default: 'full' },
    callers: { type: 'string', default: '1,8,32,64' },
    shares: { type: 'string', default: '0.5,0.8,0.95' },
    capacity: { type: 'string', default: '0' },
    seconds: { type: 'string', default: '10' },
    device: { type: 'string', default: 'cpu' },
    threads: { type: 'string' },
    dtype: { type: 'string' },
    jobs: { type: 'boolean', default: false },
    only: { type: 'string' },
    output: { type: 'string' },
  },
});

const sampleRate = 16000;
const root = new URL('..', import.meta.url).pathname;
const milliseconds = 1000 * Number(values.seconds);
const contexts = values.context.split(',') as ('full' | 'fit')[];
const list = (text: string) => (text === '' ? [] : text.split(',').map(Number));

/** The samples of all recordings. */
async function recordings(): Promise<Float32Array[]> {
  const folder = values.audio ?? join(root, 'test/fixtures/heldout');
  const files = readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((file) => /\.(wav|flac|mp3|ogg|opus|m4a)$/.test(file))
    .sort();
  const all: Float32Array[] = [];
  for (const file of files) all.push(await readSamples(join(folder, file), { sampleRate }));
  if (all.length === 0) throw new Error(`${folder} contains no recordings.`);
  return all;
}

/**
 * Reproducible clips of random lengths. Each consists of whole recordings, so that no words are cut except at the end.
 */
function clips(all: readonly Float32Array[], shortest: number, longest: number): Float32Array[] {
  const random = randomNumbers(1);
  const fitting = all.filter(({ length }) => length >= shortest * sampleRate && length <= longest * sampleRate);
  return Array.from({ length: 200 }, (_, index) => {
    if (fitting.length > 3 && longest < 2 * shortest + 1) return fitting[index % fitting.length];
    const minLength = (shortest + random() * (longest - shortest)) * sampleRate;
    const parts: Float32Array[] = [];
    for (let length = 0; length < minLength; length += parts.at(-1)!.length) {
      parts.push(all[Math.floor(random() * all.length)]);
    }
    return joinSamples(parts).subarray(0, longest * sampleRate);
  });
}

/**
 * Random weights write no timestamps, never end a text, and fail all thresholds. A short window's text
 * (`--context fit`) always has thresholds, so they are numbers that any text passes, except that a text must not repeat
 * itself.
 */
const randomOptions = {
  maxNewTokens: Number(values.tokens),
  timestamps: 'none',
  temperature: 0,
  noRepeatNgramSize: 1,
  compressionRatioThreshold: 1e6,
  logProbabilityThreshold: -1e6,
  noSpeechThreshold: null,
  noSpeechRule: 'openai',
  recoverSpeech: false,
} as const;
let checkpoint = values.model;
if (values.random !== undefined) {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
  process.once('exit', () => rmSync(folder, { recursive: true, force: true })); // gigabytes, also after an error
  checkpoint = writeRandomCheckpoint(join(folder, values.random), values.random);
  await addOtherFiles(checkpoint, whisperConfig(values.random));
}

interface Row extends Measured {
  system: string;
  windows: number;
  context: 'full' | 'fit';
  load: string;
  arrivals: string;
}

/** Whether `--only` selects a row. */
const isSelected = (load: string, arrivals: string) =>
  values.only === undefined || `${load} ${arrivals}`.includes(values.only);
/** The selected numbers of callers for a kind of clips. */
const callersOf = (load: string) => list(values.callers).filter((callers) => isSelected(load, `${callers} callers`));

const jobs = values.jobs ? new DeviceJobs() : null;
const rows: Row[] = [];
/** Peers that could not be measured, with the reason. */
const missing: { system: string; load: string; missing: string }[] = [];
const all = await recordings();
const longRecording = joinSamples(clips(all, 20, 30)).subarray(0, 600 * sampleRate);
const kinds = {
  '2-4 s': clips(all, 2, 4),
  '5 s': clips(all, 5, 5.5),
  '1-30 s': clips(all, 1, 30),
  // An upper bound: equal clips never wait for each other. Mixed clips should decode nearly as many tokens per second.
  'all alike': clips(all, 20, 20.5).slice(0, 1),
};

function print(row: Row): void {
  const cells = [
    row.system.padEnd(19),
    String(row.windows).padStart(3),
    row.context.padEnd(7),
    row.load.padEnd(26),
    row.arrivals.padEnd(18),
    row.requestsPerSecond.toFixed(1).padStart(8),
    row.audioSecondsPerSecond.toFixed(1).padStart(8),
    ...[row.p50, row.p95, row.p99].map((time) => time.toFixed(0).padStart(7)),
    (row.meanRows?.toFixed(1) ?? '-').padStart(6),
    (row.tokensPerSecond?.toFixed(0) ?? '-').padStart(9),
    (row.meanPositions?.toFixed(0) ?? '-').padStart(7),
    (row.encodedAgain?.toFixed(0) ?? '-').padStart(6),
    (row.hostShare === undefined ? '-' : `${(100 * row.hostShare).toFixed(1)}%`).padStart(7),
    row.loopDelay.toFixed(1).padStart(7),
  ];
  console.log(cells.join(' '));
}

/** Measures all kinds of clips and arrivals with a model. */
async function measure(whisper: Onehead.Whisper, about: Pick<Row, 'system' | 'windows' | 'context'>): Promise<void> {
  const add = async (name: string, arrivals: string, run: () => Promise<Measured>) => {
    if (!isSelected(name, arrivals)) return null;
    jobs?.clear();
    const row = { ...about, load: name, arrivals, ...(await run()) };
    rows.push(row);
    print(row);
    jobs?.print(row.requests);
    return row;
  };
  const weightOptions = values.random === undefined ? {} : randomOptions;
  // Another build may not know the option.
  const context = about.context === 'full' ? {} : { audioContext: about.context };
  const send = (samples: Float32Array, options: object = {}) =>
    whisper.transcribe(
      { samples, sampleRate },
      { language: 'en', batched: false, ...context, ...weightOptions, ...options },
    );
  const figures = () => (whisper.model as { figures?: typeof whisper.model.figures }).figures?.();
  const arrivals: Arrivals = { milliseconds, sampleRate, send, figures };
  // Warm-up: programs are recorded when they are first used, and those of large batches only with many callers.
  for (const [name, chosen] of Object.entries(kinds)) {
    for (const callers of callersOf(name)) await warmUp(chosen, callers, send);
  }
  const givenCapacity = Number(values.capacity);
  let capacity = givenCapacity;
  for (const [name, chosen] of Object.entries(kinds)) {
    for (const callers of list(values.callers)) {
      const row = await add(name, `${callers} callers`, () => closedLoop(chosen, callers, arrivals));
      if (name === '5 s' && row && givenCapacity === 0) capacity = Math.max(capacity, row.requestsPerSecond);
    }
  }
  for (const share of list(values.shares)) {
    if (capacity === 0) break;
    const rate = share * capacity;
    const text = `${100 * share}% of capacity`;
    await add('5 s', text, () => poisson(kinds['5 s'], rate, arrivals));
    await add('5 s with a long one', text, () => poisson(kinds['5 s'], rate, arrivals, longRecording));
  }
  await add('a long recording', 'alone', () => closedLoop([longRecording], 1, arrivals));
  for (const rows of new Set([1, Math.min(8, about.windows)])) {
    await add('steps of long texts', `${rows} at once`, () => steps(whisper.model, longRecording, rows, arrivals));
  }
}

console.log(
  'system              win context load                       arrivals                req/s  audio/s    p50     p95     p99   rows  tokens/s pos/win  again    host    loop',
);

const systems: [string, string][] = [['onehead', join(root, values.jobs ? 'lib/index.ts' : 'dist/index.js')]];
if (values.before) systems.push(['before', join(values.before, 'dist/index.js')]);
for (const [system, path] of systems) {
  const { Whisper } = (await import(pathToFileURL(path).href)) as typeof Onehead;
  for (const windows of list(values.windows)) {
    const threads = values.threads === undefined ? undefined : Number(values.threads);
    const counts = system === 'before' ? { batch: windows } : { windows, rows: Math.max(16, windows) };
    const load = {
      device: values.device.includes(',') ? values.device.split(',') : values.device,
      threads,
      dtype: values.dtype as 'auto' | undefined,
      ...counts,
    };
    const whisper = await Whisper.load(checkpoint, load);
    try {
      for (const context of system === 'before' ? contexts.slice(0, 1) : contexts) {
        await measure(whisper, { system, windows, context });
      }
    } finally {
      whisper.dispose();
    }
  }
}

if (values.peer) {
  const settings = {
    python: values.python,
    model: values.peer,
    threads: Number(values.threads ?? cpus().length),
    seconds: Number(values.seconds),
  };
  for (const [load, chosen] of Object.entries(kinds)) {
    const callers = callersOf(load);
    if (callers.length === 0) continue;
    for await (const found of measurePeer(chosen.slice(0, 50), { ...settings, callers })) {
      if ('missing' in found) {
        missing.push({ system: 'faster-whisper int8', load, missing: found.missing });
        console.log(`faster-whisper could not be measured further: ${found.missing}.`);
        break;
      }
      const { callers: count, ...measured } = found;
      const about = { system: 'faster-whisper int8', windows: 1, context: 'full' as const, loopDelay: 0 };
      const row = { ...about, load, arrivals: `${count} callers`, ...measured };
      rows.push(row);
      print(row);
    }
  }
}

if (values.output) {
  mkdirSync(dirname(values.output), { recursive: true });
  const machine = { cpu: cpus()[0].model, cores: cpus().length, node: process.version };
  const { random, tokens, windows, context, callers, seconds, device, threads, dtype } = values;
  const about = {
    date: new Date().toISOString().slice(0, 10),
    machine,
    random,
    tokens: random === undefined ? undefined : tokens,
    windows,
    context,
    callers,
    seconds,
    device,
    threads,
    dtype,
  };
  writeFileSync(values.output, `${JSON.stringify({ ...about, rows, missing }, null, 1)}\n`);
}
