/**
 * Measures decoding of a model in a separate process, for `npm run bench -- decode`. Prints a JSON object with the
 * milliseconds per token and window of each method.
 */
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

/**
 * Runs the tasks in turns, so that disturbances affect all of them alike. Returns the minimum time of each, without the
 * first run, which is a warm-up.
 */
async function interleave(tasks) {
  const times = Object.fromEntries(Object.keys(tasks).map((name) => [name, []]));
  for (let i = 0; i <= repeats; ++i) {
    for (const [name, task] of Object.entries(tasks)) {
      const start = performance.now();
      await task();
      if (i > 0) times[name].push(performance.now() - start);
    }
  }
  return Object.fromEntries(Object.entries(times).map(([name, list]) => [name, Math.min(...list)]));
}

const methods = {
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
  const chosen = Object.entries(methods).filter(([name]) => windows === 1 || name.startsWith('greedy'));
  const tasks = Object.fromEntries(
    chosen.map(([name, options]) => [name, () => model.decode(encoded, { ...forced, ...options })]),
  );
  for (const [name, milliseconds] of Object.entries(await interleave(tasks))) {
    result[windows === 1 ? name : `${name}, ${windows} windows`] = milliseconds / tokens / windows;
  }
  model.dispose();
}
console.log(JSON.stringify(result));
