/** Measures the time that the cross-attention cache saves, and the cost of copying it in every step. */
import type { Tensor } from '../../device/tensor.js';
import { crossCache, decoderShape, decodeStep, memoryBytes } from '../io-model/index.js';
import type { MeasuredWhisper } from '../measuring/measured-whisper.js';
import type { ProfileRow } from '../measuring/result.js';
import { crossCacheCharts, crossCacheTables } from '../report/cross-cache.js';
import { buildSamplers, type Context, defineExperiment, ofModelsAndBatches, stageRows } from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';
import { callMicroseconds, stepReplays } from './whisper.js';

type Own = Pick<OwnSettings, 'models' | 'batches' | 'tokens'>;

const variants = ['cached', 'copied', 'recomputed'] as const;
async function measure(context: Context<CommonSettings & Own>, model: string, batch: number): Promise<ProfileRow[]> {
  const { dtype, tokens } = context.settings;
  const full = context.shape(model);
  // Only the decoder is measured.
  const config = { ...full, encoder: { ...full.encoder, layers: 0 } };
  const loaded: MeasuredWhisper[] = [];
  const owned: Tensor[] = [];
  try {
    const build = async (name: string) => {
      const attention = { crossKeyValues: name as (typeof variants)[number] };
      const whisper = await context.open(config, { batch, attention });
      loaded.push(whisper);
      const encoded = whisper.device.tensor(whisper.dtype, [batch, config.sourcePositions, config.width]);
      owned.push(encoded);
      const sample = async () => {
        const window = await callMicroseconds(() => whisper.generate(encoded, tokens, context.signal));
        // All sequences have ended: a step still does all of its work, at the same position.
        return { window, step: await whisper.step.time(stepReplays) };
      };
      return { name, whisper, sample };
    };
    const { samplers, refused } = await buildSamplers({ model, batch }, variants, build, { stage: 'step' });
    if (samplers.length === 0) return refused;
    const measured = await context.measure(samplers);
    for (const { name, whisper } of samplers) {
      await context.trace(`${model}, batch ${batch}, ${name}`, () => whisper.step.trace());
    }
    const storage = { batch, bytesPerElement: dtype === 'float32' ? 4 : 2 };
    const sum = (costs: ReturnType<typeof decodeStep>, of: (cost: (typeof costs)[number]) => number) =>
      costs.reduce((total, cost) => total + of(cost), 0);
    const shape = decoderShape(config);
    const step = decodeStep(shape, { ...storage, position: loaded[0].prompt.length + tokens - 1 });
    const projection = crossCache(shape, storage);
    const cacheBytes = sum(projection, (cost) => cost.cacheBytesWritten);
    const extra = {
      cached: { bytes: 0, operations: 0 },
      // The copy adds one read and one write of the cache.
      copied: { bytes: 2 * cacheBytes, operations: 0 },
      recomputed: {
        bytes: sum(projection, (cost) => cost.parameterBytes + cost.cacheBytesWritten),
        operations: sum(projection, (cost) => cost.operations),
      },
    };
    const rows = stageRows({ model, batch }, measured, (name, stage, time): Record<string, number> => {
      if (stage === 'window') return { tokensPerSecond: (1e6 * batch * tokens) / time.median };
      const { bytes, operations } = extra[name as keyof typeof extra];
      return {
        tokensPerSecond: (1e6 * batch) / time.median,
        bytes: sum(step, memoryBytes) + bytes,
        operations: sum(step, (cost) => cost.operations) + operations,
      };
    });
    return [...rows, ...refused];
  } finally {
    for (const resource of [...owned, ...loaded]) resource.dispose();
  }
}

export const experiment = defineExperiment<Own>({
  name: 'cross-cache',
  title: 'The cross-attention cache',
  about:
    'The cross-attention cache of a large-v3-turbo decoder. Cached: the audio’s keys and values are projected once per window, as in transcription. ' +
    'Copied: the same cache is copied in every step, as in the source’s exported graph. Recomputed: they are projected again for every token.',
  full: { models: ['turbo'], batches: [1, 8], tokens: 64, repeats: 50, seconds: 20 },
  quick: { models: ['turbo'], batches: [1], tokens: 8, repeats: 5, seconds: 3 },
  groups: ofModelsAndBatches(measure),
  compared: { base: 'cached', field: 'stage', values: ['step'] },
  tables: crossCacheTables,
  charts: crossCacheCharts,
});
