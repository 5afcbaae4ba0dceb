/** Loads a checkpoint's weights to a device. */
import type { Device, Part } from '../../device/device.js';
import type { Norm, Weight } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import type { FloatingType } from '../../element-types.js';
import type {
  CrossAttentionParameters,
  DecoderLayer,
  EncoderLayer,
  FeedForwardParameters,
  LinearParameters,
  SelfAttentionParameters,
} from '../../layers/parameters.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { maximumLoss } from '../checkpoint/quantize.js';
import { WeightFiles } from '../checkpoint/weight-files.js';
import { findTensor } from '../checkpoint/weights.js';
import type { TensorEntry } from '../files/tensors.js';
import { type PartPrecision, type Precision, uniformPrecision } from './precision.js';

export interface ConvolutionParameters {
  weight: Tensor;
  bias: Tensor;
}

export interface Parameters {
  encoder: {
    convolutions: [ConvolutionParameters, ConvolutionParameters];
    positions: Tensor;
    layers: EncoderLayer[];
    norm: Norm;
  };
  decoder: {
    tokens: Weight;
    positions: Tensor;
    layers: DecoderLayer[];
    norm: Norm;
    /** Weight of the logits; the token embedding itself if the two are tied. */
    output: Weight;
  };
  /**
   * Names, in the checkpoint, of products that are too sensitive for 8 bits. Their weights have the type of the layers'
   * values.
   */
  sensitive: string[];
  /** All tensors above, for disposal. */
  all: Tensor[];
}

/**
 * Loads a checkpoint's tensors from their files; the device converts them to their types. A type alone stands for
 * `uniformPrecision`. Throws OneheadError MODEL_INVALID or OUT_OF_MEMORY.
 */
export async function loadParameters(
  device: Device,
  checkpoint: Checkpoint,
  types: Precision | FloatingType,
): Promise<Parameters> {
  const { encoder, decoder } = typeof types === 'string' ? uniformPrecision(types) : types;
  const { config, tensors } = checkpoint;
  const files = new WeightFiles();
  const all: Tensor[] = [];
  const sensitive: string[] = [];
  const entry = (name: string): TensorEntry => findTensor(tensors, name)!; // readCheckpoint has checked that all exist
  const part = (name: string): Part => files.part(name, entry(name));
  const load = async (type: FloatingType, shape: number[], parts: Part[]): Promise<Tensor> => {
    const tensor = await device.load(type, shape, parts);
    all.push(tensor);
    return tensor;
  };
  const vector = (name: string) => load('float32', entry(name).shape, [part(name)]);
  const norm = async (name: string): Promise<Norm> => ({
    weight: await vector(`${name}.weight`),
    bias: await vector(`${name}.bias`),
  });
  /** Loads the weight of a product from one or more tensors, whose rows are concatenated. */
  const matrix = async ({ weights, values }: PartPrecision, names: string[]): Promise<Weight> => {
    const rows = names.map((name) => entry(`${name}.weight`).shape[0]);
    const shape = [rows.reduce((sum, count) => sum + count, 0), entry(`${names[0]}.weight`).shape[1]];
    const parts = names.map((name) => part(`${name}.weight`));
    if (weights !== 'int8') return load(weights, shape, parts);
    const { weight, error } = await device.quantize(shape, parts);
    if (error <= maximumLoss) {
      all.push(weight.data, weight.scales);
      return weight;
    }
    weight.data.dispose();
    weight.scales.dispose();
    sensitive.push(...names);
    return load(values, shape, parts);
  };
  /** Loads concatenated biases, with zeros for a product without a bias. */
  const bias = (names: string[]): Promise<Tensor> => {
    const parts = names.map((name) =>
      findTensor(tensors, `${name}.bias`) ? part(`${name}.bias`) : { elements: entry(`${name}.weight`).shape[0] },
    );
    return load('float32', [parts.reduce((sum, { elements }) => sum + elements, 0)], parts);
  };
  /** Loads several products of the same input as one. */
  const linear = async (precision: PartPrecision, ...names: string[]): Promise<LinearParameters> => ({
    weight: await matrix(precision, names),
    bias: await bias(names),
  });
  const convolution = async (name: string): Promise<ConvolutionParameters> => ({
    weight: await load(encoder.values, entry(`${name}.weight`).shape, [part(`${name}.weight`)]),
    bias: await bias([name]),
  });
  const self = async (precision: PartPrecision, name: string): Promise<SelfAttentionParameters> => ({
    norm: await norm(`${name}_layer_norm`),
    queryKeyValue: await linear(precision, `${name}.q_proj`, `${name}.k_proj`, `${name}.v_proj`),
    out: await linear(precision, `${name}.out_proj`),
  });
  const cross = async (name: string): Promise<CrossAttentionParameters> => ({
    norm: await norm(`${name}_layer_norm`),
    query: await linear(decoder, `${name}.q_proj`),
    // These products have as many rows as the encoder's.
    key: await linear(encoder, `${name}.k_proj`),
    value: await linear(encoder, `${name}.v_proj`),
    out: await linear(decoder, `${name}.out_proj`),
  });
  const feedForward = async (precision: PartPrecision, name: string): Promise<FeedForwardParameters> => ({
    norm: await norm(`${name}.final_layer_norm`),
    up: await linear(precision, `${name}.fc1`),
    down: await linear(precision, `${name}.fc2`),
  });

  try {
    const encoderLayers: EncoderLayer[] = [];
    for (let layer = 0; layer < config.encoder.layers; ++layer) {
      const name = `encoder.layers.${layer}`;
      encoderLayers.push({
        self: await self(encoder, `${name}.self_attn`),
        feedForward: await feedForward(encoder, name),
      });
    }
    const decoderLayers: DecoderLayer[] = [];
    for (let layer = 0; layer < config.decoder.layers; ++layer) {
      const name = `decoder.layers.${layer}`;
      decoderLayers.push({
        self: await self(decoder, `${name}.self_attn`),
        cross: await cross(`${name}.encoder_attn`),
        feedForward: await feedForward(decoder, name),
      });
    }
    const tokens = await matrix(decoder, ['decoder.embed_tokens']);
    return {
      encoder: {
        convolutions: [await convolution('encoder.conv1'), await convolution('encoder.conv2')],
        positions: await vector('encoder.embed_positions.weight'),
        layers: encoderLayers,
        norm: await norm('encoder.layer_norm'),
      },
      decoder: {
        tokens,
        positions: await vector('decoder.embed_positions.weight'),
        layers: decoderLayers,
        norm: await norm('decoder.layer_norm'),
        output: config.tiedEmbeddings ? tokens : await matrix(decoder, ['proj_out']),
      },
      sensitive,
      all,
    };
  } catch (error) {
    for (const tensor of all) tensor.dispose();
    throw error;
  } finally {
    files.close();
  }
}
