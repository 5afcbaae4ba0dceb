/** The systems of `npm run bench -- real`, each run in a process of its own on the same pinned cores. */
import { spawn, spawnSync } from 'node:child_process';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import type { TimedWord } from '../../lib/evaluate/alignments.js';
import { watched } from '../watched.js';
import type { RealRecording } from './recordings.js';

/** What a system gave for a recording. */
export interface Heard {
  name: string;
  /** True of the pass in which times of words were asked for. */
  words: boolean;
  /** Seconds that it took. */
  seconds: number;
  /** Seconds that its threads computed, together. */
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
  runs: Heard[];
  /** Bytes. */
  memory: number;
  /** Seconds. */
  load: number;
}

/** What is transcribed: each recording, then those whose words' times are known, with times of words. */
interface Piece {
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
  /** Tell each system the recording's language; else it finds it. */
  giveLanguage: boolean;
}

const root = new URL('../..', import.meta.url).pathname;

function pieces(recordings: readonly RealRecording[], { giveLanguage }: Setting): Piece[] {
  const piece = (words: boolean) => (recording: RealRecording) => ({
    name: recording.name,
    file: recording.file,
    language: giveLanguage ? recording.language : null,
    words,
  });
  return [...recordings.map(piece(false)), ...recordings.filter(({ words }) => words.length > 0).map(piece(true))];
}

/** Runs a command on the pinned cores and gives the JSON lines that it prints. */
async function lines(command: readonly string[], { cores }: Setting): Promise<Record<string, unknown>[]> {
  const child = spawn('taskset', ['-c', cores, ...command], { cwd: root, stdio: ['ignore', 'pipe', 'pipe'] });
  let complaint = '';
  child.stderr.on('data', (data) => {
    complaint = (complaint + data).slice(-4000);
  });
  const printed: Record<string, unknown>[] = [];
  const ended = new Promise<number | null>((resolve, reject) => child.on('error', reject).on('close', resolve));
  for await (const line of createInterface({ input: child.stdout })) {
    if (line.startsWith('{')) printed.push(JSON.parse(line) as Record<string, unknown>);
  }
  const status = await ended;
  if (status !== 0) throw new Error(complaint.trim().split('\n').at(-1) || `it ended with status ${status}`);
  return printed;
}

/** Runs a driver that takes a job's file and prints {load}, a line for each piece, and {memory}. */
async function drive(command: readonly string[], job: object, setting: Setting): Promise<SystemRun> {
  const folder = mkdtempSync(join(tmpdir(), 'onehead-real-'));
  try {
    const file = join(folder, 'job.json');
    writeFileSync(file, JSON.stringify(job));
    const printed = await lines([...command, file], setting);
    const figure = (name: string) => Number(printed.find((line) => name in line)?.[name]);
    return {
      runs: printed.filter((line) => 'name' in line) as unknown as Heard[],
      memory: figure('memory'),
      load: figure('load'),
    };
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}

/** A way to run onehead: another build of it, options of loading, and of transcribing. */
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
        recordings: pieces(recordings, setting),
      };
      return drive([process.execPath, join(root, 'bench/measure-real.mjs')], job, setting);
    },
  };
}

/** A peer in Python; `compute`: what it computes in. */
export function pythonPeer(
  name: string,
  python: string,
  peer: string,
  model: string,
  compute: string,
  setting: Setting,
): System {
  return {
    name,
    run: (recordings) => {
      const job = { model, compute, threads: setting.threads, recordings: pieces(recordings, setting) };
      return drive([python, join(root, 'bench/peers/real.py'), peer], job, setting);
    },
  };
}

interface CppOutput {
  result: { language: string };
  transcription: { offsets: { from: number; to: number }; text: string }[];
}

/** whisper.cpp's command line, once for each recording; the time that it takes to load the model is not counted. */
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
        for (const piece of pieces(recordings, setting)) {
          const output = join(work, 'output');
          const words = piece.words ? ['--max-len', '1', '--split-on-word'] : [];
          const options = [
            '--threads',
            String(setting.threads),
            '--beam-size',
            '1',
            '--max-context',
            '0',
            '--output-json',
          ];
          const about = ['--language', piece.language ?? 'auto', '--output-file', output, '--file', piece.file];
          const { peak, cpuSeconds, printed } = await watched([
            'taskset',
            '-c',
            setting.cores,
            program,
            '--model',
            model,
            ...options,
            ...words,
            ...about,
          ]);
          const time = (what: string) => Number(new RegExp(`${what} time =\\s*([\\d.]+) ms`).exec(printed)?.[1]) / 1000;
          run.memory = Math.max(run.memory, peak);
          run.load = time('load');
          const { result, transcription } = JSON.parse(readFileSync(`${output}.json`, 'utf8')) as CppOutput;
          const timed = transcription.map(({ offsets, text }) => ({
            word: text,
            start: offsets.from / 1000,
            end: offsets.to / 1000,
          }));
          run.runs.push({
            name: piece.name,
            words: piece.words,
            seconds: time('total') - time('load'),
            cpuSeconds: cpuSeconds - time('load'),
            text: timed.map(({ word }) => word).join(''),
            language: result.language,
            segments: [{ seek: 0, start: 0, end: 0, temperature: null, words: piece.words ? timed : undefined }],
          });
        }
        return run;
      } finally {
        rmSync(work, { recursive: true, force: true });
      }
    },
  };
}

/** The Python of a venv that holds the peers: the one that is named, else made in `cache`, once. Throws where that cannot be. */
export function peersPython(named: string | undefined, cache: string): string {
  const folder = named ?? join(cache, 'venv');
  const python = join(folder, 'bin/python');
  if (named !== undefined || existsSync(join(folder, 'complete'))) {
    if (!existsSync(python)) throw new Error(`there is no ${python}`);
    return python;
  }
  console.log(`installing the peers into ${folder} (minutes, 5 GB)`);
  mkdirSync(cache, { recursive: true });
  const requirements = join(root, 'bench/peers/requirements.txt');
  for (const command of [
    ['python3', '-m', 'venv', folder],
    [python, '-m', 'pip', 'install', '--quiet', '--requirement', requirements],
  ]) {
    const { status, stderr, error } = spawnSync(command[0], command.slice(1), { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr?.trim().split('\n').at(-1) || `${command[0]}: ${error?.message}`);
  }
  writeFileSync(join(folder, 'complete'), '');
  return python;
}
