/** Measures variants of Whisper from features to tokens, for the experiments on whole models. */
import type { Tensor } from '../../device/tensor.js';
import type { WhisperConfig } from '../../whisper/checkpoint/config.js';
import { caches, parameters } from '../io-model/index.js';
import type { Sampler } from '../measuring/measure.js';
import type { AttentionChoice, MeasuredWhisper } from '../measuring/measured-whisper.js';
import type { ProfileRow } from '../measuring/result.js';
import { buildSamplers, type Context, stageRows } from './experiment.js';
import type { CommonSettings } from './options.js';

export interface ModelVariant {
  name: string;
  config: WhisperConfig;
  attention?: AttentionChoice;
}

/** The sampler of a loaded variant. */
interface LoadedVariant extends Sampler {
  model: MeasuredWhisper;
  features: Tensor;
}

function dispose({ model, features }: LoadedVariant): void {
  features.dispose();
  model.dispose();
}

/** The numbers of decoder layers to measure: the model's number, and those of `reduced` that are smaller. */
export function depths(config: WhisperConfig, reduced: readonly number[]): number[] {
  const { layers } = config.decoder;
  return [...new Set([...reduced.filter((depth) => depth < layers), layers])].sort((a, b) => b - a);
}

export const withDecoderLayers = (config: WhisperConfig, layers: number): WhisperConfig => ({
  ...config,
  decoder: { ...config.decoder, layers },
});

/**
 * The number of replays of a decode step in one sample. Decoding also runs several steps in a row, so that the threads
 * are awake after the first.
 */
export const stepReplays = 8;

/** The microseconds that a caller on the event loop waits for `work`. */
export async function callMicroseconds(work: () => Promise<unknown>): Promise<number> {
  const started = performance.now();
  await work();
  return 1000 * (performance.now() - started);
}

/** Encodes a batch of windows and decodes exactly `tokens` tokens of each. */
async function transcribe(model: MeasuredWhisper, features: Tensor, tokens: number, signal?: AbortSignal) {
  let encoded: Tensor | undefined;
  try {
    const encode = await callMicroseconds(async () => {
      encoded = await model.encode(features, signal);
    });
    const decode = await callMicroseconds(() => model.generate(encoded!, tokens, signal));
    return { encode, decode, total: encode + decode };
  } finally {
    encoded?.dispose();
  }
}

/**
 * Loads the variants, measures them in turns, and returns a row for each stage of each variant. `memoryBytes` is the
 * peak memory of the device: weights, caches and temporaries.
 */
export async function measureVariants(
  context: Context<CommonSettings>,
  common: Record<string, string | number>,
  variants: readonly ModelVariant[],
  { batch, tokens, repeats }: { batch: number; tokens: number; repeats?: number },
): Promise<ProfileRow[]> {
  const { dtype } = context.settings;
  const loaded: LoadedVariant[] = [];
  const byName = new Map(variants.map((variant) => [variant.name, variant]));
  try {
    const { refused } = await buildSamplers(common, [...byName.keys()], async (name) => {
      context.signal?.throwIfAborted();
      const { config, attention } = byName.get(name)!;
      const model = await context.open(config, { batch, attention });
      try {
        const features = model.device.tensor('float32', [batch, config.mels, 2 * config.sourcePositions]);
        const sampler = { name, model, features, sample: () => transcribe(model, features, tokens, context.signal) };
        await sampler.sample(); // allocates all memory, so that a lack of it refuses this variant here
        loaded.push(sampler);
        return sampler;
      } catch (error) {
        model.dispose();
        throw error;
      }
    });
    const measured = await context.measure(loaded, { repeats });
    for (const { name, model } of loaded) {
      const track = `${Object.values(common).join(', ')}, ${name}`;
      await context.trace(`${track}, encoder`, () => model.encoder.trace());
      await context.trace(`${track}, step`, () => model.step.trace());
    }
    const bytesPerElement = dtype === 'float32' ? 4 : 2;
    const rows = stageRows(common, measured, (name, stage, time): Record<string, number> => {
      if (stage === 'decode') return { tokensPerSecond: (1e6 * batch * tokens) / time.median };
      if (stage !== 'total') return {};
      const { config } = byName.get(name)!;
      const { selfBytes, crossBytes } = caches(config, { batch, bytesPerElement });
      return {
        parameters: parameters(config).total,
        compression: parameters(variants[0].config).total / parameters(config).total,
        memoryBytes: loaded.find((variant) => variant.name === name)!.model.device.memory().peak,
        selfCacheBytes: selfBytes,
        crossCacheBytes: crossBytes,
      };
    });
    return [...rows, ...refused];
  } finally {
    loaded.forEach(dispose);
  }
}
