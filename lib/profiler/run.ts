/** Runs an experiment: resolves its settings and measures its groups in turn, except those of an earlier result. */
import { basename } from 'node:path';
import { integerIn, refuse } from '../checks.js';
import { Device } from '../device/device.js';
import { OneheadError } from '../errors.js';
import { check } from '../options/options.js';
import { type Checkpoint, readCheckpoint } from '../whisper/checkpoint/checkpoint.js';
import type { WhisperConfig } from '../whisper/checkpoint/config.js';
import { resolveModel } from '../whisper/checkpoint/hub.js';
import type { Context, Group } from './experiments/experiment.js';
import { type ExperimentName, experimentNames, experiments, settingsOf } from './experiments/index.js';
import {
  type CheckedProfileOptions,
  isSetting,
  type ProfileOptions,
  profileOptions,
  type Settings,
} from './experiments/options.js';
import { describeMachine, type Machine } from './measuring/machine.js';
import { interleave } from './measuring/measure.js';
import { defaultPrompt, MeasuredWhisper } from './measuring/measured-whisper.js';
import { generationConfig, randomModel } from './measuring/random-weights.js';
import type { ExperimentResult } from './measuring/result.js';
import { whisperConfig, whisperSizes } from './measuring/shapes.js';

/**
 * The settings of an experiment: its defaults, overridden by the given ones. Throws OneheadError INVALID_ARGUMENT for
 * a setting that the experiment does not have, DEVICE_UNAVAILABLE for a missing device.
 */
function resolveSettings(name: ExperimentName, options: CheckedProfileOptions): Settings {
  const { full, quick } = experiments[name];
  const available = settingsOf(name);
  const given = Object.entries(options).filter(([key, value]) => value !== undefined && isSetting(key));
  const wrong = given.find(([key]) => !available.includes(key))?.[0];
  if (wrong !== undefined) {
    const message = `The experiment ${name} has no setting '${wrong}'; use ${available.join(', ')}.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { argument: wrong });
  }
  const settings = { device: 'auto', ...(options.quick ? quick : full), ...Object.fromEntries(given) };
  using device = new Device(settings.device, { threads: options.threads });
  settings.device = device.kind;
  settings.dtype ??= device.defaultDtype;
  // The result records the number of threads, including the default.
  if (settings.device === 'cpu') settings.threads ??= Device.information().threads;
  return settings as Settings;
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

/** Throws OneheadError INVALID_ARGUMENT if an earlier result has other settings or is from another machine. */
function checkPrevious(previous: ExperimentResult, settings: ExperimentResult['settings'], machine: Machine): void {
  const [before, now] = [previous.settings, settings].map((one) => JSON.stringify(one));
  if (before !== now) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `The result to resume was measured with other settings (${before}, not ${now}); repeat its options, or start again without it.`,
    );
  }
  const hardware = ({ cpu, gpus, kernels }: Machine) => JSON.stringify([cpu, gpus, kernels]);
  if (hardware(previous.machine) !== hardware(machine)) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      'The result to resume was measured on another machine; start again without it.',
    );
  }
}

interface Run {
  name: ExperimentName;
  settings: Settings;
  options: CheckedProfileOptions;
  checkpoint: Checkpoint | null;
  shape(model: string): WhisperConfig;
}

/** The context of a group of cases. `onProgress` receives the finished share of the group. */
function contextOf(
  { name, settings, options, checkpoint, shape }: Run,
  facts: Record<string, number>,
  onProgress: (share: number) => void,
): Context<Settings> {
  const { signal, quick, onTrace } = options;
  const { device, dtype, threads, seconds } = settings;
  return {
    settings,
    signal,
    shape,
    model: checkpoint?.directory,
    open: (config, modelOptions) => {
      const chosen = { device, dtype, threads, signal, ...modelOptions };
      const real = checkpoint && sameHeads(checkpoint.config, config);
      return real ? MeasuredWhisper.open({ ...checkpoint, config }, chosen) : randomModel(config, chosen);
    },
    facts,
    measure: (samplers, { repeats = settings.repeats } = {}) =>
      interleave(samplers, { repeats, seconds, bounded: quick }, { signal, onProgress }),
    trace: async (track, operations) => {
      if (onTrace) onTrace(`${name}: ${track}`, await operations());
    },
  };
}

/** A run whose settings are checked, and of which nothing is measured yet. */
interface Prepared extends Run {
  groups: Group<Settings>[];
  /** The settings as a result has them. */
  recorded: ExperimentResult['settings'];
  machine: Machine;
}

/**
 * Prepares a run. Throws OneheadError for everything that can be refused before measuring: invalid settings, another
 * run's `previous`, a missing device, checkpoint or recording.
 */
async function prepare(name: ExperimentName, given: ProfileOptions): Promise<Prepared> {
  if (typeof name !== 'string' || !Object.hasOwn(experiments, name))
    refuse('experiment', experimentNames.join(', '), name);
  const options = check(profileOptions, given);
  const settings = resolveSettings(name, options);
  const { signal, previous } = options;
  const experiment = experiments[name];
  const checkpoint =
    settings.model === undefined ? null : await readCheckpoint(await resolveModel(settings.model, { signal }));
  const shapes: Record<string, WhisperConfig> = { ...options.shapes };
  if (checkpoint) {
    const title = basename(checkpoint.directory);
    settings.models = [title];
    shapes[title] = checkpoint.config;
  }
  const shape = (model: string): WhisperConfig => {
    if (Object.hasOwn(shapes, model)) return shapes[model];
    if (!whisperSizes.includes(model)) refuse('models', `sizes of Whisper (${whisperSizes.join(', ')})`, model);
    return whisperConfig(model);
  };
  for (const model of settings.models ?? []) {
    const config = shape(model);
    const prompt = defaultPrompt(checkpoint?.generation ?? generationConfig(config));
    if (settings.tokens !== undefined) integerIn('tokens', settings.tokens, 1, config.targetPositions - prompt.length);
  }
  await experiment.check?.(settings as Parameters<NonNullable<typeof experiment.check>>[0]);
  const groups = experiment.groups(settings, shape);
  const recorded = JSON.parse(JSON.stringify({ ...settings, ...(options.shapes && { shapes }) }));
  const machine = describeMachine();
  if (previous) checkPrevious(previous, recorded, machine);
  return { name, settings, options, checkpoint, shape, groups, recorded, machine };
}

/** Throws what `profile` throws for these options before it measures anything. */
export async function checkProfile(name: ExperimentName, options: ProfileOptions): Promise<void> {
  await prepare(name, options);
}

/**
 * Runs one experiment. Throws OneheadError INVALID_ARGUMENT for invalid settings or another run's `previous`,
 * DEVICE_UNAVAILABLE for a missing device. Rejects with the signal's reason; `onResult` has received the groups that
 * were finished before.
 */
export async function profile(name: ExperimentName, given: ProfileOptions = {}): Promise<ExperimentResult> {
  const prepared = await prepare(name, given);
  const { options, groups, recorded, machine } = prepared;
  const { signal, previous } = options;
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
    const context = contextOf(prepared, result.facts, onProgress);
    result.rows.push(...(await group.run(context)));
    result.groups.push(group.name);
    result.date = new Date().toISOString();
    await options.onResult?.(result);
  }
  result.complete = true;
  await options.onResult?.(result);
  return result;
}
