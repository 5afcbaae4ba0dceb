/**
 * `npm run bench -- decode`: measures decoding with several search methods, batches and word times, and transformers on
 * the same pinned cores if --python has it. Prints milliseconds per token and window (the minimum of the repeats), and
 * stores JSON.
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
    models: { type: 'string', default: 'tiny,base' },
    threads: { type: 'string', default: '2' },
    cores: { type: 'string' },
    repeats: { type: 'string', default: '5' },
    tokens: { type: 'string', default: '64' },
    python: { type: 'string', default: process.env.ONEHEAD_PYTHON ?? 'python3' },
    output: { type: 'string' },
  },
});

const root = new URL('..', import.meta.url).pathname;
const threads = Number(values.threads);
const cores = values.cores ?? Array.from({ length: threads }, (_, i) => cpus().length - threads + i).join(',');

/** Runs a command on the pinned cores; null if it fails. */
function runPinned(command: string[]): Record<string, number> | null {
  const { status, stdout, stderr } = spawnSync('taskset', ['-c', cores, ...command], { encoding: 'utf8', cwd: root });
  if (status !== 0) {
    console.error(`  not measured: ${command.slice(0, 2).join(' ')}: ${stderr.trim().split('\n').at(-1)}`);
    return null;
  }
  return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, number>;
}

const measured: { model: string; dtype: string; system: string; millisecondsPerToken: Record<string, number> }[] = [];
const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
try {
  for (const model of values.models.split(',')) {
    const checkpoint = writeRandomCheckpoint(join(folder, model), model);
    for (const dtype of ['bfloat16', 'float32']) {
      const common = [
        '--dtype',
        dtype,
        '--threads',
        values.threads,
        '--repeats',
        values.repeats,
        '--tokens',
        values.tokens,
      ];
      const systems = {
        onehead: [process.execPath, 'bench/measure-decode.mjs', '--model', checkpoint, ...common],
        transformers: [values.python, 'bench/peers/transformers_decode.py', '--model', model, ...common],
      };
      for (const [system, command] of Object.entries(systems)) {
        const figures = runPinned(command);
        if (!figures) continue;
        measured.push({ model, dtype, system, millisecondsPerToken: figures });
        for (const [method, milliseconds] of Object.entries(figures)) {
          const cells = [model.padEnd(6), dtype.padEnd(9), system.padEnd(13), method.padEnd(26)];
          console.log(`${cells.join(' ')} ${milliseconds.toFixed(3).padStart(9)}`);
        }
      }
    }
    rmSync(checkpoint, { recursive: true });
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}

const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
const { cpu, onednn } = Device.information();
const machine = { cpu: cpus()[0].model, cores: cpus().length, kernels: cpu.kernels, onednn: onednn.version };
const settings = { threads, repeats: Number(values.repeats), tokens: Number(values.tokens), weights: 'random' };
const date = new Date().toISOString();
const output = values.output ?? join(root, 'bench', 'results', `decode-${date.slice(0, 10)}.json`);
mkdirSync(join(output, '..'), { recursive: true });
writeFileSync(output, `${JSON.stringify({ date, commit, machine, settings, measured }, null, 2)}\n`);
console.log(`stored in ${output}`);
