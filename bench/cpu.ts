/**
 * `npm run bench -- cpu`: onehead beside what else is installed, in one run on the same pinned cores. Prints a table, stores JSON. ONNX Runtime
 * is measured where ONEHEAD_ONNXRUNTIME names a folder with npm's onnxruntime-node, transformers where --python has it.
 */
import { execFileSync, spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Device } from '../lib/device/device.js';
import { writeRandomCheckpoint } from './random-checkpoint.js';

const { values } = parseArgs({
  allowPositionals: true,
  options: {
    models: { type: 'string', default: 'tiny,base,small' },
    threads: { type: 'string', default: '2' },
    /** Cores to pin to, as taskset takes them; the last ones by default, which others use least. */
    cores: { type: 'string' },
    repeats: { type: 'string', default: '5' },
    /** A Python that has torch and transformers. */
    python: { type: 'string', default: process.env.ONEHEAD_PYTHON ?? 'python3' },
    output: { type: 'string' },
  },
});
interface Figures {
  logMelMilliseconds?: number;
  encoderMilliseconds: number;
  decodeMillisecondsPerToken: Record<string, number>;
  peakMemoryMiB: number;
}

const root = new URL('..', import.meta.url).pathname;
const threads = Number(values.threads);
const cores = values.cores ?? Array.from({ length: threads }, (_, i) => cpus().length - threads + i).join(',');

function pinned(command: string[]): Figures | null {
  const { status, stdout, stderr } = spawnSync('taskset', ['-c', cores, ...command], { encoding: 'utf8', cwd: root });
  if (status !== 0) {
    console.error(`  left out: ${command.slice(0, 2).join(' ')}: ${stderr.trim().split('\n').at(-1)}`);
    return null;
  }
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Figures;
}

const measured: { model: string; system: string; dtype: string; figures: Figures }[] = [];
function measure(model: string, system: string, dtype: string, command: string[]): void {
  const figures = pinned(command);
  if (!figures) return;
  measured.push({ model, system, dtype, figures });
  const { encoderMilliseconds, decodeMillisecondsPerToken: decode, logMelMilliseconds, peakMemoryMiB } = figures;
  const cells = [encoderMilliseconds, decode[25], decode[256], logMelMilliseconds ?? Number.NaN].map((value) =>
    value.toFixed(2).padStart(9),
  );
  console.log(
    `${model.padEnd(6)} ${system.padEnd(13)} ${dtype.padEnd(9)}${cells.join('')}${peakMemoryMiB.toFixed(0).padStart(8)}`,
  );
}

const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
try {
  console.log(
    `${'model'.padEnd(6)} ${'system'.padEnd(13)} ${'dtype'.padEnd(9)}  encoder   tok(25)  tok(256)  log-mel     MiB   (ms, ${threads} threads on cores ${cores})`,
  );
  for (const model of values.models.split(',')) {
    const checkpoint = writeRandomCheckpoint(join(folder, model), model);
    const repeats = ['--threads', String(threads), '--repeats', values.repeats];
    for (const dtype of ['bfloat16', 'float32', 'int8']) {
      measure(model, 'onehead', dtype, [
        process.execPath,
        'bench/measure.mjs',
        '--model',
        checkpoint,
        '--dtype',
        dtype,
        ...repeats,
      ]);
      if (dtype === 'int8') continue; // peers of 8 bits are those of `bench -- real`
      measure(model, 'transformers', dtype, [
        values.python,
        'bench/peers/transformers_cpu.py',
        '--model',
        model,
        '--dtype',
        dtype,
        ...repeats,
      ]);
    }
    if (process.env.ONEHEAD_ONNXRUNTIME) {
      const exported = join(folder, `${model}-onnx`);
      spawnSync(values.python, ['bench/peers/export_onnx.py', '--model', model, exported], {
        cwd: root,
        stdio: 'ignore',
      });
      measure(model, 'onnxruntime', 'float32', [process.execPath, 'bench/peers/onnxruntime.mjs', exported, ...repeats]);
      rmSync(exported, { recursive: true, force: true });
    }
    rmSync(checkpoint, { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
const { cpu, onednn } = Device.information();
const result = {
  date: new Date().toISOString(),
  commit,
  machine: {
    cpu: cpus()[0].model,
    cores: cpus().length,
    kernels: cpu.kernels,
    onednn: onednn.version,
    node: process.version,
  },
  settings: { threads, repeats: Number(values.repeats), window: '30 s', batch: 1, weights: 'random' },
  measured,
};
const output = values.output ?? join(root, 'bench', 'results', `cpu-${result.date.slice(0, 10)}.json`);
mkdirSync(join(output, '..'), { recursive: true });
writeFileSync(output, `${JSON.stringify(result, null, 2)}\n`);
console.log(`stored in ${output}`);
