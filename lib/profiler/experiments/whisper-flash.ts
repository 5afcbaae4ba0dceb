/** The whisper-flash-attention benchmark: attention with a stored score matrix and without. */
import { whisperFlashCharts, whisperFlashTables } from '../report/whisper-flash.js';
import { defineExperiment } from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';
import { depths, measureVariants, withDecoderLayers } from './whisper.js';

type Own = Pick<OwnSettings, 'models' | 'decoderLayers' | 'batches'> & Partial<Pick<OwnSettings, 'tokens'>>;

const everywhere = (algorithm: 'multi-head' | 'memory-efficient') => ({
  encoder: algorithm,
  self: algorithm,
  cross: algorithm,
});
const variants = {
  'multi-head': everywhere('multi-head'),
  'memory-efficient': everywhere('memory-efficient'),
  // 'auto' chooses memory-efficient for many rows and split-kv for one.
  auto: {},
};

/**
 * The two settings of the source: single windows of 25 tokens with 100 repeats, and batches of 256 tokens with 10.
 */
const effortOf = (batch: number, tokens?: number) =>
  batch === 1 ? { batch, tokens: tokens ?? 25, share: 1 } : { batch, tokens: tokens ?? 256, share: 0.1 };

export const experiment = defineExperiment<Own>({
  name: 'whisper-flash',
  title: 'Whisper with memory-efficient attention',
  about:
    'The whisper-flash-attention benchmark: multi-head attention (original in the source), which stores the score matrix, compared with memory-efficient attention in ' +
    'encoder and decoder, as in the source, and with onehead’s own choice, which uses split-kv in decode steps.',
  full: {
    models: ['tiny', 'base', 'small', 'medium'],
    decoderLayers: [2, 4, 6, 8, 16],
    batches: [1, 32],
    tokens: undefined,
    repeats: 100,
    seconds: 10,
  },
  quick: { models: ['tiny'], decoderLayers: [2], batches: [1, 4], tokens: 25, repeats: 10, seconds: 2 },
  groups: ({ models, decoderLayers, batches, tokens: givenTokens, repeats }: CommonSettings & Own, shape) =>
    models.flatMap((model) =>
      depths(shape(model), decoderLayers).flatMap((depth) =>
        batches.map((batch) => ({
          name: `${model}, ${depth} decoder layers, batch ${batch}`,
          run: (context) => {
            const { tokens, share } = effortOf(batch, givenTokens);
            const config = withDecoderLayers(shape(model), depth);
            const built = Object.entries(variants).map(([name, attention]) => ({ name, config, attention }));
            const effort = { batch, tokens, repeats: Math.max(Math.min(3, repeats), Math.ceil(share * repeats)) };
            return measureVariants(context, { model, decoderLayers: depth, batch, tokens }, built, effort);
          },
        })),
      ),
    ),
  compared: { base: 'multi-head', field: 'stage', values: ['total', 'decode'] },
  tables: whisperFlashTables,
  charts: whisperFlashCharts,
});
