/** Measures a decode step with weights, caches or both in 8 bits, and compares it with the I/O model. */
import type { FloatingType } from '../../element-types.js';
import type { WhisperConfig } from '../../whisper/checkpoint/config.js';
import { type Precision, precisionWith, uniformPrecision } from '../../whisper/model/precision.js';
import { decoderShape, decodeStep, floorOf, memoryBytes, storageOf } from '../io-model/index.js';
import type { MeasuredWhisper } from '../measuring/measured-whisper.js';
import type { ProfileRow } from '../measuring/result.js';
import { precisionCharts, precisionTables } from '../report/precision.js';
import {
  buildSamplers,
  type Context,
  ceilingsOf,
  defineExperiment,
  ofModelsAndBatches,
  stageRows,
} from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';
import { stepReplays } from './whisper.js';

type Own = Pick<OwnSettings, 'models' | 'batches' | 'tokens'>;

/** The variants, named by what is stored in 8 bits; everything else has the run's type. */
const precisionVariants = ['floating', 'int8 weights', 'int8 cache', 'int8 weights and cache'] as const;

function variant(name: string, dtype: FloatingType): Precision {
  const base = uniformPrecision(dtype);
  const weights = name === 'int8 weights' || name === 'int8 weights and cache';
  const cache = name === 'int8 cache' || name === 'int8 weights and cache' ? 'int8' : dtype;
  return precisionWith(base, { ...(weights && { weights: 'int8', activations: 'int8' }), cache });
}

/** Bytes of memory traffic of a step: of weights, once for the batch, and of caches, for each sequence. */
function stepBytes(config: WhisperConfig, precision: Precision, batch: number, position: number) {
  const costs = decodeStep(decoderShape(config), { ...storageOf(precision, batch), position });
  const cache = costs.reduce((sum, cost) => sum + cost.cacheBytesRead + cost.cacheBytesWritten, 0);
  const all = costs.reduce((sum, cost) => sum + memoryBytes(cost), 0);
  return { costs, weights: all - cache, cache };
}

/**
 * The batch from which on 8 bits save more bytes in the caches than in the weights: savings of weights are the same for
 * every batch, savings of caches grow with it.
 */
export function crossoverBatch(config: WhisperConfig, dtype: FloatingType, position: number): number {
  const of = (name: string) => stepBytes(config, variant(name, dtype), 1, position);
  const [plain, both] = [of('floating'), of('int8 weights and cache')];
  return (plain.weights - both.weights) / (plain.cache - both.cache);
}

async function measure(context: Context<CommonSettings & Own>, model: string, batch: number): Promise<ProfileRow[]> {
  const { dtype, tokens } = context.settings;
  const ceilings = await ceilingsOf(context);
  const full = context.shape(model);
  // Only the decoder is measured.
  const config = { ...full, encoder: { ...full.encoder, layers: 0 } };
  const loaded = new Map<string, MeasuredWhisper>();
  try {
    const { samplers, refused } = await buildSamplers({ model, batch }, precisionVariants, async (name) => {
      const whisper = await context.open(config, { batch, precision: variant(name, dtype) });
      loaded.set(name, whisper);
      using encoded = whisper.device.tensor(whisper.dtype, [batch, config.sourcePositions, config.width]);
      // Fills the caches up to the measured position. All sequences have then ended, so steps stay at that position.
      await whisper.generate(encoded, tokens, context.signal);
      return { name, sample: async () => ({ step: await whisper.step.time(stepReplays) }) };
    });
    if (samplers.length === 0) return refused;
    const measured = await context.measure(samplers);
    for (const [name, whisper] of loaded) {
      await context.trace(`${model}, batch ${batch}, ${name}`, () => whisper.step.trace());
    }
    const position = [...loaded.values()][0].prompt.length + tokens - 1;
    const bytesOf = (name: string) => stepBytes(config, variant(name, dtype), batch, position);
    const floorOfVariant = (name: string) => floorOf(bytesOf(name).costs, ceilings);
    const rows = stageRows({ model, batch }, measured, (name, _, time) => {
      const { weights, cache } = bytesOf(name);
      const floorMicroseconds = floorOfVariant(name);
      return {
        weightBytes: weights,
        cacheBytes: cache,
        floorMicroseconds,
        shareOfFloor: floorMicroseconds / time.median,
        predictedRatio: floorMicroseconds / floorOfVariant('floating'),
        crossoverBatch: crossoverBatch(config, dtype, position),
      };
    });
    return [...rows, ...refused];
  } finally {
    for (const whisper of loaded.values()) whisper.dispose();
  }
}

export const experiment = defineExperiment<Own>({
  name: 'precision',
  title: 'A decode step in 8 bits',
  about:
    'A decode step with weights, caches or both in 8 bits, compared with the run’s floating-point type: the bytes that each variant reads, its floor, and the batch from ' +
    'which on 8-bit caches save more than 8-bit weights. Weights are read once for a batch, caches for each of its sequences.',
  full: { models: ['tiny', 'base', 'small', 'turbo'], batches: [1, 4, 8, 16], tokens: 60, repeats: 50, seconds: 5 },
  quick: { models: ['base'], batches: [1, 8], tokens: 30, repeats: 20, seconds: 1 },
  groups: ofModelsAndBatches(measure),
  compared: { base: 'floating', field: 'stage', values: ['step'] },
  tables: precisionTables,
  charts: precisionCharts,
});
