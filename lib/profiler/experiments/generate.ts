/** BigCode's generation experiment: a model in the shape of GPT-2 with three attention types and onehead's kernels. */
import { Device } from '../../device/device.js';
import type { AttentionAlgorithm } from '../../device/operations.js';
import { decoderOnlyParameters } from '../io-model/index.js';
import { DecoderOnly, type DecoderOnlyWeights, loadDecoderOnly } from '../measuring/decoder-only.js';
import type { ProfileRow } from '../measuring/result.js';
import { generateCharts, generateTables } from '../report/generate.js';
import { buildSamplers, type Context, defineExperiment, stageRows } from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';
import { callMicroseconds } from './whisper.js';

type Own = Pick<OwnSettings, 'layers' | 'heads' | 'headSize' | 'vocabulary' | 'batches' | 'prompt' | 'tokens'>;

const variants: Record<string, { algorithm: AttentionAlgorithm; shared: boolean }> = {
  'multi-head': { algorithm: 'multi-head', shared: false },
  'multi-query': { algorithm: 'multi-query', shared: true },
  'multi-query-1': { algorithm: 'multi-query-1', shared: true },
  'auto, multi-head': { algorithm: 'auto', shared: false },
  'auto, multi-query': { algorithm: 'auto', shared: true },
};

async function measure(context: Context<CommonSettings & Own>, batch: number): Promise<ProfileRow[]> {
  const { device: kind, dtype, threads, layers, heads, headSize, vocabulary, prompt, tokens } = context.settings;
  const shape = { layers, heads, headSize, vocabulary, positions: prompt + tokens };
  using device = new Device(kind, { threads });
  const weights = new Map<number, DecoderOnlyWeights>();
  const models: DecoderOnly[] = [];
  try {
    for (const keyValueHeads of [heads, 1]) {
      weights.set(keyValueHeads, await loadDecoderOnly(device, dtype, shape, keyValueHeads));
    }
    const prompts = Array.from({ length: batch }, (_, row) =>
      Array.from({ length: prompt }, (_, i) => (row * prompt + i) % (vocabulary - 1)),
    );
    const { samplers, refused } = await buildSamplers({ batch }, Object.keys(variants), async (name) => {
      const { algorithm, shared } = variants[name];
      const keyValueHeads = shared ? 1 : heads;
      const options = { batch, dtype, keyValueHeads, algorithm, prompt };
      const model = new DecoderOnly(device, shape, weights.get(keyValueHeads)!, options);
      models.push(model);
      await model.generate(prompts, 1);
      return {
        name,
        model,
        sample: async () => ({ total: await callMicroseconds(() => model.generate(prompts, tokens, context.signal)) }),
      };
    });
    const measured = await context.measure(samplers);
    for (const { name, model } of samplers) await context.trace(`batch ${batch}, ${name}`, () => model.step.trace());
    const element = dtype === 'float32' ? 4 : 2;
    const rows = stageRows({ batch }, measured, (name, _, time): Record<string, number> => {
      const keyValueHeads = variants[name].shared ? 1 : heads;
      const width = heads * headSize;
      const counts = { layers, width, heads, keyValueHeads, feedForward: 4 * width, vocabulary };
      return {
        tokensPerSecond: (1e6 * batch * tokens) / time.median,
        parameters: decoderOnlyParameters({ ...counts, positions: shape.positions }).total,
        cacheBytes: 2 * layers * batch * shape.positions * keyValueHeads * headSize * element,
      };
    });
    return [...rows, ...refused];
  } finally {
    for (const model of models) model.dispose();
    for (const { all } of weights.values()) for (const tensor of all) tensor.dispose();
  }
}

export const experiment = defineExperiment<Own>({
  name: 'generate',
  title: 'Generation with a model in the shape of GPT-2',
  about:
    'BigCode’s generation experiment: 24 layers, 16 heads of size 64, a vocabulary of 50257, batch 8, prompts of 16 tokens, greedy decoding up to 1024 tokens. ' +
    'Three variants use one of BigCode’s algorithms for prefill and decode steps; auto is onehead’s own choice.',
  full: {
    layers: 24,
    heads: 16,
    headSize: 64,
    vocabulary: 50257,
    batches: [8],
    prompt: 16,
    tokens: 1008,
    repeats: 5,
    seconds: 120,
    dtype: 'float32',
  },
  quick: {
    layers: 4,
    heads: 16,
    headSize: 64,
    vocabulary: 50257,
    batches: [8],
    prompt: 16,
    tokens: 48,
    repeats: 5,
    seconds: 2,
    dtype: 'float32',
  },
  groups: ({ batches }) =>
    batches.map((batch) => ({ name: `batch ${batch}`, run: (context) => measure(context, batch) })),
  compared: { base: 'multi-head', field: 'stage', values: ['total'] },
  tables: generateTables,
  charts: generateCharts,
});
