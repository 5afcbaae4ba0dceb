/** Options of loading a model, and of its computation. */
import { callback, custom, either, integer, list, oneOf, signal, text } from '../../options/kinds.js';
import { type Given, option, options } from '../../options/options.js';
import { dataTypes, isPrecision, type PrecisionOptions, precisionExpected, readPrecision } from './precision.js';

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

const devices = "'cpu', 'cuda', 'cuda:N', 'cuda:all' or 'auto', or a list of such names";
const deviceName = text('DEVICE', devices);

export const loadOptions = options('load', {
  /**
   * 'cpu', 'cuda' (the first GPU), 'cuda:N', 'cuda:all', or 'auto': a GPU that can be used, else the CPU. A list, such
   * as ['cuda:0', 'cuda:1'] or ['cpu', 'cpu'], loads the model once on each; every window goes to the one that has the
   * least to do.
   * @default 'auto'
   */
  device: option(either(list(deviceName, devices, 1), deviceName, devices), {
    default: 'auto',
    placeholder: 'DEVICE,...',
    others: { openai: 'device', faster: 'device', cpp: '-dev, --device' },
  }),
  /**
   * The type of weights, caches and what is multiplied. 'auto' takes float16 on a GPU; on a CPU what a short
   * measurement found faster, for the encoder and the decoder each, of float32 and bfloat16. With 'int8', layers that
   * would lose too much stay in 16 bits.
   * @default 'auto'
   */
  dtype: option(oneOf(['auto', ...dataTypes], 'TYPE'), { default: 'auto' }),
  /**
   * Parts of the model in types of their own, such as { weights: 'int8', activations: 'bfloat16', cache: 'bfloat16' }
   * or { encoder: 'float32', decoder: 'int8' }; what is not named is as `dtype` says. Nothing is measured then.
   */
  precision: option(
    custom<PrecisionOptions>(isPrecision, {
      expected: precisionExpected,
      expectedText: 'PART=TYPE,... with parts among weights, activations, cache, encoder, decoder and a type each',
      placeholder: 'PART=TYPE,...',
      read: readPrecision,
    }),
  ),
  /** CPU threads of each device. @default the cores that this process may use, divided among the CPU devices */
  threads: option(integer(1, 4096), { others: { openai: 'threads', faster: 'cpu_threads', cpp: '-t, --threads' } }),
  /**
   * Windows whose keys and values a device holds at once: what limits how many are decoded together, and what memory
   * grows with. Given, and above 1, long recordings are cut at silences unless `batched` is false.
   * @default 8 on a CPU, what the free memory allows on a GPU
   */
  windows: option(integer(1, 65_536)),
  /** Another name for `windows`. */
  batch: option(integer(1, 65_536), { others: { faster: 'batch_size' } }),
  /**
   * Sequences that a device decodes at once: one for each window, one for each beam of a beam search. Never fewer than
   * `windows`.
   * @default 16 on a CPU, twice `windows` on a GPU
   */
  rows: option(integer(1, 65_536)),
  /**
   * Transcriptions that are open at once, the waiting ones counted; one more is refused with code BUSY. @default 1024
   */
  maximumRequests: option(integer(1), { default: 1024, flag: null }),
  /**
   * The method that times words. 'speech': the attention of all heads of the later half of the layers and loudness,
   * with pauses between words. 'attention': openai/whisper's method with the checkpoint's own alignment heads.
   * @default 'speech'
   */
  wordTimes: option(oneOf(['speech', 'attention']), { default: 'speech' }),
  /**
   * [layer, head] of the cross-attention heads that words are timed by.
   * @default all heads of the later half of the layers; with `wordTimes` 'attention' those of generation_config.json,
   *   where it names some
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
