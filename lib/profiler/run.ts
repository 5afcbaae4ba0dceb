/** Runs an experiment: resolves its settings and measures its groups in turn, except those of an earlier result. */
import { basename } from 'node:path';
import { countOf, refuse } from '../checks.js';
import { Device } from '../device/device.js';
import type { OperationTime } from '../device/program.js';
import { OneheadError } from '../errors.js';
import { readCheckpoint } from '../whisper/checkpoint/checkpoint.js';
import type { WhisperConfig } from '../whisper/checkpoint/config.js';
import { resolveModel } from '../whisper/checkpoint/hub.js';
import type { CommonSettings, Context, OwnSettings } from './experiments/experiment.js';
import { type ExperimentName, experiments } from './experiments/index.js';
import { describeMachine, type Machine } from './measuring/machine.js';
import { interleave } from './measuring/measure.js';
import { MeasuredWhisper } from './measuring/measured-whisper.js';
import { randomModel } from './measuring/random-weights.js';
import type { ExperimentResult } from './measuring/result.js';
import { whisperConfig } from './measuring/shapes.js';

export interface ProfileOptions extends Partial<CommonSettings>, Partial<OwnSettings> {
  /**
   * Small settings, with which all experiments take about two minutes on two idle cores. Other options override them.
   */
  quick?: boolean;
  /** Additional shapes by name, for use in `models`. */
  shapes?: Record<string, WhisperConfig>;
  /**
   * A checkpoint's folder or hub name, measured instead of `models`. Variants with its key/value heads use its weights,
   * all others random ones.
   */
  model?: string;
  signal?: AbortSignal;
  /** An unfinished result of the same settings and machine, whose groups are not measured again. */
  previous?: ExperimentResult;
  /** Called after each group of cases with the result so far. */
  onResult?: (result: ExperimentResult) => void | Promise<void>;
  /** Called with the number of finished groups, including the finished share of the current one. */
  onProgress?: (progress: { experiment: string; group: string; done: number; total: number }) => void;
  /** Called after each variant's measurement with the time of every operation. */
  onTrace?: (track: string, operations: readonly OperationTime[]) => void;
}

type Settings = CommonSettings & Partial<OwnSettings>;

const wholeNumbers = ['threads', 'repeats', 'tokens', 'heads', 'headSize', 'layers', 'prompt', 'vocabulary'] as const;
const lists = ['batches', 'lengths', 'decoderLayers'] as const;
const commonNames = ['device', 'threads', 'dtype', 'repeats', 'seconds'];
const dtypes = ['float32', 'float16', 'bfloat16'];

function check(settings: Settings, models: readonly string[]): void {
  const isCount = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 1;
  for (const name of wholeNumbers) {
    if (settings[name] !== undefined) countOf(name, settings[name]);
  }
  for (const name of lists) {
    const value = settings[name];
    if (value !== undefined && !(Array.isArray(value) && value.length > 0 && value.every(isCount))) {
      refuse(name, 'a list of whole numbers of at least 1', value);
    }
  }
  const isMargin = (value: unknown) => typeof value === 'number' && value >= 0;
  const { margins, audio } = settings;
  if (margins !== undefined && !(Array.isArray(margins) && margins.length > 0 && margins.every(isMargin))) {
    refuse('margins', 'a list of seconds of at least 0', margins);
  }
  if (audio !== undefined && typeof audio !== 'string') refuse('audio', 'a folder or a list of recordings', audio);
  if (!(settings.seconds > 0)) refuse('seconds', 'a positive number', settings.seconds);
  if (!dtypes.includes(settings.dtype)) refuse('dtype', dtypes.join(', '), settings.dtype);
  for (const model of models) if (typeof model !== 'string') refuse('models', 'a list of names', models);
}

/**
 * The settings of an experiment: its defaults, overridden by `options`. Throws OneheadError INVALID_ARGUMENT for
 * invalid settings and for those that the experiment does not have.
 */
export function resolveSettings(name: ExperimentName, options: ProfileOptions): Settings {
  const experiment = experiments[name];
  const defaults = options.quick ? experiment.quick : experiment.full;
  const settings: Record<string, unknown> = { device: 'auto', ...defaults };
  for (const key of [...wholeNumbers, ...lists, 'models', 'model', 'margins', 'audio', ...commonNames]) {
    const value = options[key as keyof ProfileOptions];
    if (value === undefined) continue;
    if (!commonNames.includes(key) && !Object.hasOwn(experiment.full, key === 'model' ? 'models' : key)) {
      const specific = Object.keys(experiment.full).filter((setting) => !commonNames.includes(setting));
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `The experiment ${name} has no setting '${key}'; use ${[...specific, ...commonNames].join(', ')}.`,
        { argument: key },
      );
    }
    if (key !== 'model') settings[key] = value;
  }
  if (settings.dtype === undefined || settings.device === 'auto') {
    using device = new Device(String(settings.device), { threads: options.threads });
    settings.device = device.kind;
    settings.dtype ??= device.defaultDtype;
  }
  // The result records the number of threads, including the default.
  if (settings.device === 'cpu') settings.threads ??= Device.information().threads;
  const resolved = settings as unknown as Settings;
  check(resolved, resolved.models ?? []);
  return resolved;
}

/** Whether two models have the same key/value heads, so that weights of one fit the other. */
function sameHeads(a: WhisperConfig, b: WhisperConfig): boolean {
  const heads = ({ encoder, decoder }: WhisperConfig) => [
    encoder.keyValueHeads,
    decoder.keyValueHeads,
    decoder.crossKeyValueHeads,
  ];
  return heads(a).join() === heads(b).join();
}

/**
 * Runs one experiment. Throws OneheadError INVALID_ARGUMENT for invalid settings or another run's `previous`,
 * DEVICE_UNAVAILABLE for a missing device. Rejects with the signal's reason; `onResult` has received the groups that
 * were finished before.
 */
export async function profile(name: ExperimentName, options: ProfileOptions = {}): Promise<ExperimentResult> {
  if (!Object.hasOwn(experiments, name)) refuse('experiment', Object.keys(experiments).join(', '), name);
  const settings = resolveSettings(name, options);
  const checkpoint =
    options.model === undefined ? null : await readCheckpoint(await resolveModel(options.model, options));
  const shapes: Record<string, WhisperConfig> = { ...options.shapes };
  if (checkpoint && settings.models) {
    const title = basename(checkpoint.directory);
    settings.models = [title];
    shapes[title] = checkpoint.config;
  }
  const shape = (model: string): WhisperConfig => (Object.hasOwn(shapes, model) ? shapes[model] : whisperConfig(model));
  settings.models?.forEach(shape); // reports an unknown name before anything is measured
  const groups = experiments[name].groups(settings, shape);
  const { previous, signal } = options;
  const recorded = JSON.parse(
    JSON.stringify({ ...settings, ...(options.model && { model: options.model }), ...(options.shapes && { shapes }) }),
  );
  if (previous && JSON.stringify(previous.settings) !== JSON.stringify(recorded)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `The result to resume was measured with other settings (${JSON.stringify(previous.settings)}, not ${JSON.stringify(recorded)}); repeat its options, or start again without it.`,
    );
  }
  const machine = describeMachine();
  const hardware = ({ cpu, gpus, kernels }: Machine) => JSON.stringify([cpu, gpus, kernels]);
  if (previous && hardware(previous.machine) !== hardware(machine)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      'The result to resume was measured on another machine; start again without it.',
    );
  }
  const result: ExperimentResult = {
    experiment: name,
    date: new Date().toISOString(),
    machine,
    settings: recorded,
    facts: { ...previous?.facts },
    groups: [...(previous?.groups ?? [])],
    complete: false,
    rows: [...(previous?.rows ?? [])],
  };
  for (const [index, group] of groups.entries()) {
    if (result.groups.includes(group.name)) continue;
    signal?.throwIfAborted();
    const onProgress = (share: number) =>
      options.onProgress?.({ experiment: name, group: group.name, done: index + share, total: groups.length });
    onProgress(0);
    const context: Context<Settings> = {
      settings,
      signal,
      shape,
      model: checkpoint?.directory,
      open: (config, modelOptions) => {
        const { device, dtype, threads } = settings;
        const chosen = { device, dtype, threads, signal, ...modelOptions };
        const real = checkpoint && sameHeads(checkpoint.config, config);
        return real ? MeasuredWhisper.open({ ...checkpoint, config }, chosen) : randomModel(config, chosen);
      },
      facts: result.facts,
      measure: (samplers, { repeats = settings.repeats } = {}) =>
        interleave(samplers, { repeats, seconds: settings.seconds, bounded: options.quick }, { signal, onProgress }),
      trace: async (track, operations) => options.onTrace?.(`${name}: ${track}`, await operations()),
    };
    if (!options.onTrace) context.trace = async () => {};
    result.rows.push(...(await group.run(context)));
    result.groups.push(group.name);
    result.date = new Date().toISOString();
    await options.onResult?.(result);
  }
  result.complete = true;
  await options.onResult?.(result);
  return result;
}
