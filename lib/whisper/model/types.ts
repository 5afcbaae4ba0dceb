/** How a model is loaded, and how it computes. */
import type { AttentionAlgorithm } from '../../device/operations.js';

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

export interface LoadOptions {
  /** 'cpu', 'cuda', 'cuda:N', or 'auto' (the default): a GPU that can be used, else the CPU. */
  device?: string;
  /** The storage type of weights and caches; by default the fastest that the device multiplies natively. */
  dtype?: DataType | 'auto';
  /** CPU threads; by default the number of physical cores available. */
  threads?: number;
  /** Windows that are worked on at once, 1 by default: what long recordings gain from, and what memory grows with. */
  batch?: number;
  /**
   * [layer, head] of the cross-attention heads that words are timed by, for a fine-tuned checkpoint that does not name them; otherwise those of
   * generation_config.json, or all heads of the later half of the layers.
   */
  alignmentHeads?: readonly (readonly [number, number])[];
  /** Called while a hub model downloads. Bytes. */
  onDownload?: (progress: { file: string; loaded: number; total: number | null }) => void;
  signal?: AbortSignal;
}
