'use strict';
// Joins the modules of dist into a few files, because each module that Node.js loads costs about 30 to 70 KiB of memory
// in addition to its code. The entries keep their names. What several of them use is in dist/parts, so that it exists
// once.
//   npm run build:types
const { buildSync } = require('esbuild');
const { readdirSync, rmSync } = require('node:fs');
const path = require('node:path');

const dist = path.join(__dirname, '..', 'dist');

const entries = [
  // of package.json
  ...['index.js', 'batch/index.js', 'profiler/index.js', 'server/index.js', 'cli/main.js', 'cli/demo.js'],
  // of threads
  ...['worker.js', 'batch/file-write-thread.js'],
  // of benchmarks, which measure the model without the rest
  ...['whisper/decoding/whisper-model.js', 'profiler/measuring/measured-whisper.js'],
].map((file) => path.join(dist, file));

/** Modules that the server's page loads; they import only each other. */
const pageModules = /^formats\/(columns|cues|subtitles|time)\.js$/;

rmSync(path.join(dist, 'parts'), { recursive: true, force: true });
const { metafile } = buildSync({
  entryPoints: entries,
  ...{ outdir: dist, outbase: dist, chunkNames: 'parts/[hash]', allowOverwrite: true, metafile: true },
  ...{ bundle: true, splitting: true, packages: 'external', format: 'esm', platform: 'node', target: 'node20' },
  // Code without other characters takes one byte for each in memory instead of two.
  ...{ charset: 'ascii', legalComments: 'inline', logLevel: 'warning', absWorkingDir: dist },
});
for (const file of readdirSync(dist, { recursive: true })) {
  const isModule = /\.(js|json)$/.test(file) && !file.startsWith('commonjs');
  if (isModule && !pageModules.test(file) && !(file in metafile.outputs)) rmSync(path.join(dist, file));
}
