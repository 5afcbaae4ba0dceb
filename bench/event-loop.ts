/**
 * `npm run bench -- event-loop`: measures the delay of the event loop during requests, and the time of each request.
 * Each case runs in a separate process with the compiled package. Long recordings are created from the held-out ones
 * with ffmpeg. Prints a table, and stores JSON with --output.
 *
 *   --dist DIR        the compiled package, or that of another version for comparison (default: dist)
 *   --cases NAME,...  (default: alone,clips-64,clips-256,opus,m4a,mixed)
 *   --output FILE
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { cpus, tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';

const root = new URL('..', import.meta.url).pathname;
const { values } = parseArgs({
  allowPositionals: true,
  options: {
    dist: { type: 'string', default: join(root, 'dist') },
    cases: { type: 'string', default: 'alone,clips-64,clips-256,opus,m4a,mixed' },
    output: { type: 'string' },
  },
});

const recordings = join(root, 'test/fixtures/heldout');
const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
/** Creates a recording from the held-out ones, with these options of ffmpeg. */
function makeRecording(name: string, ...args: string[]): void {
  const list = join(folder, 'list');
  const files = readdirSync(recordings).filter((file) => file.endsWith('.flac'));
  writeFileSync(
    list,
    files
      .map((file) => `file '${join(recordings, file)}'\n`)
      .join('')
      .repeat(30),
  );
  const command = ['-v', 'error', '-f', 'concat', '-safe', '0', '-i', list, ...args, join(folder, name)];
  const { status, stderr } = spawnSync('ffmpeg', command, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ffmpeg could not create ${name}: ${stderr}`);
}

const results: Record<string, unknown>[] = [];
try {
  makeRecording('long.opus', '-t', '600', '-c:a', 'libopus');
  makeRecording('long.m4a', '-t', '600', '-c:a', 'aac');
  makeRecording('clip.wav', '-t', '3');
  console.log('case        requests  seconds   delay p50    p99    max (ms)     request p50    p99 (ms)');
  for (const name of values.cases.split(',')) {
    const command = [join(root, 'bench/measure-event-loop.mjs'), values.dist, folder, recordings, name];
    const { status, stdout, stderr } = spawnSync(process.execPath, command, { encoding: 'utf8' });
    if (status !== 0) throw new Error(stderr);
    const measured = JSON.parse(stdout) as Record<string, number>;
    results.push({ case: name, ...measured });
    const { requests, seconds, delay50, delay99, delayMax, request50, request99 } = measured;
    const figures = [
      seconds.toFixed(1),
      ...[delay50, delay99, delayMax, request50, request99].map((figure) => figure.toFixed(1)),
    ];
    const widths = [9, 12, 7, 7, 20, 7];
    console.log(
      `${name.padEnd(12)}${String(requests).padStart(8)}${figures.map((figure, i) => figure.padStart(widths[i])).join('')}`,
    );
  }
} finally {
  rmSync(folder, { recursive: true, force: true });
}
if (values.output) {
  const machine = { cpu: cpus()[0].model, cores: cpus().length, node: process.version };
  writeFileSync(values.output, `${JSON.stringify({ date: new Date().toISOString(), machine, results }, null, 2)}\n`);
}
