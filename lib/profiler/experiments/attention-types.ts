/** BigCode's comparison of attention types by stage. */
import { Device } from '../../device/device.js';
import type { AttentionAlgorithm } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { FloatingType } from '../../element-types.js';
import { attention } from '../io-model/index.js';
import type { Sampler } from '../measuring/measure.js';
import { RandomWeights, randomNumbers } from '../measuring/random-weights.js';
import type { ProfileRow } from '../measuring/result.js';
import { v100Lengths } from '../measuring/v100.js';
import { attentionTypesCharts, attentionTypesTables } from '../report/attention-types.js';
import { buildSamplers, type Context, defineExperiment, stageRows } from './experiment.js';
import type { CommonSettings, OwnSettings } from './options.js';

interface AttentionForm {
  algorithm: AttentionAlgorithm;
  shared: boolean;
}

const variants: Record<string, AttentionForm> = {
  'multi-head': { algorithm: 'multi-head', shared: false },
  'multi-query': { algorithm: 'multi-query', shared: true },
  'multi-query-1': { algorithm: 'multi-query-1', shared: true },
  'memory-efficient': { algorithm: 'memory-efficient', shared: false },
  'memory-efficient, shared': { algorithm: 'memory-efficient', shared: true },
};

interface Shape {
  batch: number;
  length: number;
  heads: number;
  headSize: number;
  dtype: FloatingType;
}

function record(device: Device, variant: AttentionForm, weight: Tensor, shape: Shape): { x: Tensor; program: Program } {
  const { batch, length, heads, headSize, dtype } = shape;
  const width = heads * headSize;
  const shared = variant.shared ? headSize : width;
  // 'multi-query' has the length-first order of Megatron.
  const rows = variant.algorithm === 'multi-query' ? [length, batch] : [batch, length];
  const x = device.tensor(dtype, [...rows, width], randomNumbers(batch * length * width, 7));
  const program = device.record(variant.algorithm, (ops) => {
    const product = ops.linear(x, weight);
    const [query, key, value] = [
      product.columns(0, width),
      product.columns(width, shared),
      product.columns(width + shared, shared),
    ];
    const keyValueHeads = variant.shared ? 1 : heads;
    ops.attention(query, key, value, { heads, keyValueHeads, algorithm: variant.algorithm });
  });
  return { x, program };
}

/** Microseconds of each stage from a trace, and of the whole program from a replay without tracing. */
async function sample(program: Program): Promise<Record<string, number>> {
  const [linear, attention] = await program.trace();
  const parts = attention.parts ?? [{ name: 'attention', microseconds: attention.microseconds }];
  return {
    'query, key, value': linear.microseconds,
    ...Object.fromEntries(parts.map(({ name, microseconds }) => [name, microseconds])),
    total: await program.time(),
  };
}

type Own = Pick<OwnSettings, 'batches' | 'lengths' | 'heads' | 'headSize'>;
type Settings = CommonSettings & Own;

async function measure(context: Context<Settings>, batch: number, length: number): Promise<ProfileRow[]> {
  const { device: kind, threads, dtype, heads, headSize, repeats } = context.settings;
  const width = heads * headSize;
  using device = new Device(kind, { threads });
  const weights = await RandomWeights.create(3 * width * width);
  const common = { batch, length };
  const owned: Disposable[] = [];
  try {
    const { samplers, refused } = await buildSamplers(common, Object.keys(variants), async (name) => {
      const variant = variants[name];
      const outputs = width + 2 * (variant.shared ? headSize : width);
      const weight = await weights.load(device, dtype, [outputs, width]);
      owned.push(weight);
      const { x, program } = record(device, variant, weight, { batch, length, heads, headSize, dtype });
      owned.push(x, program);
      await program.prepare();
      return { name, program, sample: () => sample(program) } satisfies Sampler & { program: Program };
    });
    // As in the source, longer sequences have fewer repeats.
    const share = Math.min(1, (64 / length) ** (1 / 3));
    const measured = await context.measure(samplers, { repeats: Math.ceil(repeats * share) });
    for (const { name, program } of samplers) {
      await context.trace(`${name}, batch ${batch}, length ${length}`, () => program.trace());
    }
    const elements = dtype === 'float32' ? 4 : 2;
    const rows = stageRows(common, measured, (name, stage): Record<string, number> => {
      if (stage !== 'total') return {};
      const keyValueHeads = variants[name].shared ? 1 : heads;
      const shape = {
        form: 'batch',
        batch,
        keys: length,
        width,
        heads,
        keyValueHeads,
        bytesPerElement: elements,
      } as const;
      const { operations } = attention(shape);
      // The source counts neither the softmax nor the output projection.
      const counted = operations.filter(({ operation }) => !['weights', 'y'].includes(operation));
      return { operations: counted.reduce((sum, operation) => sum + operation.operations, 0) };
    });
    return [...rows, ...refused];
  } finally {
    await weights.dispose();
    for (const resource of owned) resource[Symbol.dispose]();
  }
}

export const experiment = defineExperiment<Own>({
  name: 'attention-types',
  title: 'Attention types by stage',
  about:
    'BigCode’s comparison of multi-head attention with two forms of multi-query attention. The source measures the products only; here the softmax is included. ' +
    'The stage split copies queries, keys and values into the order that the products need; values (output in the source) is the product with the values. ' +
    'The memory-efficient kernel, which stores no scores, is added.',
  full: {
    batches: [8, 16],
    lengths: [...v100Lengths],
    heads: 16,
    headSize: 64,
    repeats: 500,
    seconds: 10,
    dtype: 'float32',
  },
  quick: {
    batches: [2],
    lengths: [64, 192, 448, 960],
    heads: 16,
    headSize: 64,
    repeats: 20,
    seconds: 0.5,
    dtype: 'float32',
  },
  groups: ({ batches, lengths }) =>
    batches.flatMap((batch) =>
      lengths.map((length) => ({
        name: `batch ${batch}, length ${length}`,
        run: (context) => measure(context, batch, length),
      })),
    ),
  compared: { base: 'multi-head', field: 'stage', values: ['total'] },
  tables: attentionTypesTables,
  charts: attentionTypesCharts,
});
