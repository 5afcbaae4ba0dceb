/**
 * Runs an experiment on custom shapes: measures attention variants at two lengths, and writes a page with plots.
 *
 *     npm install vega vega-lite
 *     node examples/profile.mjs report
 */
import { profile, writeReport } from 'onehead/profiler';

const [folder = 'report'] = process.argv.slice(2);
const result = await profile('attention-types', {
  batches: [1],
  lengths: [64, 256],
  heads: 8,
  headSize: 64,
  repeats: 20,
  seconds: 0.5,
  onProgress: ({ group, done, total }) => console.error(`${group}: ${done.toFixed(1)} of ${total}`),
});
for (const { case: values, time } of result.rows) {
  if (values.stage === 'total' && time) console.log(values.variant, values.length, `${time.median.toFixed(0)} µs`);
}
console.log((await writeReport(folder, [result]))[0]);
