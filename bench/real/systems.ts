/** The systems of `npm run bench -- real`. Each runs in a separate process on the pinned cores. */
import { spawn } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TimedWord } from '../../lib/evaluate/alignments.js';
import { root } from '../machine.js';
import { failure, runMonitored, run as runProgram } from '../programs.js';
import type { RealRecording } from './recordings.js';

/** A system's transcription of a recording. */
export interface RecordingRun {
  name: string;
  /** True if word times were requested. */
  words: boolean;
  /** Wall time. */
  seconds: number;
  /** CPU time. */
  cpuSeconds: number;
  text: string;
  language: string | null;
  segments: {
    seek: number;
    start: number;
    end: number;
    temperature: number | null;
    words?: TimedWord[];
  }[];
  warnings?: string[];
}

export interface SystemRun {
  runs: RecordingRun[];
  /** Peak memory in bytes. */
  memory: number;
  /** Seconds for loading the model. */
  load: number;
}

/** A transcription to run. */
interface Task {
  name: string;
  file: string;
  language: string | null;
  words: boolean;
}

export interface System {
  name: string;
  run: (recordings: readonly RealRecording[]) => Promise<SystemRun>;
}

export interface Setting {
  cores: string;
  threads: number;
  /** Passes the recording's language to the systems; otherwise they detect it. */
  giveLanguage: boolean;
}

/** All recordings, and then, with word times, those that have reference word times. */
function tasksOf(recordings: readonly RealRecording[], { giveLanguage }: Setting): Task[] {
  const task = (words: boolean) => (recording: RealRecording) => ({
    name: recording.name,
    file: recording.file,
    language: giveLanguage ? recording.language : null,
    words,
  });
  return [...recordings.map(task(false)), ...recordings.filter(({ words }) => words.length > 0).map(task(true))];
}

/** Runs a command on the pinned cores, and parses the lines of JSON that it prints. */
async function jsonLines(command: readonly string[], { cores }: Setting): Promise<Record<string, unknown>[]> {
  const child = spawn('taskset', ['-c', cores, ...command], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let errorOutput = '';
  child.stderr.on('data', (data) => {
    errorOutput = (errorOutput + data).slice(-4000);
  });
  const printed: Record<string, unknown>[] = [];
  const ended = new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('{')) printed.push(JSON.parse(line) as Record<string, unknown>);
  }
  const status = await ended;
  if (status !== 0) throw new Error(failure(errorOutput) || `it exited with status ${status}`);
  return printed;
}

/** Runs a script with a job file as argument. It prints lines of JSON: {load}, one for each task, {memory}. */
async function runJob(command: readonly string[], job: object, setting: Setting): Promise<SystemRun> {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-real-'));
  try {
    const file = join(folder, 'job.json');
    writeFileSync(file, JSON.stringify(job));
    const printed = await jsonLines([...command, file], setting);
    const figure = (name: string) => Number(printed.find((line) => name in line)?.[name]);
    return {
      runs: printed.filter((line) => 'name' in line) as unknown as RecordingRun[],
      memory: figure('memory'),
      load: figure('load'),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A configuration of onehead: the folder of another build, a model, options of loading and of transcription. */
export interface Variant {
  package?: string;
  model?: string;
  load?: object;
  transcribe?: object;
}

export function onehead(name: string, model: string, variant: Variant, setting: Setting): System {
  return {
    name,
    run: (recordings) => {
      const job = {
        package: variant.package ?? root,
        model: variant.model ?? model,
        load: { device: 'cpu', threads: setting.threads, ...variant.load },
        transcribe: variant.transcribe ?? {},
        recordings: tasksOf(recordings, setting),
      };
      return runJob([process.execPath, join(root, 'bench/measure-real.mjs')], job, setting);
    },
  };
}

/** A peer of bench/peers/real.py. `compute` is its compute type. */
interface PythonPeer {
  python: string;
  peer: string;
  model: string;
  compute: string;
}

export function pythonPeer(name: string, { python, peer, model, compute }: PythonPeer, setting: Setting): System {
  return {
    name,
    run: (recordings) => {
      const job = { model, compute, threads: setting.threads, recordings: tasksOf(recordings, setting) };
      return runJob([python, join(root, 'bench/peers/real.py'), peer], job, setting);
    },
  };
}

interface CppOutput {
  result: { language: string };
  transcription: { offsets: { from: number; to: number }; text: string }[];
}

/** whisper.cpp's command line, which is run for each recording. The time for loading the model is not counted. */
export function whisperCpp(name: string, folder: string, model: string, setting: Setting): System {
  const cli = ['build/bin/whisper-cli', 'whisper-cli', 'bin/whisper-cli'].map((path) => join(folder, path));
  return {
    name,
    run: async (recordings) => {
      const program = cli.find((path) => existsSync(path));
      if (!program) throw new Error(`there is no whisper-cli in ${folder}`);
      const work = mkdtempSync(join(tmpdir(), 'onehead-real-'));
      const run: SystemRun = { runs: [], memory: 0, load: 0 };
      try {
        for (const task of tasksOf(recordings, setting)) {
          const output = join(work, 'output');
          const { peak, cpuSeconds, printed } = await runMonitored([
            ...['taskset', '-c', setting.cores, program, '--model', model, '--threads', String(setting.threads)],
            ...['--beam-size', '1', '--max-context', '0', '--output-json', '--output-file', output],
            ...['--language', task.language ?? 'auto', '--file', task.file],
            ...(task.words ? ['--max-len', '1', '--split-on-word'] : []),
          ]);
          const time = (stage: string) =>
            Number(new RegExp(`${stage} time =\\s*([\\d.]+) ms`).exec(printed)?.[1]) / 1000;
          run.memory = Math.max(run.memory, peak);
          run.load = time('load');
          const { result, transcription } = JSON.parse(readFileSync(`${output}.json`, 'utf8')) as CppOutput;
          const timed = transcription.map(({ offsets, text }) => ({
            word: text,
            start: offsets.from / 1000,
            end: offsets.to / 1000,
          }));
          run.runs.push({
            name: task.name,
            words: task.words,
            seconds: time('total') - time('load'),
            cpuSeconds: cpuSeconds - time('load'),
            text: timed.map(({ word }) => word).join(''),
            language: result.language,
            segments: [{ seek: 0, start: 0, end: 0, temperature: null, words: task.words ? timed : undefined }],
          });
        }
        return run;
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    },
  };
}

/** The Python of a venv with the peers: a given one, or one that is created in `cache`. Throws if that fails. */
export function peersPython(venv: string | undefined, cache: string): string {
  const folder = venv ?? join(cache, 'venv');
  const python = join(folder, 'bin/python');
  if (venv !== undefined || existsSync(join(folder, 'complete'))) {
    if (!existsSync(python)) throw new Error(`there is no ${python}`);
    return python;
  }
  console.log(`installing the peers in ${folder} (takes minutes and 5 GB)`);
  mkdirSync(cache, { recursive: true });
  const requirements = join(root, 'bench/peers/requirements.txt');
  for (const command of [
    ['python3', '-m', 'venv', folder],
    [python, '-m', 'pip', 'install', '--quiet', '--requirement', requirements],
  ]) {
    runProgram(command);
  }
  writeFileSync(join(folder, 'complete'), '');
  return python;
}
