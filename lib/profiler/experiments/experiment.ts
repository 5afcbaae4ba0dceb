/** The declaration of an experiment: its settings, its groups of cases, and how its result is shown. */

import { Device } from '../../device/device.js';
import type { OperationTime } from '../../device/program.js';
import type { FloatingType } from '../../element-types.js';
import { OneheadError } from '../../errors.js';
import type { WhisperConfig } from '../../whisper/checkpoint/config.js';
import type { Precision } from '../../whisper/model/precision.js';
import type { Ceilings } from '../io-model/index.js';
import { measureCeilings } from '../measuring/ceilings.js';
import type { Sampler } from '../measuring/measure.js';
import type { AttentionChoice, MeasuredWhisper } from '../measuring/measured-whisper.js';
import type { ExperimentResult, ProfileRow } from '../measuring/result.js';
import type { Statistics } from '../measuring/statistics.js';
import type { Chart, Table } from '../report/figures.js';
import type { Compared } from '../report/findings.js';

/** Settings of every experiment. */
export interface CommonSettings {
  /** 'cpu', 'cuda' or 'cuda:N'; what 'auto' came to, where it was asked for. */
  device: string;
  /** CPU threads; the device's own choice when absent. */
  threads?: number;
  dtype: FloatingType;
  /** Samples of each variant at most. */
  repeats: number;
  /** Measuring a variant ends after this long, once it has three samples. */
  seconds: number;
}

/** Settings of some experiments; each names its own in its defaults. */
export interface OwnSettings {
  /** Whispers by name. */
  models: string[];
  batches: number[];
  /** New tokens of each sequence. */
  tokens: number;
  /** Positions, of queries and keys alike. */
  lengths: number[];
  heads: number;
  headSize: number;
  /** Layers of a decoder-only model. */
  layers: number;
  /** Decoder layers to cut each Whisper to; those that it has not are left out. */
  decoderLayers: number[];
  /** Tokens before the first new one. */
  prompt: number;
  vocabulary: number;
  /** Seconds of silence behind a clip. */
  margins: number[];
  /**
   * A folder or a list of recordings with their texts, as `onehead evaluate` reads them; '': the bundled recording's
   * sentences.
   */
  audio: string;
}

/** The context in which a group of cases is measured. */
export interface Context<Settings> {
  settings: Settings;
  signal?: AbortSignal;
  /** Measures variants side by side: each variant's stages by name. */
  measure(
    samplers: readonly Sampler[],
    effort?: { repeats?: number },
  ): Promise<Map<string, Record<string, Statistics>>>;
  /** A Whisper's shape by its name. */
  shape(model: string): WhisperConfig;
  /** The folder of the run's checkpoint; absent where there is none. */
  model?: string;
  /**
   * A Whisper on the settings' device. Its weights are the run's checkpoint's where there is one with these key/value
   * heads, else random.
   */
  open(
    config: WhisperConfig,
    options: { batch: number; attention?: AttentionChoice; precision?: Precision },
  ): Promise<MeasuredWhisper>;
  /** Keeps an operation-by-operation trace under a track's name, when one is wanted. */
  trace(track: string, operations: () => Promise<readonly OperationTime[]>): Promise<void>;
  /** Figures of the whole run. */
  facts: Record<string, number>;
}

/** Cases that are measured together; a run that was stopped goes on with the next group. */
export interface Group<Settings> {
  name: string;
  run(context: Context<Settings>): Promise<ProfileRow[]>;
}

export interface Experiment<Own extends Partial<OwnSettings> = Partial<OwnSettings>> {
  name: string;
  title: string;
  /** The subject, and the source of the experiment. */
  about: string;
  /** The source's settings; and quick ones, by which all experiments take two minutes on two cores. */
  full: Own & Partial<CommonSettings>;
  quick: Own & Partial<CommonSettings>;
  groups(settings: CommonSettings & Own, shape: (model: string) => WhisperConfig): Group<CommonSettings & Own>[];
  /** The variant that the others stand beside, and in which rows. */
  compared: Compared;
  tables(result: ExperimentResult): Table[];
  charts(result: ExperimentResult): Chart[];
}

/** Keeps the types of an experiment's own settings inside of it. */
export function defineExperiment<Own extends Partial<OwnSettings>>(experiment: Experiment<Own>): Experiment {
  return experiment as unknown as Experiment;
}

/** A group for each model at each batch. */
export const ofModelsAndBatches =
  <Settings extends Pick<OwnSettings, 'models' | 'batches'>>(
    measure: (context: Context<Settings>, model: string, batch: number) => Promise<ProfileRow[]>,
  ) =>
  ({ models, batches }: Settings): Group<Settings>[] =>
    models.flatMap((model) =>
      batches.map((batch) => ({ name: `${model}, batch ${batch}`, run: (context) => measure(context, model, batch) })),
    );

/** The ceilings of the device in the run's type: measured once, and kept with the run's figures. */
export async function ceilingsOf({ settings, facts }: Context<CommonSettings>): Promise<Ceilings> {
  if (facts.bytesPerSecond === undefined) {
    using device = new Device(settings.device, { threads: settings.threads });
    Object.assign(facts, await measureCeilings(device, settings.dtype));
  }
  return facts as unknown as Ceilings;
}

/** Rows of one case: a row for each stage of each variant. */
export function stageRows(
  common: Record<string, string | number>,
  measured: ReadonlyMap<string, Record<string, Statistics>>,
  figures: (variant: string, stage: string, time: Statistics) => Record<string, number> = () => ({}),
): ProfileRow[] {
  return [...measured].flatMap(([variant, stages]) =>
    Object.entries(stages).map(([stage, time]) => ({
      case: { ...common, variant, stage },
      time,
      figures: figures(variant, stage, time),
    })),
  );
}

/**
 * Makes each variant's sampler. A variant that the device has no kernel or no memory for becomes a row that says so,
 * and the others are measured without it.
 */
export async function buildSamplers<T extends Sampler>(
  common: Record<string, string | number>,
  variants: readonly string[],
  build: (variant: string) => T | Promise<T>,
): Promise<{ samplers: T[]; refused: ProfileRow[] }> {
  const samplers: T[] = [];
  const refused: ProfileRow[] = [];
  for (const variant of variants) {
    try {
      samplers.push(await build(variant));
    } catch (error) {
      if (!(error instanceof OneheadError) || !['NOT_SUPPORTED', 'OUT_OF_MEMORY'].includes(error.code)) throw error;
      refused.push({ case: { ...common, variant, stage: 'total' }, time: null, figures: {}, note: error.message });
    }
  }
  return { samplers, refused };
}
