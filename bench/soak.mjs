/**
 * `npm run soak`: runs many transcriptions with different options, some of them cancelled, and measures memory after
 * every tenth one. Stores JSON and a plot.
 *
 * The exit status is 1 if memory has grown: if the mean of the last fifth of the run is more than 5% above that of the
 * third fifth. Earlier parts are not compared, since allocators and caches still grow then.
 */
import { execFileSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { Whisper } from '../dist/index.js';

const { values } = parseArgs({
  options: {
    count: { type: 'string', default: '500' },
    threads: { type: 'string', default: '2' },
    output: { type: 'string' },
  },
});
const count = Number(values.count);
const root = new URL('..', import.meta.url).pathname;
const folder = join(root, 'test/fixtures/heldout');
const files = readdirSync(folder)
  .filter((name) => name.endsWith('.flac'))
  .map((name) => join(folder, name));
const noise = Float32Array.from({ length: 16000 * 8 }, (_, i) => 0.02 * Math.sin(i * i * 12.9898));

/** Reproducible random numbers, so that all runs are the same. */
let state = 7;
const random = () => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
  return state / 2 ** 32;
};
const choose = (list) => list[Math.floor(random() * list.length)];

const options = [
  {},
  { beamSize: 5 },
  { temperature: 0.7, bestOf: 3 },
  { wordTimestamps: true },
  { wordTimestamps: true, beamSize: 3 },
  { vad: true },
  { batched: true },
  { batched: true, wordTimestamps: true },
  { timestamps: 'none', conditionOnPreviousText: true, prompt: 'A talk.' },
  { topLogProbabilities: 5, repetitionPenalty: 1.1, noRepeatNgramSize: 4 },
];

const models = await Promise.all(
  [1, 4].map((batch) => Whisper.load(undefined, { device: 'cpu', threads: Number(values.threads), batch })),
);
const kinds = { complete: 0, streamed: 0, abandoned: 0, aborted: 0, timedOut: 0 };
const points = [];

async function transcribe(number) {
  const whisper = models[number % 5 === 0 ? 1 : 0];
  const audio = random() < 0.1 ? noise : random() < 0.5 ? choose(files) : readFileSync(choose(files));
  const chosen = { language: 'en', ...choose(options) };
  if (chosen.conditionOnPreviousText) chosen.batched = false;
  const draw = random();
  if (draw < 0.15) {
    ++kinds.aborted;
    const signal = AbortSignal.timeout(1 + Math.floor(random() * 60));
    await whisper.transcribe(audio, { ...chosen, signal }).catch(() => {});
  } else if (draw < 0.25) {
    ++kinds.timedOut;
    await whisper.transcribe(audio, { ...chosen, timeout: 1 + random() * 60 }).catch((error) => {
      if (error.code !== 'TIMED_OUT') throw error;
    });
  } else if (draw < 0.35) {
    ++kinds.abandoned;
    for await (const _ of whisper.stream(audio, chosen)) break;
  } else if (draw < 0.5) {
    ++kinds.streamed;
    for await (const _ of whisper.stream(audio, { ...chosen, onPartial: () => {} }));
  } else {
    ++kinds.complete;
    await whisper.transcribe(audio, chosen);
  }
}

// Warm-up with all options, since programs and caches are created when they are first used.
for (const whisper of models) {
  for (const chosen of options) {
    const batched = chosen.conditionOnPreviousText ? false : chosen.batched;
    for (const audio of [join(folder, '13_long_mixed.flac'), noise]) {
      await whisper.transcribe(audio, { language: 'en', ...chosen, batched });
    }
  }
}

const mebibytes = (bytes) => Math.round((bytes / 2 ** 20) * 10) / 10;
for (let number = 1; number <= count; ++number) {
  await transcribe(number);
  if (number % 10 !== 0) continue;
  globalThis.gc?.();
  const { rss, heapUsed } = process.memoryUsage();
  const device = models.reduce((sum, { model }) => sum + model.device.memory().inUse, 0);
  points.push({ number, rss: mebibytes(rss), heap: mebibytes(heapUsed), device: mebibytes(device) });
  if (number % 50 === 0) console.log(points[points.length - 1]);
}
for (const whisper of models) whisper.dispose();

const mean = (list) => list.reduce((sum, { rss }) => sum + rss, 0) / list.length;
const fifth = Math.ceil(points.length / 5);
const growth = mean(points.slice(-fifth)) / mean(points.slice(2 * fifth, 3 * fifth)) - 1;

/** Draws memory over the number of transcriptions as SVG. */
function plot() {
  const [width, height, left, bottom] = [720, 300, 60, 40];
  const highest = Math.max(...points.map(({ rss }) => rss)) * 1.1;
  const x = (number) => left + ((width - left - 20) * number) / count;
  const y = (value) => height - bottom - ((height - bottom - 20) * value) / highest;
  const line = (name, colour) => {
    const path = points.map((point) => `${x(point.number).toFixed(1)},${y(point[name]).toFixed(1)}`).join(' ');
    const last = points[points.length - 1];
    return `<polyline fill="none" stroke="${colour}" stroke-width="1.5" points="${path}"/>
<text x="${width - 150}" y="${y(last[name]) - 6}" fill="${colour}">${name}: ${last[name]} MiB</text>`;
  };
  const marks = [0, 0.25, 0.5, 0.75, 1].map((share) => {
    const value = Math.round(highest * share);
    return `<line x1="${left}" x2="${width - 20}" y1="${y(value)}" y2="${y(value)}" stroke="#ddd"/>
<text x="${left - 8}" y="${y(value) + 4}" text-anchor="end">${value}</text>
<text x="${x(count * share)}" y="${height - bottom + 18}" text-anchor="middle">${Math.round(count * share)}</text>`;
  });
  return `<svg xmlns="http://www.w3.org/2000/svg" width="${width}" height="${height}" font-family="sans-serif" font-size="12">
<rect width="100%" height="100%" fill="white"/>
${marks.join('\n')}
${line('rss', '#c33')}
${line('device', '#36c')}
${line('heap', '#393')}
<text x="${width / 2}" y="${height - 6}" text-anchor="middle">transcriptions (MiB of memory)</text>
</svg>
`;
}

const date = new Date().toISOString();
const commit = execFileSync('git', ['rev-parse', 'HEAD'], { cwd: root, encoding: 'utf8' }).trim();
const output = values.output ?? join(root, 'bench', 'results', `soak-${date.slice(0, 10)}`);
mkdirSync(join(output, '..'), { recursive: true });
writeFileSync(`${output}.json`, `${JSON.stringify({ date, commit, count, kinds, growth, points }, null, 1)}\n`);
writeFileSync(`${output}.svg`, plot());
console.log(
  `${JSON.stringify(kinds)}; resident memory grew by ${(100 * growth).toFixed(1)} %; stored in ${output}.json and .svg`,
);
process.exitCode = growth > 0.05 ? 1 : 0;
