/** The systems of `npm run bench -- cpu`. Each measures a checkpoint in a separate process on the pinned cores. */
import { existsSync, mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { root } from '../machine.js';
import { lastLine, run, runMonitored } from '../programs.js';

export interface Figures {
  logMelMilliseconds?: number;
  encoderMilliseconds: number;
  /** By the number of decoded tokens; without the time of the encoder. */
  decodeMillisecondsPerToken: Record<string, number>;
  /** Peak resident memory of the process. */
  peakMemoryMiB: number;
}

export interface System {
  name: string;
  dtype: string;
  /** Rejects with an Error that explains why there are no figures. */
  measure: (model: Model) => Promise<Figures>;
}

export interface Setting {
  threads: number;
  cores: string;
  repeats: number;
  /** Measures CPU time instead of wall time. */
  cpuTime: boolean;
  python: string;
  /** whisper.cpp's folder with the programs built. */
  whisperCpp?: string;
}

/** A model to measure. */
export interface Model {
  name: string;
  /** A Hugging Face folder with safetensors and tokenizer. */
  checkpoint: string;
  /** A folder for the checkpoint in the formats of other programs, which is kept between runs. */
  converted: string;
}

/** Runs a command on the pinned cores, and parses the last line of its output as JSON. */
const runPinned = ({ cores }: Setting, command: readonly string[]): Figures =>
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
      return runPinned(setting, [...script, ...options(setting, dtype)]);
    },
  };
}

/** A script of bench/peers. `convert` returns the checkpoint in the format that it loads. */
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
      runPinned(setting, [setting.python, `bench/peers/${script}`, convert(model), ...options(setting, dtype)]),
  };
}

/** Calls `create` unless the path exists; returns the path. */
function createOnce(path: string, create: () => void): string {
  if (!existsSync(path)) create();
  return path;
}

/** A folder with the checkpoint in the formats of faster-whisper and whisper.cpp. */
function convertForPeers({ checkpoint, converted }: Model, { python }: Setting): string {
  createOnce(join(converted, 'ggml-f16.bin'), () => run([python, 'bench/peers/checkpoints.py', checkpoint, converted]));
  return converted;
}

function whisperCpp(dtype: 'f16' | 'q8_0', setting: Setting): System {
  const audio = join(root, 'models/micro/sample.flac');
  return {
    name: 'whisper.cpp',
    dtype,
    measure: async (model) => {
      if (!setting.whisperCpp) throw new Error('set --whisper-cpp to its folder, with the programs built');
      const program = (name: string) => join(setting.whisperCpp!, 'build/bin', name);
      const folder = convertForPeers(model, setting);
      const file = createOnce(join(folder, `ggml-${dtype}.bin`), () =>
        run([program('whisper-quantize'), join(folder, 'ggml-f16.bin'), join(folder, `ggml-${dtype}.bin`), dtype]),
      );
      const greedy = ['--beam-size', '1', '--best-of', '1', '--no-fallback', '--language', 'en'];
      const figures: Figures = {
        encoderMilliseconds: Number.POSITIVE_INFINITY,
        decodeMillisecondsPerToken: {},
        peakMemoryMiB: 0,
      };
      for (let repeat = 0; repeat < Math.max(1, setting.repeats / 2); ++repeat) {
        const { peak, cpuSeconds, printed } = await runMonitored([
          ...['taskset', '-c', setting.cores, program('whisper-cli'), '--model', file, '--file', audio],
          ...['--threads', String(setting.threads), ...greedy],
        ]);
        // `NAME time = MILLISECONDS ms / RUNS runs`
        const time = (name: string) => new RegExp(`${name} time =\\s*([\\d.]+) ms /\\s*(\\d+) runs`).exec(printed);
        const [encode, decode] = [time('encode'), time('decode')];
        const total = /total time =\s*([\d.]+) ms/.exec(printed);
        if (!encode || !decode || !total) throw new Error('it printed no times');
        // It prints wall times. Its total CPU time is divided in the same proportion.
        const factor = setting.cpuTime ? (1000 * cpuSeconds) / Number(total[1]) : 1;
        const [, , tokens] = decode;
        const timePerRun = ([, milliseconds, runs]: RegExpExecArray) => (factor * Number(milliseconds)) / Number(runs);
        const previous = figures.decodeMillisecondsPerToken[tokens] ?? Number.POSITIVE_INFINITY;
        figures.encoderMilliseconds = Math.min(figures.encoderMilliseconds, timePerRun(encode));
        figures.decodeMillisecondsPerToken[tokens] = Math.min(previous, timePerRun(decode));
        figures.peakMemoryMiB = peak / 2 ** 20;
      }
      return figures;
    },
  };
}

/** All systems, in the order in which they are measured. */
export function systems(setting: Setting): System[] {
  const checkpoint = (model: Model) => model.checkpoint;
  const onnx = (model: Model) => {
    const folder = join(model.converted, 'onnx');
    createOnce(join(folder, 'step.int8.onnx'), () => {
      mkdirSync(folder, { recursive: true });
      run([setting.python, 'bench/peers/export_onnx.py', model.checkpoint, folder, '--quantize', 'int8']);
    });
    return folder;
  };
  const ct2 = (model: Model) => join(convertForPeers(model, setting), 'ct2');
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
