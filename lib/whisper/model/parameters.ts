/** A checkpoint's weights on a device, under the names that the model's code uses. */

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
import { mostLost } from '../checkpoint/quantize.js';
import { WeightFiles } from '../checkpoint/weight-files.js';
import { findTensor } from '../checkpoint/weights.js';
import type { TensorEntry } from '../files/tensors.js';
import { type PartPrecision, type Precision, usualPrecision } from './precision.js';

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
    /** Rows of the output product: the token embedding itself when tied. */
    output: Weight;
  };
  /**
   * Products whose weights 8 bits would lose too much of, by the checkpoint's names; they are of the layers' values'
   * type.
   */
  sensitive: string[];
  /** Every tensor above once, to dispose of. */
  all: Tensor[];
}

/** Loads a checkpoint's tensors from their files; the device converts them to their types and lays them out. */
export async function loadParameters(
  device: Device,
  checkpoint: Checkpoint,
  types: Precision | FloatingType,
): Promise<Parameters> {
  const { encoder, decoder } = typeof types === 'string' ? usualPrecision(types) : types;
  const { config, tensors } = checkpoint;
  const files = new WeightFiles();
  const all: Tensor[] = [];
  const sensitive: string[] = [];
  const entry = (name: string): TensorEntry => findTensor(tensors, name)!; // readCheckpoint has checked that each is there
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
  /** A product's weight of one or more tensors, whose rows follow one another. */
  const matrix = async ({ weights, values }: PartPrecision, names: string[]): Promise<Weight> => {
    const rows = names.map((name) => entry(`${name}.weight`).shape[0]);
    const shape = [rows.reduce((sum, count) => sum + count, 0), entry(`${names[0]}.weight`).shape[1]];
    const parts = names.map((name) => part(`${name}.weight`));
    if (weights !== 'int8') return load(weights, shape, parts);
    const { weight, error } = await device.quantize(shape, parts);
    if (error <= mostLost) {
      all.push(weight.data, weight.scales);
      return weight;
    }
    weight.data.dispose();
    weight.scales.dispose();
    sensitive.push(...names);
    return load(values, shape, parts);
  };
  /** Biases one after another; zeros where there is none. */
  const bias = (names: string[]): Promise<Tensor> => {
    const parts = names.map((name) =>
      findTensor(tensors, `${name}.bias`) ? part(`${name}.bias`) : { elements: entry(`${name}.weight`).shape[0] },
    );
    return load('float32', [parts.reduce((sum, { elements }) => sum + elements, 0)], parts);
  };
  /** Several products of one input as one. */
  const linear = async (of: PartPrecision, ...names: string[]): Promise<LinearParameters> => ({
    weight: await matrix(of, names),
    bias: await bias(names),
  });
  const convolution = async (name: string): Promise<ConvolutionParameters> => ({
    weight: await load(encoder.values, entry(`${name}.weight`).shape, [part(`${name}.weight`)]),
    bias: await bias([name]),
  });
  const self = async (of: PartPrecision, name: string): Promise<SelfAttentionParameters> => ({
    norm: await norm(`${name}_layer_norm`),
    queryKeyValue: await linear(of, `${name}.q_proj`, `${name}.k_proj`, `${name}.v_proj`),
    out: await linear(of, `${name}.out_proj`),
  });
  const cross = async (name: string): Promise<CrossAttentionParameters> => ({
    norm: await norm(`${name}_layer_norm`),
    query: await linear(decoder, `${name}.q_proj`),
    // Products of a whole window, as the encoder's are.
    key: await linear(encoder, `${name}.k_proj`),
    value: await linear(encoder, `${name}.v_proj`),
    out: await linear(decoder, `${name}.out_proj`),
  });
  const feedForward = async (of: PartPrecision, name: string): Promise<FeedForwardParameters> => ({
    norm: await norm(`${name}.final_layer_norm`),
    up: await linear(of, `${name}.fc1`),
    down: await linear(of, `${name}.fc2`),
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
