/** A checkpoint's weights on a device, under the names that the model's code uses. */

import type { Device, Part } from '../../device/device.js';
import type { Norm } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import type {
  CrossAttentionParameters,
  DecoderLayer,
  EncoderLayer,
  FeedForwardParameters,
  LinearParameters,
  SelfAttentionParameters,
} from '../../layers/parameters.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { WeightFiles } from '../checkpoint/weight-files.js';
import { findTensor } from '../checkpoint/weights.js';
import type { TensorEntry } from '../files/tensors.js';
import type { DataType } from './types.js';

export interface Parameters {
  encoder: {
    convolutions: [LinearParameters, LinearParameters];
    positions: Tensor;
    layers: EncoderLayer[];
    norm: Norm;
  };
  decoder: {
    tokens: Tensor;
    positions: Tensor;
    layers: DecoderLayer[];
    norm: Norm;
    /** Rows of the output product: the token embedding itself when tied. */
    output: Tensor;
  };
  /** Every tensor above once, to dispose of. */
  all: Tensor[];
}

/** Loads a checkpoint's tensors from their files; the device converts them to `dtype` and lays them out. */
export async function loadParameters(device: Device, checkpoint: Checkpoint, dtype: DataType): Promise<Parameters> {
  const { config, tensors } = checkpoint;
  const files = new WeightFiles();
  const all: Tensor[] = [];
  const entry = (name: string): TensorEntry => findTensor(tensors, name)!; // readCheckpoint has checked that each is there
  const part = (name: string): Part => files.part(name, entry(name));
  const load = async (type: DataType, shape: number[], parts: Part[]): Promise<Tensor> => {
    const tensor = await device.load(type, shape, parts);
    all.push(tensor);
    return tensor;
  };
  const vector = (name: string) => load('float32', entry(name).shape, [part(name)]);
  const norm = async (name: string): Promise<Norm> => ({
    weight: await vector(`${name}.weight`),
    bias: await vector(`${name}.bias`),
  });
  /** Several products of one input as one: their rows, and their biases (zeros where one has none), one after another. */
  const linear = async (...names: string[]): Promise<LinearParameters> => {
    const rows = names.map((name) => entry(`${name}.weight`).shape[0]);
    const outputs = rows.reduce((sum, count) => sum + count, 0);
    const shape = [outputs, ...entry(`${names[0]}.weight`).shape.slice(1)];
    const biases = names.map((name, i) =>
      findTensor(tensors, `${name}.bias`) ? part(`${name}.bias`) : { elements: rows[i] },
    );
    return {
      weight: await load(
        dtype,
        shape,
        names.map((name) => part(`${name}.weight`)),
      ),
      bias: await load('float32', [outputs], biases),
    };
  };
  const self = async (name: string): Promise<SelfAttentionParameters> => ({
    norm: await norm(`${name}_layer_norm`),
    queryKeyValue: await linear(`${name}.q_proj`, `${name}.k_proj`, `${name}.v_proj`),
    out: await linear(`${name}.out_proj`),
  });
  const cross = async (name: string): Promise<CrossAttentionParameters> => ({
    norm: await norm(`${name}_layer_norm`),
    query: await linear(`${name}.q_proj`),
    key: await linear(`${name}.k_proj`),
    value: await linear(`${name}.v_proj`),
    out: await linear(`${name}.out_proj`),
  });
  const feedForward = async (name: string): Promise<FeedForwardParameters> => ({
    norm: await norm(`${name}.final_layer_norm`),
    up: await linear(`${name}.fc1`),
    down: await linear(`${name}.fc2`),
  });

  try {
    const encoderLayers: EncoderLayer[] = [];
    for (let layer = 0; layer < config.encoder.layers; ++layer) {
      const name = `encoder.layers.${layer}`;
      encoderLayers.push({ self: await self(`${name}.self_attn`), feedForward: await feedForward(name) });
    }
    const decoderLayers: DecoderLayer[] = [];
    for (let layer = 0; layer < config.decoder.layers; ++layer) {
      const name = `decoder.layers.${layer}`;
      decoderLayers.push({
        self: await self(`${name}.self_attn`),
        cross: await cross(`${name}.encoder_attn`),
        feedForward: await feedForward(name),
      });
    }
    const embedding = [config.vocabulary, config.width];
    const tokens = await load(dtype, embedding, [part('decoder.embed_tokens.weight')]);
    return {
      encoder: {
        convolutions: [await linear('encoder.conv1'), await linear('encoder.conv2')],
        positions: await vector('encoder.embed_positions.weight'),
        layers: encoderLayers,
        norm: await norm('encoder.layer_norm'),
      },
      decoder: {
        tokens,
        positions: await vector('decoder.embed_positions.weight'),
        layers: decoderLayers,
        norm: await norm('decoder.layer_norm'),
        output: config.tiedEmbeddings ? tokens : await load(dtype, embedding, [part('proj_out.weight')]),
      },
      all,
    };
  } catch (error) {
    for (const tensor of all) tensor.dispose();
    throw error;
  } finally {
    files.close();
  }
}
