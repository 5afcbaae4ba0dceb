/** `npm run bench -- NAME [options]`: each benchmark is a file of its own, which says at its top what it measures and takes. */
const benchmarks: Record<string, () => Promise<unknown>> = {
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
try {
  await benchmarks[name]();
} catch (error) {
  if (!String((error as NodeJS.ErrnoException).code).startsWith('ERR_PARSE_ARGS')) throw error;
  console.error(`${(error as Error).message.split('. ')[0]}. bench/${name}.ts says at its top what it takes.`);
  process.exitCode = 2;
}
