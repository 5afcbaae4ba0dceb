/**
 * `npm run bench -- voice`: Silero's voice detector over ten minutes of audio, a second at a time and all at once, beside ONNX Runtime where
 * --python has silero-vad and onnxruntime. One thread each; microseconds of computing time (not of the clock) a frame of 32 ms, the least of the repeats.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { openAudio } from '../lib/audio/index.js';
import { openSilero, sileroFrame } from '../lib/vad/silero.js';

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    audio: { type: 'string', default: 'test/fixtures/heldout/12_long_seen.flac' },
    repeats: { type: 'string', default: '5' },
    python: { type: 'string', default: process.env.ONEHEAD_PYTHON ?? 'python3' },
    output: { type: 'string' },
  },
});
const root = new URL('..', import.meta.url).pathname;
const repeats = Number(values.repeats);
const frames = Math.round((600 * 16000) / sileroFrame);

/** Ten minutes: the recording again and again. */
async function tenMinutes(): Promise<Float32Array> {
  const samples = new Float32Array(frames * sileroFrame);
  let filled = 0;
  while (filled < samples.length) {
    for await (const chunk of (await openAudio(values.audio)).chunks()) {
      samples.set(chunk.subarray(0, samples.length - filled), filled);
      filled = Math.min(samples.length, filled + chunk.length);
    }
  }
  return samples;
}

/** Microseconds of the process a frame, and the probabilities of the first recording. */
async function run(
  samples: Float32Array,
  chunk: number,
  recordings: number,
): Promise<[number, Float32Array<ArrayBuffer>]> {
  const length = Math.floor(frames / recordings);
  const found = new Float32Array(frames);
  const begun = process.cpuUsage();
  await Promise.all(
    Array.from({ length: recordings }, async (_, recording) => {
      const detector = openSilero();
      for (let at = recording * length; at < (recording + 1) * length; at += chunk) {
        const end = Math.min(at + chunk, (recording + 1) * length);
        found.set(await detector.probabilities(samples.subarray(at * sileroFrame, end * sileroFrame)), at);
      }
    }),
  );
  const { user, system } = process.cpuUsage(begun);
  return [(user + system) / (length * recordings), found];
}

const samples = await tenMinutes();
const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
try {
  const results: Record<string, number> = {};
  let found = new Float32Array();
  const variants = {
    'a frame at a time': [1, 1],
    'a second at a time': [31, 1],
    whole: [frames, 1],
    '16 recordings': [31, 16],
  };
  for (let repeat = 0; repeat < repeats; ++repeat) {
    for (const [name, [chunk, recordings]] of Object.entries(variants)) {
      const [time, all] = await run(samples, chunk, recordings);
      results[`onehead, ${name}`] = Math.min(time, results[`onehead, ${name}`] ?? Number.POSITIVE_INFINITY);
      if (name === 'whole') found = all;
    }
  }
  const file = join(folder, 'samples.bin');
  writeFileSync(file, samples);
  const peer = spawnSync(values.python, [join(root, 'bench/peers/silero.py'), file, String(repeats)], {
    encoding: 'utf8',
  });
  let difference: number | null = null;
  if (peer.status === 0) {
    const told = JSON.parse(peer.stdout.trim().split('\n').at(-1)!) as {
      times: Record<string, number>;
      probabilities: number[];
    };
    for (const [name, time] of Object.entries(told.times)) results[`ONNX Runtime, ${name}`] = time;
    difference = Math.max(...told.probabilities.map((probability, i) => Math.abs(probability - found[i])));
  } else console.error(`  left out: ONNX Runtime: ${peer.stderr.trim().split('\n').at(-1)}`);
  console.log('| | µs a frame | times real time |\n|---|---|---|');
  for (const [name, time] of Object.entries(results)) {
    console.log(`| ${name} | ${time.toFixed(1)} | ${Math.round(32000 / time)} |`);
  }
  if (difference !== null) console.log(`\nLargest difference of a probability: ${difference.toExponential(1)}`);
  if (values.output) {
    mkdirSync(dirname(values.output), { recursive: true });
    writeFileSync(values.output, `${JSON.stringify({ frames, results, difference }, null, 2)}\n`);
  }
} finally {
  rmSync(folder, { recursive: true });
}
