/** The systems of `npm run bench -- cpu`: each measures one checkpoint in a process of its own on the same pinned cores. */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { watched } from '../watched.js';

export interface Figures {
  logMelMilliseconds?: number;
  encoderMilliseconds: number;
  /** By the number of tokens that are decoded, from a window whose encoder output is there. */
  decodeMillisecondsPerToken: Record<string, number>;
  /** The most that the process held. */
  peakMemoryMiB: number;
}

export interface System {
  name: string;
  dtype: string;
  /** Throws an Error that says why there are no figures. */
  measure: (model: Model) => Promise<Figures>;
}

export interface Setting {
  threads: number;
  cores: string;
  repeats: number;
  /** Computing time in place of time by the clock. */
  cpuTime: boolean;
  python: string;
  /** whisper.cpp's folder, built. */
  whisperCpp?: string;
}

/** What is measured. */
export interface Model {
  name: string;
  /** A checkpoint of safetensors with its tokenizer. */
  checkpoint: string;
  /** A folder for peers' forms of it, which stay between rounds. */
  converted: string;
}

const root = new URL('../..', import.meta.url).pathname;
const lastLine = (text: string) => text.trim().split('\n').at(-1) ?? '';

function run(command: readonly string[]): string {
  const { status, stdout, stderr, error } = spawnSync(command[0], command.slice(1), { encoding: 'utf8', cwd: root });
  if (status !== 0) throw new Error(lastLine(stderr ?? '') || error?.message || `${command[0]} ended with ${status}`);
  return stdout;
}

/** The JSON that a command prints last, run on the pinned cores. */
const pinned = ({ cores }: Setting, command: readonly string[]): Figures =>
  JSON.parse(lastLine(run(['taskset', '-c', cores, ...command]))) as Figures;

const options = ({ threads, repeats, cpuTime }: Setting, dtype: string) => [
  ...['--dtype', dtype, '--threads', String(threads), '--repeats', String(repeats)],
  ...(cpuTime ? ['--cpu-time'] : []),
];

function onehead(dtype: string, setting: Setting): System {
  return {
    name: 'onehead',
    dtype,
    measure: async ({ checkpoint }) => {
      const script = [process.execPath, 'bench/measure.mjs', '--model', checkpoint];
      return pinned(setting, [...script, ...options(setting, dtype)]);
    },
  };
}

/** A script of bench/peers on what `convert` makes of the checkpoint, once. */
function pythonPeer(
  name: string,
  dtype: string,
  script: string,
  setting: Setting,
  convert: (model: Model) => string,
): System {
  return {
    name,
    dtype,
    measure: async (model) =>
      pinned(setting, [setting.python, `bench/peers/${script}`, convert(model), ...options(setting, dtype)]),
  };
}

/** What `make` writes to a path, made once. */
function once(path: string, make: () => void): string {
  if (!existsSync(path)) make();
  return path;
}

/** The checkpoint as faster-whisper and whisper.cpp load it. */
function peersFiles({ checkpoint, converted }: Model, { python }: Setting): string {
  once(join(converted, 'ggml-f16.bin'), () => run([python, 'bench/peers/checkpoints.py', checkpoint, converted]));
  return converted;
}

function whisperCpp(dtype: 'f16' | 'q8_0', setting: Setting): System {
  const audio = join(root, 'models/micro/sample.flac');
  return {
    name: 'whisper.cpp',
    dtype,
    measure: async (model) => {
      if (!setting.whisperCpp) throw new Error('name its folder, built, with --whisper-cpp');
      const program = (name: string) => join(setting.whisperCpp!, 'build/bin', name);
      const folder = peersFiles(model, setting);
      const file = once(join(folder, `ggml-${dtype}.bin`), () =>
        run([program('whisper-quantize'), join(folder, 'ggml-f16.bin'), join(folder, `ggml-${dtype}.bin`), dtype]),
      );
      const greedy = ['--beam-size', '1', '--best-of', '1', '--no-fallback', '--language', 'en'];
      const figures: Figures = {
        encoderMilliseconds: Number.POSITIVE_INFINITY,
        decodeMillisecondsPerToken: {},
        peakMemoryMiB: 0,
      };
      for (let repeat = 0; repeat < Math.max(1, setting.repeats / 2); ++repeat) {
        const { peak, cpuSeconds, printed } = await watched([
          ...['taskset', '-c', setting.cores, program('whisper-cli'), '--model', file, '--file', audio],
          ...['--threads', String(setting.threads), ...greedy],
        ]);
        // `NAME time = MILLISECONDS ms / RUNS runs`
        const time = (name: string) => new RegExp(`${name} time =\\s*([\\d.]+) ms /\\s*(\\d+) runs`).exec(printed);
        const [encode, decode] = [time('encode'), time('decode')];
        const total = /total time =\s*([\d.]+) ms/.exec(printed);
        if (!encode || !decode || !total) throw new Error('it printed no times');
        // It prints times by the clock, which its computing time is shared by.
        const part = setting.cpuTime ? (1000 * cpuSeconds) / Number(total[1]) : 1;
        const [, , tokens] = decode;
        const each = ([, milliseconds, runs]: RegExpExecArray) => (part * Number(milliseconds)) / Number(runs);
        const before = figures.decodeMillisecondsPerToken[tokens] ?? Number.POSITIVE_INFINITY;
        figures.encoderMilliseconds = Math.min(figures.encoderMilliseconds, each(encode));
        figures.decodeMillisecondsPerToken[tokens] = Math.min(before, each(decode));
        figures.peakMemoryMiB = peak / 2 ** 20;
      }
      return figures;
    },
  };
}

/** All systems, in the order in which they take turns. */
export function systems(setting: Setting): System[] {
  const checkpoint = (model: Model) => model.checkpoint;
  const onnx = (model: Model) => {
    const folder = join(model.converted, 'onnx');
    once(join(folder, 'step.int8.onnx'), () => {
      mkdirSync(folder, { recursive: true });
      run([setting.python, 'bench/peers/export_onnx.py', model.checkpoint, folder, '--quantize', 'int8']);
    });
    return folder;
  };
  const ct2 = (model: Model) => join(peersFiles(model, setting), 'ct2');
  return [
    onehead('int8', setting),
    pythonPeer('faster-whisper', 'int8', 'ctranslate2_cpu.py', setting, ct2),
    pythonPeer('onnxruntime', 'int8', 'onnxruntime_cpu.py', setting, onnx),
    whisperCpp('q8_0', setting),
    onehead('bfloat16', setting),
    pythonPeer('transformers', 'bfloat16', 'transformers_cpu.py', setting, checkpoint),
    whisperCpp('f16', setting),
    onehead('float32', setting),
    pythonPeer('transformers', 'float32', 'transformers_cpu.py', setting, checkpoint),
    pythonPeer('onnxruntime', 'float32', 'onnxruntime_cpu.py', setting, onnx),
    pythonPeer('faster-whisper', 'float32', 'ctranslate2_cpu.py', setting, ct2),
  ];
}
