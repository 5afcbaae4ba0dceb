/** `npm run bench -- decode`: searches, batches and words, beside transformers, in one run on the same pinned cores. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { writeRandomCheckpoint } from './random-checkpoint.js';

export interface DecodeSettings {
  models: readonly string[];
  threads: string;
  repeats: string;
  python: string;
  /** Runs a command on the pinned cores and gives the JSON that it prints; null where it cannot. */
  pinned: (command: string[]) => unknown;
}

/** Milliseconds a token and window, by system and way. */
export function measureDecoding({ models, threads, repeats, python, pinned }: DecodeSettings) {
  const measured: { model: string; dtype: string; system: string; millisecondsPerToken: Record<string, number> }[] = [];
  const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
  try {
    for (const model of models) {
      const checkpoint = writeRandomCheckpoint(join(folder, model), model);
      for (const dtype of ['bfloat16', 'float32']) {
        const common = ['--dtype', dtype, '--threads', threads, '--repeats', repeats];
        const systems = {
          onehead: [process.execPath, 'bench/measure-decode.mjs', '--model', checkpoint, ...common],
          transformers: [python, 'bench/peers/transformers_decode.py', '--model', model, ...common],
        };
        for (const [system, command] of Object.entries(systems)) {
          const figures = pinned(command) as Record<string, number> | null;
          if (!figures) continue;
          measured.push({ model, dtype, system, millisecondsPerToken: figures });
          for (const [way, milliseconds] of Object.entries(figures)) {
            console.log(
              `${model.padEnd(6)} ${dtype.padEnd(9)} ${system.padEnd(13)} ${way.padEnd(26)} ${milliseconds.toFixed(3).padStart(9)}`,
            );
          }
        }
      }
      rmSync(checkpoint, { recursive: true });
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return measured;
}
