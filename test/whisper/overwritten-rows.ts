/** Rows that are free hold something else at once, as if the next search had been faster than any read. */
import { vi } from 'vitest';
import type { Tensor } from '../../lib/device/tensor.js';
import { WhisperRuntime } from '../../lib/whisper/model/runtime.js';

/** Overwrites the rows of each search as soon as they are free. Returns the function that ends this. */
export function overwriteFreeRows(): () => void {
  const { collect } = WhisperRuntime.prototype;
  const spy = vi.spyOn(WhisperRuntime.prototype, 'collect').mockImplementation(function (
    this: WhisperRuntime,
    sequence,
  ) {
    const result = collect.call(this, sequence);
    const { pool, alignment, attention } = this.programs;
    const { tokens, logProbability, topTokens, topLogProbability } = pool.state;
    const { source, doneTokens, doneLogProbability, doneSource } = pool.beams;
    const words = (alignment ?? attention)!.stored;
    const { first, count } = sequence.rows;
    const overwrite = (tensor: Tensor) => {
      const width = tensor.size / pool.count;
      const data = new (tensor.dtype === 'int32' ? Int32Array : Float32Array)(count * width);
      tensor.write(data.fill(tensor.dtype === 'int32' ? 1 : Number.NaN), first * width).catch(() => {});
    };
    const all = [tokens, logProbability, topTokens, topLogProbability, words];
    for (const tensor of [...all, source, doneTokens, doneLogProbability, doneSource]) overwrite(tensor);
    return result;
  });
  return () => spy.mockRestore();
}
