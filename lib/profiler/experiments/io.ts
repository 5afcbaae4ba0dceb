/** Compares every operation of a decode step with the prediction of the I/O model. */
import { OneheadError } from '../../errors.js';
import type { WhisperConfig } from '../../whisper/checkpoint/config.js';
import { type Ceilings, decoderShape, decodeStep, floor, memoryBytes, type OperationCost } from '../io-model/index.js';
import type { MeasuredWhisper } from '../measuring/measured-whisper.js';
import type { ProfileRow } from '../measuring/result.js';
import { withKeyValueHeads } from '../measuring/shapes.js';
import { ioCharts, ioTables } from '../report/io.js';
import { buildSamplers, type Context, ceilingsOf, defineExperiment, ofModelsAndBatches } from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';
import { stepReplays } from './whisper.js';

type Own = Pick<OwnSettings, 'models' | 'batches' | 'tokens'>;

/**
 * Checks that the I/O model's operations are those of a recorded program, one for one. Throws OneheadError
 * NOT_SUPPORTED if they differ.
 */
export function requireMatch(
  costs: readonly OperationCost[],
  recorded: readonly { name: string; label: string }[],
): void {
  const same = costs.every(({ name, label }, i) => name === recorded[i]?.name && label === recorded[i].label);
  if (!same || costs.length !== recorded.length) {
    throw new OneheadError(
      'NOT_SUPPORTED',
      'The operations of this decode step differ from those of the I/O model; please report this.',
    );
  }
}

/** Sums the values of each part over the layers. */
function byPart<T>(costs: readonly OperationCost[], values: readonly T[], value: (from: T) => number) {
  const sums: Record<string, number> = {};
  costs.forEach(({ part }, i) => {
    sums[part] = (sums[part] ?? 0) + value(values[i]);
  });
  return sums;
}

function figures(costs: readonly OperationCost[], part: string | null, ceilings: Ceilings, microseconds: number) {
  const chosen = costs.filter((cost) => part === null || cost.part === part);
  const sum = (of: (cost: OperationCost) => number) => chosen.reduce((total, cost) => total + of(cost), 0);
  const bytes = sum(memoryBytes);
  const floorMicroseconds = sum((cost) => floor(cost, ceilings).microseconds);
  const operations = sum((cost) => cost.operations);
  return {
    bytes,
    activationBytes: sum((cost) => cost.activationBytes),
    operations,
    floorMicroseconds,
    shareOfFloor: floorMicroseconds / microseconds,
    gigabytesPerSecond: bytes / microseconds / 1e3,
    gigaoperationsPerSecond: operations / microseconds / 1e3,
  };
}

async function measure(context: Context<CommonSettings & Own>, model: string, batch: number): Promise<ProfileRow[]> {
  const { dtype, tokens } = context.settings;
  const ceilings = await ceilingsOf(context);
  const full = context.shape(model);
  const decoderOnly = { ...full, encoder: { ...full.encoder, layers: 0 } };
  const variants: Record<string, WhisperConfig> = {
    'multi-head': decoderOnly,
    'multi-query': withKeyValueHeads(decoderOnly, ['self', 'cross'], 1),
  };
  const loaded: MeasuredWhisper[] = [];
  try {
    const costs: Record<string, OperationCost[]> = {};
    const build = async (name: string) => {
      const config = variants[name];
      const whisper = await context.open(config, { batch });
      loaded.push(whisper);
      const storage = { batch, bytesPerElement: dtype === 'float32' ? 4 : 2 };
      const position = whisper.prompt.length + tokens - 1;
      costs[name] = decodeStep(decoderShape(config), { ...storage, position });
      using encoded = whisper.device.tensor(whisper.dtype, [batch, config.sourcePositions, config.width]);
      // Fills the caches up to the measured position. All sequences have then ended, so steps stay at that position.
      await whisper.generate(encoded, tokens);
      const sample = async () => {
        const times = await whisper.step.trace(stepReplays);
        const parts = byPart(costs[name], times, ({ microseconds }) => microseconds);
        return { ...parts, 'whole step': await whisper.step.time(stepReplays) };
      };
      return { name, whisper, sample };
    };
    const names = Object.keys(variants);
    const { samplers, refused } = await buildSamplers({ model, batch }, names, build, { operation: 'whole step' });
    // A difference is a defect, and no reason to leave out a variant.
    for (const { name, whisper } of samplers) requireMatch(costs[name], whisper.step.operations);
    const measured = await context.measure(samplers);
    for (const { name, whisper } of samplers) {
      await context.trace(`${model}, batch ${batch}, ${name}`, () => whisper.step.trace());
    }
    const rows = [...measured].flatMap(([variant, stages]) =>
      Object.entries(stages).map(([part, time]) => ({
        case: { model, batch, variant, operation: part },
        time,
        figures: figures(costs[variant], part === 'whole step' ? null : part, ceilings, time.median),
      })),
    );
    return [...rows, ...refused];
  } finally {
    for (const whisper of loaded) whisper.dispose();
  }
}

export const experiment = defineExperiment<Own>({
  name: 'io',
  title: 'The operations of a decode step: predicted and measured',
  about:
    'For every operation of a decode step, the predictions of the I/O model (bytes of weights and caches, arithmetic, and the floor ' +
    'at this device’s measured bandwidth and multiply rate) and the measured time.',
  full: {
    models: ['tiny', 'base', 'small', 'medium', 'large-v3', 'turbo'],
    batches: [1, 8, 32, 64],
    tokens: 60,
    repeats: 100,
    seconds: 5,
  },
  quick: { models: ['tiny', 'base'], batches: [1, 8], tokens: 60, repeats: 30, seconds: 1 },
  groups: ofModelsAndBatches(measure),
  compared: { base: 'multi-head', field: 'operation', values: ['whole step'] },
  tables: ioTables,
  charts: ioCharts,
});
