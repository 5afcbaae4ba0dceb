/** Measures decoding of one model in a process of its own: milliseconds a token and window of each way to search. Prints one JSON object. */
import { parseArgs } from 'node:util';
import { WhisperModel } from '../dist/whisper/decoding/whisper-model.js';

const { values } = parseArgs({
  options: {
    model: { type: 'string' },
    dtype: { type: 'string', default: 'bfloat16' },
    threads: { type: 'string', default: '2' },
    tokens: { type: 'string', default: '64' },
    batch: { type: 'string', default: '8' },
    repeats: { type: 'string', default: '5' },
  },
});
const [tokens, batch, repeats] = [values.tokens, values.batch, values.repeats].map(Number);

/** Runs all in turn, so that a busy moment of the machine falls on each; the best of each after one run to warm up. */
async function interleaved(works) {
  const times = Object.fromEntries(Object.keys(works).map((name) => [name, []]));
  for (let i = 0; i <= repeats; ++i) {
    for (const [name, work] of Object.entries(works)) {
      const start = performance.now();
      await work();
      if (i > 0) times[name].push(performance.now() - start);
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, Math.min(...list)]));
}

const ways = {
  greedy: {},
  'greedy, words': { wordTimestamps: true },
  'beams 5': { beamSize: 5 },
  'beams 5, words': { beamSize: 5, wordTimestamps: true },
};
const result = {};
for (const windows of [1, batch]) {
  const load = { device: 'cpu', dtype: values.dtype, threads: Number(values.threads), windows };
  const model = await WhisperModel.load(values.model, load);
  const samples = Float32Array.from(
    { length: model.checkpoint.preprocessor.samples },
    (_, i) => 0.1 * Math.sin(i * i * 1e-6),
  );
  const encoded = await model.encode(await model.features(Array(windows).fill(samples)));
  const forced = { language: 'en', minNewTokens: tokens, maxNewTokens: tokens };
  const chosen = Object.entries(ways).filter(([name]) => windows === 1 || name.startsWith('greedy'));
  const works = Object.fromEntries(
    chosen.map(([name, options]) => [name, () => model.decode(encoded, { ...forced, ...options })]),
  );
  for (const [name, milliseconds] of Object.entries(await interleaved(works))) {
    result[windows === 1 ? name : `${name}, ${windows} windows`] = milliseconds / tokens / windows;
  }
  model.dispose();
}
console.log(JSON.stringify(result));
