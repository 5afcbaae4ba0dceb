/**
 * A case of `npm run bench -- event-loop`, in a separate process. Arguments: the compiled package, the folder of
 * created recordings, the folder of held-out recordings, the case's name. Prints a JSON object.
 */
import { createReadStream, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { pathToFileURL } from 'node:url';

const [dist, created, recordings, name] = process.argv.slice(2);
const { Whisper } = await import(pathToFileURL(join(dist, 'index.js')).href);
const whisper = await Whisper.load(undefined, { device: 'cpu' });
const clips = readdirSync(recordings)
  .filter((file) => /^0.*\.flac$/.test(file))
  .map((file) => join(recordings, file));
const wav = readFileSync(join(created, 'clip.wav'));
const inputs = [...clips, wav, () => createReadStream(clips[1])];
const long = { opus: join(created, 'long.opus'), m4a: join(created, 'long.m4a') };

const times = [];
async function transcribe(input) {
  const begin = performance.now();
  await whisper.transcribe(typeof input === 'function' ? input() : input, { language: 'en' });
  times.push(performance.now() - begin);
}

/** Sends `count` requests from concurrent callers, each of which waits for its previous request. */
async function concurrent(callerCount, count) {
  let next = 0;
  const caller = async () => {
    while (next < count) await transcribe(inputs[next++ % inputs.length]);
  };
  await Promise.all(Array.from({ length: callerCount }, caller));
}

for (let i = 0; i < 24; ++i) await transcribe(i % 2 ? wav : clips[0]);
times.length = 0;
const cases = {
  alone: async () => {
    for (let i = 0; i < 300; ++i) await transcribe(i % 2 ? wav : clips[0]);
  },
  'clips-64': () => concurrent(64, 1280),
  'clips-256': () => concurrent(256, 512),
  opus: () => transcribe(long.opus),
  m4a: () => transcribe(long.m4a),
  mixed: () => Promise.all([transcribe(long.opus), transcribe(long.m4a), concurrent(62, 620)]),
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
    delayMax: delay(histogram.max),
    request50: sorted[Math.floor(sorted.length * 0.5)],
    request99: sorted[Math.floor(sorted.length * 0.99)],
  }),
);
whisper.dispose();
