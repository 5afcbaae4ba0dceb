/**
 * `npm run bench -- voice`: measures Silero's voice activity detector on ten minutes of audio, in chunks of several
 * sizes, and with ONNX Runtime if --python has silero-vad and onnxruntime. Each uses one thread. Prints microseconds of
 * CPU time per frame of 32 ms, the minimum of the repeats.
 *
 *   --audio FILE  --repeats N  --python PYTHON  --output FILE
 */
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { parseArgs } from 'node:util';
import { openAudio } from '../lib/audio/index.js';
import { openSilero, sileroFrame } from '../lib/vad/silero.js';
import { root } from './machine.js';
import { lastLine, run } from './programs.js';

const { values } = parseArgs({
  args: process.argv.slice(3),
  options: {
    audio: { type: 'string', default: 'test/fixtures/heldout/12_long_seen.flac' },
    repeats: { type: 'string', default: '5' },
    python: { type: 'string', default: process.env.ONEHEAD_PYTHON ?? 'python3' },
    output: { type: 'string' },
  },
});
const repeats = Number(values.repeats);
const frames = Math.round((600 * 16000) / sileroFrame);

/** Ten minutes of samples: the recording, repeated. */
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

/** Returns microseconds of CPU time per frame, and the probabilities of all frames. */
async function detect(
  samples: Float32Array,
  chunk: number,
  recordings: number,
): Promise<[number, Float32Array<ArrayBuffer>]> {
  const length = Math.floor(frames / recordings);
  const probabilities = new Float32Array(frames);
  const before = process.cpuUsage();
  await Promise.all(
    Array.from({ length: recordings }, async (_, recording) => {
      const detector = openSilero();
      for (let at = recording * length; at < (recording + 1) * length; at += chunk) {
        const end = Math.min(at + chunk, (recording + 1) * length);
        probabilities.set(await detector.probabilities(samples.subarray(at * sileroFrame, end * sileroFrame)), at);
      }
    }),
  );
  const { user, system } = process.cpuUsage(before);
  return [(user + system) / (length * recordings), probabilities];
}

const samples = await tenMinutes();
const folder = mkdtempSync(join(tmpdir(), 'onehead-bench-'));
try {
  const results: Record<string, number> = {};
  let probabilities = new Float32Array();
  const variants = {
    'a frame at a time': [1, 1],
    'a second at a time': [31, 1],
    whole: [frames, 1],
    '16 recordings': [31, 16],
  };
  for (let repeat = 0; repeat < repeats; ++repeat) {
    for (const [name, [chunk, recordings]] of Object.entries(variants)) {
      const [time, found] = await detect(samples, chunk, recordings);
      results[`onehead, ${name}`] = Math.min(time, results[`onehead, ${name}`] ?? Number.POSITIVE_INFINITY);
      if (name === 'whole') probabilities = found;
    }
  }
  const file = join(folder, 'samples.bin');
  writeFileSync(file, samples);
  let difference: number | null = null;
  try {
    const printed = run([values.python, join(root, 'bench/peers/silero.py'), file, String(repeats)]);
    const measured = JSON.parse(lastLine(printed)) as {
      times: Record<string, number>;
      probabilities: number[];
    };
    for (const [name, time] of Object.entries(measured.times)) results[`ONNX Runtime, ${name}`] = time;
    difference = Math.max(...measured.probabilities.map((probability, i) => Math.abs(probability - probabilities[i])));
  } catch (error) {
    console.error(`  not measured: ONNX Runtime: ${(error as Error).message}`);
  }
  console.log('| | µs per frame | times real time |\n|---|---|---|');
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
