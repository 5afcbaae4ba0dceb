/** One case of `npm run bench -- event-loop` in a process of its own: the package's folder, recordings made and given, the case. Prints one JSON object. */
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';

const [dist, made, recordings, name] = process.argv.slice(2);
const { Whisper } = await import(pathToFileURL(join(dist, 'index.js')).href);
const whisper = await Whisper.load(undefined, { device: 'cpu' });
const clips = readdirSync(recordings)
  .filter((file) => /^0.*\.flac$/.test(file))
  .map((file) => join(recordings, file));
const wav = readFileSync(join(made, 'clip.wav'));
const inputs = [...clips, wav, () => createReadStream(clips[1])];
const long = { opus: join(made, 'long.opus'), m4a: join(made, 'long.m4a') };

const times = [];
async function ask(input) {
  const begin = performance.now();
  await whisper.transcribe(typeof input === 'function' ? input() : input, { language: 'en' });
  times.push(performance.now() - begin);
}

/** So many callers, each with one request after the other; `count` requests in all. */
async function callers(many, count) {
  let next = 0;
  const caller = async () => {
    while (next < count) await ask(inputs[next++ % inputs.length]);
  };
  await Promise.all(Array.from({ length: many }, caller));
}

for (let i = 0; i < 24; ++i) await ask(i % 2 ? wav : clips[0]);
times.length = 0;
const cases = {
  alone: async () => {
    for (let i = 0; i < 300; ++i) await ask(i % 2 ? wav : clips[0]);
  },
  'clips-64': () => callers(64, 1280),
  'clips-256': () => callers(256, 512),
  opus: () => ask(long.opus),
  m4a: () => ask(long.m4a),
  mixed: () => Promise.all([ask(long.opus), ask(long.m4a), callers(62, 620)]),
};
const resolution = 1;
const histogram = monitorEventLoopDelay({ resolution });
await new Promise((resolve) => setTimeout(resolve, 50));
histogram.enable();
const begin = performance.now();
await cases[name]();
const seconds = (performance.now() - begin) / 1000;
histogram.disable();

const sorted = times.toSorted((a, b) => a - b);
const delay = (nanoseconds) => Math.max(0, nanoseconds / 1e6 - resolution);
console.log(
  JSON.stringify({
    requests: times.length,
    seconds,
    delay50: delay(histogram.percentile(50)),
    delay99: delay(histogram.percentile(99)),
    delayMost: delay(histogram.max),
    request50: sorted[Math.floor(sorted.length * 0.5)],
    request99: sorted[Math.floor(sorted.length * 0.99)],
  }),
);
whisper.dispose();
