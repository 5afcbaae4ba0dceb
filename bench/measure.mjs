/**
 * Measures a model for `npm run bench -- cpu`, in a separate process with the compiled package, so that peak memory
 * includes no tools. Prints a JSON object; with --trace, also the microseconds of each operation on standard error.
 */
import { parseArgs } from 'node:util';
import { WhisperModel } from '../dist/whisper/decoding/whisper-model.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    dtype: { type: 'string', default: 'bfloat16' },
    threads: { type: 'string', default: '2' },
    repeats: { type: 'string', default: '7' },
    trace: { type: 'boolean', default: false },
    /** Measures CPU time instead of wall time. */
    'cpu-time': { type: 'boolean', default: false },
  },
});

const repeats = Number(values.repeats);

function median(times) {
  const sorted = [...times].sort((a, b) => a - b);
  return sorted[Math.floor(sorted.length / 2)];
}

/** The clock, in milliseconds. */
function now() {
  if (!values['cpu-time']) return performance.now();
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** The median time in milliseconds, without the first run, which is a warm-up. */
async function time(work) {
  await work();
  const times = [];
  for (let i = 0; i < repeats; ++i) {
    const start = now();
    await work();
    times.push(now() - start);
  }
  return median(times);
}

const loading = performance.now();
// One window, as in the other programs.
const options = { device: 'cpu', dtype: values.dtype, threads: Number(values.threads) };
const model = await WhisperModel.load(values.model, { ...options, windows: 1, rows: 1 });
const load = performance.now() - loading;
// A second of sound, again and again: Node.js would compile a loop over all samples, which takes memory of its own.
const samples = new Float32Array(model.checkpoint.preprocessor.samples);
for (let i = 0; i < 16_000; ++i) samples[i] = 0.1 * Math.sin(i * i * 1e-4);
for (let i = 16_000; i < samples.length; i += 16_000) samples.copyWithin(i, 0, Math.min(16_000, samples.length - i));
const features = await model.features(samples);
const logMel = await time(async () => (await model.features(samples)).dispose());
const encoder = await time(async () => (await model.encode(features)).dispose());
const encoded = await model.encode(features);
features.dispose(); // what is not needed any more does not count as the model's memory
const decode = {};
for (const tokens of [25, 256]) {
  const forced = { language: 'en', minNewTokens: tokens, maxNewTokens: tokens };
  // The projection of the cross-attention cache, once per window, counts as decoding, as in the other programs.
  decode[tokens] = (await time(() => model.generate(encoded, forced))) / tokens;
}
const result = {
  logMelMilliseconds: logMel,
  encoderMilliseconds: encoder,
  decodeMillisecondsPerToken: decode,
  loadMilliseconds: load,
  deviceMemoryMiB: model.device.memory().peak / 2 ** 20,
  peakMemoryMiB: process.resourceUsage().maxRSS / 1024,
};
console.log(JSON.stringify(result));
const { checkpoint } = model;
model.dispose();
if (values.trace) {
  const { MeasuredWhisper } = await import('../dist/profiler/measuring/measured-whisper.js');
  const measured = await MeasuredWhisper.open(checkpoint, { ...options, batch: 1 });
  for (const [name, program] of Object.entries({ encoder: measured.encoder, step: measured.step })) {
    const sums = new Map();
    for (const { name: operation, label, microseconds } of await program.trace(10)) {
      const key = `${operation} ${label.replace(/^\w+\.\d+/, '')}`;
      sums.set(key, (sums.get(key) ?? 0) + microseconds);
    }
    console.error(name, Object.fromEntries([...sums].map(([key, sum]) => [key, Math.round(sum)])));
  }
  measured.dispose();
}
