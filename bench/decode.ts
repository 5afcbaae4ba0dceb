/**
 * `npm run bench -- decode`: measures decoding with several search methods, batches and word times, and transformers on
 * the same pinned cores if --python has it. Prints milliseconds per token and window (the minimum of the repeats), and
 * stores JSON.
 *
 *   --models LIST     sizes with random weights (default: tiny,base)
 *   --tokens N        tokens of each text (default: 64)
 *   --python FILE     a Python with torch and transformers (default: ONEHEAD_PYTHON, else python3)
 *   --threads N       (default: 2)
 *   --cores LIST      cores to which processes are pinned (default: the last ones)
 *   --repeats N       (default: 5)
 *   --output FILE
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { whisperConfig } from '../lib/profiler/measuring/shapes.js';
import { commit, describeCpu, lastCores, root } from './machine.js';
import { lastLine, run } from './programs.js';
import { addOtherFiles, writeRandomCheckpoint } from './random-checkpoint.js';

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

const threads = Number(values.threads);
const cores = values.cores ?? lastCores(threads);

/** Runs a command on the pinned cores; null if it fails. */
function runPinned(command: string[]): Record<string, number> | null {
  try {
    return JSON.parse(lastLine(run(['taskset', '-c', cores, ...command]))) as Record<string, number>;
  } catch (error) {
    console.error(`  not measured: ${command.slice(0, 2).join(' ')}: ${(error as Error).message}`);
    return null;
  }
}

const measured: { model: string; dtype: string; system: string; millisecondsPerToken: Record<string, number> }[] = [];
const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
try {
  for (const model of values.models.split(',')) {
    const checkpoint = writeRandomCheckpoint(join(folder, model), model);
    await addOtherFiles(checkpoint, whisperConfig(model));
    for (const dtype of ['bfloat16', 'float32']) {
      const common = [
        ...['--dtype', dtype, '--threads', values.threads],
        ...['--repeats', values.repeats, '--tokens', values.tokens],
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

const settings = { threads, repeats: Number(values.repeats), tokens: Number(values.tokens), weights: 'random' };
const date = new Date().toISOString();
const output = values.output ?? join(root, 'bench', 'results', `decode-${date.slice(0, 10)}.json`);
mkdirSync(join(output, '..'), { recursive: true });
const result = { date, commit: commit(), machine: describeCpu(), settings, measured };
writeFileSync(output, `${JSON.stringify(result, null, 2)}\n`);
console.log(`stored in ${output}`);
