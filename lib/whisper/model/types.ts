/** How a model is loaded, and how it computes. */
import type { AttentionAlgorithm } from '../../device/operations.js';
import { callback, custom, integer, oneOf, signal, text } from '../../options/kinds.js';
import { type Given, option, options } from '../../options/options.js';

export type DataType = 'float32' | 'float16' | 'bfloat16';

/** How attention is computed, for measurements; what is left out is chosen for the shape. */
export interface AttentionChoice {
  encoder?: AttentionAlgorithm;
  /** The decoder's self-attention. */
  self?: AttentionAlgorithm;
  cross?: AttentionAlgorithm;
  /** Where a decode step has the audio's keys and values from: the cache, a copy of it made in each step, or projected anew in each. */
  crossKeyValues?: 'cached' | 'copied' | 'recomputed';
}

export interface DownloadProgress {
  file: string;
  /** Bytes so far. */
  loaded: number;
  /** Bytes in all, where that is known. */
  total: number | null;
}

const isPairs = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every(
    (pair) => Array.isArray(pair) && pair.length === 2 && pair.every((one) => Number.isInteger(one) && one >= 0),
  );

export const loadOptions = options('load', {
  /** 'cpu', 'cuda' (the first GPU), 'cuda:N', or 'auto': a GPU that can be used, else the CPU. @default 'auto' */
  device: option(text('DEVICE', "'cpu', 'cuda', 'cuda:N' or 'auto'"), {
    default: 'auto',
    others: { openai: 'device', faster: 'device', cpp: '-dev, --device' },
  }),
  /** The storage type of weights and caches; 'auto' is the fastest that the device multiplies natively. @default 'auto' */
  dtype: option(oneOf(['auto', 'float32', 'float16', 'bfloat16'], 'TYPE'), { default: 'auto' }),
  /** CPU threads. @default the cores that this process may use */
  threads: option(integer(1, 4096), { others: { openai: 'threads', faster: 'cpu_threads', cpp: '-t, --threads' } }),
  /** Windows that are worked on at once: what long recordings gain from, and what memory grows with. @default 1 */
  batch: option(integer(1, 65_536), { default: 1, others: { faster: 'batch_size' } }),
  /**
   * [layer, head] of the cross-attention heads that words are timed by, for a fine-tuned checkpoint that does not name them.
   * @default those of generation_config.json, or all heads of the later half of the layers
   */
  alignmentHeads: option(
    custom<readonly (readonly [number, number])[]>(isPairs, {
      expected: 'a list of [layer, head] pairs of whole numbers, counted from 0',
    }),
  ),
  /** Called while a hub model downloads. */
  onDownload: option(callback<(progress: DownloadProgress) => void>()),
  /** Ends the loading with its reason. */
  signal: option(signal()),
});

export interface LoadOptions extends Given<typeof loadOptions> {}
