/** The experiments by name, in the order in which `all` runs them. */

import { experiment as attentionTypes } from './attention-types.js';
import { experiment as audioContext } from './audio-context.js';
import { experiment as crossCache } from './cross-cache.js';
import type { Experiment } from './experiment.js';
import { experiment as generate } from './generate.js';
import { experiment as io } from './io.js';
import { commonSettings, ownSettings } from './options.js';
import { experiment as precision } from './precision.js';
import { experiment as whisperFlash } from './whisper-flash.js';
import { experiment as whisperMqa } from './whisper-mqa.js';

export const experimentNames = [
  'attention-types',
  'generate',
  'whisper-mqa',
  'whisper-flash',
  'cross-cache',
  'audio-context',
  'io',
  'precision',
] as const;
export type ExperimentName = (typeof experimentNames)[number];

export const experiments: Record<ExperimentName, Experiment> = {
  'attention-types': attentionTypes,
  generate,
  'whisper-mqa': whisperMqa,
  'whisper-flash': whisperFlash,
  'cross-cache': crossCache,
  'audio-context': audioContext,
  io,
  precision,
};

/** The names of the settings that an experiment has. Those with `models` have `model` too. */
export function settingsOf(name: ExperimentName): string[] {
  const { full, checkpointOnly } = experiments[name];
  const own = Object.keys(ownSettings.entries).filter((key) =>
    key === 'models' && checkpointOnly ? false : Object.hasOwn(full, key === 'model' ? 'models' : key),
  );
  return [...own, ...Object.keys(commonSettings.entries)];
}
