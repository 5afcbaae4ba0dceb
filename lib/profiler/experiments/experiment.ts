/** The declaration of an experiment: its settings, its groups of cases, and the tables and charts of its result. */

import { Device } from '../../device/device.js';
import type { OperationTime } from '../../device/program.js';
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
import type { CommonSettings, OwnSettings } from './options.js';

/** The context in which a group of cases is measured. */
export interface Context<Settings> {
  settings: Settings;
  signal?: AbortSignal;
  /** Measures variants in turns. Returns the statistics of each variant's stages by name. */
  measure(
    samplers: readonly Sampler[],
    effort?: { repeats?: number },
  ): Promise<Map<string, Record<string, Statistics>>>;
  /** The shape of a Whisper model by name. */
  shape(model: string): WhisperConfig;
  /** The folder of the run's checkpoint, if there is one. */
  model?: string;
  /**
   * Opens a Whisper model on the device of the settings, with the weights of the run's checkpoint if that has the same
   * key/value heads, otherwise with random weights.
   */
  open(
    config: WhisperConfig,
    options: { batch: number; attention?: AttentionChoice; precision?: Precision },
  ): Promise<MeasuredWhisper>;
  /** Adds a track with the time of every operation to the trace, if the run writes one. */
  trace(track: string, operations: () => Promise<readonly OperationTime[]>): Promise<void>;
  /** Figures that apply to the whole run. */
  facts: Record<string, number>;
}

/** Cases that are measured together; an interrupted run resumes with the next group. */
export interface Group<Settings> {
  name: string;
  run(context: Context<Settings>): Promise<ProfileRow[]>;
}

export interface Experiment<Own extends Partial<OwnSettings> = Partial<OwnSettings>> {
  name: string;
  title: string;
  /** The subject, and the source of the experiment. */
  about: string;
  /** Default settings: those of the source, and quick ones (two minutes for all experiments on two cores). */
  full: Own & Partial<CommonSettings>;
  quick: Own & Partial<CommonSettings>;
  /** True if random weights are of no use, so that it has the setting `model` but not `models`. */
  checkpointOnly?: boolean;
  /** Throws OneheadError INVALID_ARGUMENT or AUDIO_NOT_FOUND for settings that cannot be measured. */
  check?(settings: CommonSettings & Own): Promise<void>;
  groups(settings: CommonSettings & Own, shape: (model: string) => WhisperConfig): Group<CommonSettings & Own>[];
  /** The base variant of comparisons, and the rows that are compared. */
  compared: Compared;
  tables(result: ExperimentResult): Table[];
  charts(result: ExperimentResult): Chart[];
}

/** Checks an experiment against the types of its own settings, and hides them. */
export function defineExperiment<Own extends Partial<OwnSettings>>(experiment: Experiment<Own>): Experiment {
  return experiment as unknown as Experiment;
}

/** A group for each model and batch. */
export const ofModelsAndBatches =
  <Settings extends Pick<OwnSettings, 'models' | 'batches'>>(
    measure: (context: Context<Settings>, model: string, batch: number) => Promise<ProfileRow[]>,
  ) =>
  ({ models, batches }: Settings): Group<Settings>[] =>
    models.flatMap((model) =>
      batches.map((batch) => ({ name: `${model}, batch ${batch}`, run: (context) => measure(context, model, batch) })),
    );

/** The ceilings of the device for the run's type; measured once and stored in `facts`. */
export async function ceilingsOf({ settings, facts }: Context<CommonSettings>): Promise<Ceilings> {
  if (facts.bytesPerSecond === undefined) {
    using device = new Device(settings.device, { threads: settings.threads });
    Object.assign(facts, await measureCeilings(device, settings.dtype));
  }
  return facts as unknown as Ceilings;
}

/** A row for each stage of each variant. */
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
 * Builds the sampler of each variant. A variant for which the device has no kernel or too little memory becomes a row
 * with the reason, and the others are measured without it. `whole` is the stage or operation of that row.
 */
export async function buildSamplers<T extends Sampler>(
  common: Record<string, string | number>,
  variants: readonly string[],
  build: (variant: string) => T | Promise<T>,
  whole: Record<string, string> = { stage: 'total' },
): Promise<{ samplers: T[]; refused: ProfileRow[] }> {
  const samplers: T[] = [];
  const refused: ProfileRow[] = [];
  for (const variant of variants) {
    try {
      samplers.push(await build(variant));
    } catch (error) {
      if (!(error instanceof OneheadError) || !['NOT_SUPPORTED', 'OUT_OF_MEMORY'].includes(error.code)) throw error;
      refused.push({ case: { ...common, variant, ...whole }, time: null, figures: {}, note: error.message });
    }
  }
  return { samplers, refused };
}
