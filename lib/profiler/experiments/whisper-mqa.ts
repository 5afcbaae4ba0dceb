/** The whisper-mqa benchmark: multi-query attention in the parts of Whisper, by number of decoder layers. */
import { type AttentionPart, attentionParts, withKeyValueHeads } from '../measuring/shapes.js';
import { whisperMqaCharts, whisperMqaTables } from '../report/whisper-mqa.js';
import { defineExperiment } from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';
import { depths, measureVariants, withDecoderLayers } from './whisper.js';

type Own = Pick<OwnSettings, 'models' | 'decoderLayers' | 'batches' | 'tokens'>;

/** The parts of each variant that have one key/value head. */
const variants: Record<string, readonly AttentionPart[]> = {
  'multi-head': [],
  'multi-query encoder': ['encoder'],
  'multi-query self-attention': ['self'],
  'multi-query cross-attention': ['cross'],
  'multi-query everywhere': attentionParts,
};

export const experiment = defineExperiment<Own>({
  name: 'whisper-mqa',
  title: 'Whisper with multi-query attention',
  about:
    'The whisper-mqa benchmark: models with random weights and fewer decoder layers decode a fixed number of tokens from each window. ' +
    'Multi-head attention is compared with multi-query attention in the encoder, in the decoder’s self-attention, in its cross-attention, and in all three.',
  full: {
    models: ['tiny', 'base', 'small', 'medium', 'large-v3'],
    decoderLayers: [2, 4, 6, 8, 12, 16, 24],
    batches: [1, 32],
    tokens: 25,
    repeats: 100,
    seconds: 10,
  },
  quick: { models: ['tiny'], decoderLayers: [2], batches: [1, 4], tokens: 25, repeats: 10, seconds: 1 },
  groups: ({ models, decoderLayers, batches, tokens }: CommonSettings & Own, shape) =>
    models.flatMap((model) =>
      depths(shape(model), decoderLayers).flatMap((depth) =>
        batches.map((batch) => ({
          name: `${model}, ${depth} decoder layers, batch ${batch}`,
          run: (context) => {
            const config = withDecoderLayers(shape(model), depth);
            const built = Object.entries(variants).map(([name, parts]) => ({
              name,
              config: withKeyValueHeads(config, parts, 1),
            }));
            return measureVariants(context, { model, decoderLayers: depth, batch }, built, { batch, tokens });
          },
        })),
      ),
    ),
  compared: { base: 'multi-head', field: 'stage', values: ['total', 'decode'] },
  tables: whisperMqaTables,
  charts: whisperMqaCharts,
});
