/**
 * The options of `profile`. Types, checks, the command line's flags and the documentation are derived from these lists.
 * Defaults of settings are those of the experiment.
 */
import type * as v from 'valibot';
import type { OperationTime } from '../../device/program.js';
import { floatingTypes } from '../../element-types.js';
import { callback, custom, flag, integer, list, number, oneOf, signal, text } from '../../options/kinds.js';
import { type Checked, type Given, type OptionGroup, option, options } from '../../options/options.js';
import type { WhisperConfig } from '../../whisper/checkpoint/config.js';
import type { ExperimentResult } from '../measuring/result.js';

const count = integer(1);
const counts = list(count, 'a list of whole numbers of at least 1', 1);
const countsText = { expectedText: 'whole numbers of at least 1, separated by commas,' };

/** Settings of every experiment. */
export const commonSettings = options('every experiment', {
  /** 'cpu', 'cuda', 'cuda:N' or 'auto'. @default 'auto': a usable GPU, else the CPU */
  device: option(text('DEVICE')),
  /** CPU threads. @default the cores available to the process */
  threads: option(count),
  /** The element type: float32, float16 or bfloat16. @default the experiment's, or the device's fastest */
  dtype: option(oneOf(floatingTypes, 'TYPE')),
  /** Maximum number of measurements of each variant. */
  repeats: option(count),
  /** Maximum seconds for each variant, after at least three measurements. */
  seconds: option(number(0, Number.POSITIVE_INFINITY, { above: true, placeholder: 'S' })),
});

/** Settings that only some experiments have; the defaults of an experiment determine which. */
export const ownSettings = options('an experiment', {
  /** Models with random weights: tiny, base, small, medium, large-v3, turbo or micro, or names of `shapes`. */
  models: option(list(text('NAME', 'a name', { notBlank: true }), 'a list of names', 1)),
  /**
   * A checkpoint's folder or hub name, measured instead of `models`. Variants with its key/value heads use its weights,
   * all others random ones.
   */
  model: option(text('DIR|NAME', 'a folder or a hub name', { notBlank: true })),
  /** Batch sizes. */
  batches: option(counts, { flag: 'batch', ...countsText }),
  /** New tokens of each sequence. */
  tokens: option(count),
  /** Numbers of positions, the same for queries and keys (attention-types). */
  lengths: option(counts, countsText),
  /** Attention heads (attention-types, generate). */
  heads: option(count),
  /** The size of a head (attention-types, generate). */
  headSize: option(count),
  /** Layers of the decoder-only model (generate). */
  layers: option(count),
  /** Numbers of decoder layers to reduce each model to; those above its own number are ignored. */
  decoderLayers: option(counts, countsText),
  /** Prompt tokens (generate). */
  prompt: option(count),
  /** Tokens of the vocabulary (generate). */
  vocabulary: option(count),
  /** Seconds of silence after a clip (audio-context). */
  margins: option(
    list(number(0, Number.POSITIVE_INFINITY, { placeholder: 'S' }), 'a list of seconds of at least 0', 1),
    { expectedText: 'seconds of at least 0, separated by commas,' },
  ),
  /**
   * A folder or a list of recordings with texts, as for `onehead evaluate` (audio-context); '' for the sentences of the
   * bundled recording.
   */
  audio: option(text('DIR|LIST')),
});

export const isSetting = (name: string): boolean =>
  Object.hasOwn(commonSettings.entries, name) || Object.hasOwn(ownSettings.entries, name);

/** Progress of a run: the finished groups of cases, including the finished share of the current one. */
export interface ProfileProgress {
  experiment: string;
  group: string;
  done: number;
  total: number;
}

const isObject = (value: unknown): boolean => typeof value === 'object' && value !== null && !Array.isArray(value);

export const profileOptions = options('profile', {
  ...commonSettings.entries,
  ...ownSettings.entries,
  /**
   * Small settings, with which all experiments take about two minutes on two idle cores. Other options override them.
   * @default false
   */
  quick: option(flag(), { default: false }),
  /** Additional shapes by name, for use in `models`. */
  shapes: option(custom<Record<string, WhisperConfig>>(isObject, { expected: 'an object of shapes by name' })),
  /** Ends the run with its reason; finished groups have been passed to `onResult`. */
  signal: option(signal()),
  /** An unfinished result of the same settings and machine, whose groups are not measured again. */
  previous: option(custom<ExperimentResult>(isObject, { expected: 'a result of profile' })),
  /** Called after each group of cases with the result so far. */
  onResult: option(callback<(result: ExperimentResult) => void | Promise<void>>()),
  /** Called with the number of finished groups, including the finished share of the current one. */
  onProgress: option(callback<(progress: ProfileProgress) => void>()),
  /** Called after each variant's measurement with the time of every operation. */
  onTrace: option(callback<(track: string, operations: readonly OperationTime[]) => void>()),
});

export interface ProfileOptions extends Given<typeof profileOptions> {}
export type CheckedProfileOptions = Checked<typeof profileOptions>;

type Values<G extends OptionGroup> = {
  -readonly [Name in keyof G['entries']]: NonNullable<v.InferOutput<G['entries'][Name]>>;
};

/** Resolved settings of every experiment. `threads` is absent on a GPU, unless it was given. */
export type CommonSettings = Omit<Values<typeof commonSettings>, 'threads'> & { threads?: number };
export type OwnSettings = Values<typeof ownSettings>;
export type Settings = CommonSettings & Partial<OwnSettings>;
