/**
 * Measures one attention call on plain arrays, and computes its memory traffic with the I/O model.
 *
 *     node examples/attention.mjs
 */
import { attention, ioModel } from 'onehead/profiler';

const [batch, heads, headSize, keys] = [8, 16, 64, 1500];
const query = new Float32Array(batch * heads * headSize).fill(0.1);
const key = new Float32Array(batch * keys * headSize).fill(0.1); // one key/value head for all 16 query heads
const { time } = await attention({
  query,
  key,
  value: key,
  batch,
  heads,
  keyValueHeads: 1,
  headSize,
  algorithm: 'split-kv',
});
const theory = ioModel.attention({
  form: 'incremental',
  batch,
  keys,
  width: heads * headSize,
  heads,
  keyValueHeads: 1,
});
console.log(
  `${time.median} µs; elements moved per multiply-add: ${theory.complexity.ratio} = ${theory.ratio.toFixed(2)}`,
);
