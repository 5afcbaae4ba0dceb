/**
 * `npm run bench -- NAME [options]`. The comment at the top of each benchmark's file explains it and its options;
 * `--help` prints it.
 */
import { readFileSync } from 'node:fs';

const benchmarks: Record<string, () => Promise<unknown>> = {
  audio: () => import('./audio.js'),
  batch: () => import('./batch.js'),
  cpu: () => import('./cpu.js'),
  decode: () => import('./decode.js'),
  cuda: () => import('./cuda.js'),
  'event-loop': () => import('./event-loop.js'),
  neighbours: () => import('./neighbours.js'),
  operations: () => import('./operations.js'),
  real: () => import('./real.js'),
  server: () => import('./server.js'),
  serving: () => import('./serving.js'),
  timeline: () => import('./timeline.js'),
  together: () => import('./together.js'),
  voice: () => import('./voice.js'),
};

const name = process.argv[2];
if (!Object.hasOwn(benchmarks, name ?? '')) {
  console.error(`Usage: npm run bench -- ${Object.keys(benchmarks).join('|')} [options]`);
  process.exit(2);
}
if (process.argv.includes('--help')) {
  const source = readFileSync(new URL(`${name}.ts`, import.meta.url), 'utf8');
  console.log(
    source
      .slice(0, source.indexOf('*/'))
      .replace(/^(\/\*\*| \*) ?\n?/gm, '')
      .trimEnd(),
  );
  process.exit();
}
try {
  await benchmarks[name]();
} catch (error) {
  if (!String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS')) throw error;
  console.error(`${(error as Error).message.split('. ')[0]}. --help explains the options.`);
  process.exitCode = 2;
}
