/** Options of loading a model and of its computation. */
import { callback, custom, either, integer, list, oneOf, signal } from '../../options/kinds.js';
import { type Given, option, options } from '../../options/options.js';
import { dataTypes, isPrecision, type PrecisionOptions, precisionExpected, readPrecision } from './precision.js';

export interface DownloadProgress {
  file: string;
  /** Bytes that were received so far. */
  loaded: number;
  /** Total bytes, or null if unknown. */
  total: number | null;
}

const isPairs = (value: unknown): boolean =>
  Array.isArray(value) &&
  value.length > 0 &&
  value.every(
    (pair) => Array.isArray(pair) && pair.length === 2 && pair.every((one) => Number.isInteger(one) && one >= 0),
  );

const devices = "'cpu', 'cuda', 'cuda:N', 'cuda:all' or 'auto', or a list of such names";
// Without commas, so that the command line's --device cuda:0,cuda:1 is read as a list.
const deviceName = custom<string>((name) => typeof name === 'string' && !name.includes(','), {
  expected: devices,
  placeholder: 'DEVICE',
  read: (given) => given,
});

export const loadOptions = options('load', {
  /**
   * 'cpu', 'cuda' (the first GPU), 'cuda:N', 'cuda:all', or 'auto': a usable GPU, else the CPU. A list, such as
   * ['cuda:0', 'cuda:1'] or ['cpu', 'cpu'], loads the model on each; every window goes to the least busy device.
   * @default 'auto'
   */
  device: option(either(list(deviceName, devices, 1), deviceName, devices), {
    default: 'auto',
    placeholder: 'DEVICE,...',
    others: { openai: 'device', faster: 'device', cpp: '-dev, --device' },
  }),
  /**
   * The dtype of weights, caches and operands of matrix products. 'auto' is float16 on a GPU. On a CPU it is float32 or
   * bfloat16, whichever a short measurement found faster, for encoder and decoder separately. With 'int8', layers that
   * would lose too much precision stay in 16 bits.
   * @default 'auto'
   */
  dtype: option(oneOf(['auto', ...dataTypes], 'TYPE'), { default: 'auto' }),
  /**
   * Dtypes of single parts, such as { weights: 'int8', activations: 'bfloat16', cache: 'bfloat16' } or
   * { encoder: 'float32', decoder: 'int8' }. Other parts have `dtype`. Nothing is measured then.
   */
  precision: option(
    custom<PrecisionOptions>(isPrecision, {
      expected: precisionExpected,
      expectedText: 'PART=TYPE,... with parts among weights, activations, cache, encoder, decoder and a type each',
      placeholder: 'PART=TYPE,...',
      read: readPrecision,
    }),
  ),
  /** CPU threads of each device. @default the cores available to the process, divided among the CPU devices */
  threads: option(integer(1, 4096), { others: { openai: 'threads', faster: 'cpu_threads', cpp: '-t, --threads' } }),
  /**
   * Windows whose cross-attention caches a device holds at once. It limits how many are decoded together, and
   * determines the memory. It does not change any text.
   * @default 8 on a CPU, as many as fit the free memory on a GPU
   */
  windows: option(integer(1, 65_536)),
  /** Another name for `windows`. */
  batch: option(integer(1, 65_536), { others: { faster: 'batch_size' } }),
  /**
   * Sequences that a device decodes at once: one for each window, or one for each beam of a beam search. At least
   * `windows`.
   * @default 16 on a CPU, twice `windows` on a GPU
   */
  rows: option(integer(1, 65_536)),
  /**
   * Transcriptions that may be open at once, waiting ones included; further ones are refused with code BUSY.
   * @default 1024
   */
  maximumRequests: option(integer(1), { default: 1024, flag: null }),
  /**
   * The method of word times. 'speech' uses the attention of all heads of the later half of the layers and the
   * loudness, and leaves pauses between words. 'attention' is openai/whisper's method with the checkpoint's alignment
   * heads.
   * @default 'speech'
   */
  wordTimes: option(oneOf(['speech', 'attention']), { default: 'speech' }),
  /**
   * [layer, head] of the cross-attention heads from which word times are computed.
   * @default all heads of the later half of the layers; with `wordTimes` 'attention' those in generation_config.json,
   *   if it names any
   */
  alignmentHeads: option(
    custom<readonly (readonly [number, number])[]>(isPairs, {
      expected: 'a list of [layer, head] pairs of whole numbers, counted from 0',
    }),
  ),
  /** Called with the progress while a hub model is downloaded. */
  onDownload: option(callback<(progress: DownloadProgress) => void>()),
  /** Aborts loading; the promise rejects with the signal's reason. */
  signal: option(signal()),
});

export interface LoadOptions extends Given<typeof loadOptions> {}
