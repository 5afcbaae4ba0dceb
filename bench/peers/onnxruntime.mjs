/**
 * Measures ONNX Runtime on what export_onnx.py wrote; prints one JSON object. The package is found through
 * ONEHEAD_ONNXRUNTIME, a folder where `npm install onnxruntime-node` was run.
 *
 *   node onnxruntime.mjs FOLDER --threads 2
 */
import { createRequire } from 'node:module';
import { join, resolve } from 'node:path';
import { parseArgs } from 'node:util';

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: { threads: { type: 'string', default: '2' }, repeats: { type: 'string', default: '5' } },
});
const require = createRequire(join(resolve(process.env.ONEHEAD_ONNXRUNTIME ?? '.'), 'package.json'));
const { InferenceSession, Tensor } = require('onnxruntime-node');
const repeats = Number(values.repeats);
const options = { intraOpNumThreads: Number(values.threads), interOpNumThreads: 1 };

/** Median milliseconds, after one run to warm up. */
async function time(work, count) {
  await work();
  const times = [];
  for (let i = 0; i < count; ++i) {
    const start = performance.now();
    await work();
    times.push(performance.now() - start);
  }
  return times.sort((a, b) => a - b)[Math.floor(count / 2)];
}

const encoder = await InferenceSession.create(join(positionals[0], 'encoder.onnx'), options);
const features = new Tensor('float32', new Float32Array(80 * 3000), [1, 80, 3000]);
const encoderMilliseconds = await time(() => encoder.run({ features }), repeats);
await encoder.release?.();

const step = await InferenceSession.create(join(positionals[0], 'step.onnx'), options);
const shapes = new Map(
  step.inputMetadata.filter(({ shape }) => shape?.length === 4).map(({ name, shape }) => [name, shape]),
);
const cross = {};
for (const [name, [, heads, length, size]] of shapes) {
  if (name.startsWith('cross'))
    cross[name] = new Tensor('float32', new Float32Array(heads * length * size), [1, heads, length, size]);
}

/** Greedy decoding of a forced length. */
async function decode(tokens) {
  let caches = {};
  for (const [name, [, heads, , size]] of shapes) {
    if (!name.startsWith('cross')) caches[name] = new Tensor('float32', new Float32Array(0), [1, heads, 0, size]);
  }
  let token = 50258n;
  for (let position = 0; position < tokens; ++position) {
    const results = await step.run({
      token: new Tensor('int64', BigInt64Array.of(token), [1, 1]),
      position: new Tensor('int64', BigInt64Array.of(BigInt(position)), [1]),
      ...caches,
      ...cross,
    });
    const logits = results.logits.data;
    let best = 0;
    for (let i = 1; i < logits.length; ++i) if (logits[i] > logits[best]) best = i;
    token = BigInt(best);
    caches = Object.fromEntries(Object.keys(caches).map((name) => [name, results[`present_${name}`]]));
  }
}

const decodeMillisecondsPerToken = {};
for (const tokens of [25, 256]) {
  decodeMillisecondsPerToken[tokens] =
    (await time(() => decode(tokens), Math.max(1, Math.floor(repeats / 2)))) / tokens;
}
console.log(
  JSON.stringify({
    encoderMilliseconds,
    decodeMillisecondsPerToken,
    peakMemoryMiB: process.resourceUsage().maxRSS / 1024,
  }),
);
