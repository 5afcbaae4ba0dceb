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

/** Loads a checkpoint's tensors by their names there. All methods throw OneheadError MODEL_INVALID or OUT_OF_MEMORY. */
class ParameterLoader {
  /** All tensors that were loaded. */
  readonly all: Tensor[] = [];
  /** See `Parameters.sensitive`. */
  readonly sensitive: string[] = [];
  readonly #device: Device;
  readonly #tensors: Checkpoint['tensors'];
  readonly #precision: Precision;
  readonly #files = new WeightFiles();

  constructor(device: Device, { tensors }: Checkpoint, precision: Precision) {
    this.#device = device;
    this.#tensors = tensors;
    this.#precision = precision;
  }

  #entry(name: string): TensorEntry {
    return findTensor(this.#tensors, name)!; // readCheckpoint has checked that all exist
  }

  #part(name: string): Part {
    return this.#files.part(name, this.#entry(name));
  }

  async #load(type: FloatingType, shape: number[], parts: Part[]): Promise<Tensor> {
    const tensor = await this.#device.load(type, shape, parts);
    this.all.push(tensor);
    return tensor;
  }

  vector(name: string): Promise<Tensor> {
    return this.#load('float32', this.#entry(name).shape, [this.#part(name)]);
  }

  async norm(name: string): Promise<Norm> {
    return { weight: await this.vector(`${name}.weight`), bias: await this.vector(`${name}.bias`) };
  }

  /** Loads the weight of a product from one or more tensors, whose rows are concatenated. */
  async matrix({ weights, values }: PartPrecision, names: string[]): Promise<Weight> {
    const rows = names.map((name) => this.#entry(`${name}.weight`).shape[0]);
    const shape = [rows.reduce((sum, count) => sum + count, 0), this.#entry(`${names[0]}.weight`).shape[1]];
    const parts = names.map((name) => this.#part(`${name}.weight`));
    if (weights !== 'int8') return this.#load(weights, shape, parts);
    const { weight, error } = await this.#device.quantize(shape, parts);
    if (error <= maximumLoss) {
      this.all.push(weight.data, weight.scales);
      return weight;
    }
    weight.data.dispose();
    weight.scales.dispose();
    this.sensitive.push(...names);
    return this.#load(values, shape, parts);
  }

  /** Loads concatenated biases, with zeros for a product without a bias. */
  #bias(names: string[]): Promise<Tensor> {
    const parts = names.map((name) =>
      findTensor(this.#tensors, `${name}.bias`)
        ? this.#part(`${name}.bias`)
        : { elements: this.#entry(`${name}.weight`).shape[0] },
    );
    return this.#load('float32', [parts.reduce((sum, { elements }) => sum + elements, 0)], parts);
  }

  /** Loads several products of the same input as one. */
  async #linear(precision: PartPrecision, ...names: string[]): Promise<LinearParameters> {
    return { weight: await this.matrix(precision, names), bias: await this.#bias(names) };
  }

  async convolution(name: string): Promise<ConvolutionParameters> {
    const weight = `${name}.weight`;
    return {
      weight: await this.#load(this.#precision.encoder.values, this.#entry(weight).shape, [this.#part(weight)]),
      bias: await this.#bias([name]),
    };
  }

  async #self(precision: PartPrecision, name: string): Promise<SelfAttentionParameters> {
    return {
      norm: await this.norm(`${name}_layer_norm`),
      queryKeyValue: await this.#linear(precision, `${name}.q_proj`, `${name}.k_proj`, `${name}.v_proj`),
      out: await this.#linear(precision, `${name}.out_proj`),
    };
  }

  async #cross(name: string): Promise<CrossAttentionParameters> {
    const { encoder, decoder } = this.#precision;
    return {
      norm: await this.norm(`${name}_layer_norm`),
      query: await this.#linear(decoder, `${name}.q_proj`),
      // These products have as many rows as the encoder's.
      key: await this.#linear(encoder, `${name}.k_proj`),
      value: await this.#linear(encoder, `${name}.v_proj`),
      out: await this.#linear(decoder, `${name}.out_proj`),
    };
  }

  async #feedForward(precision: PartPrecision, name: string): Promise<FeedForwardParameters> {
    return {
      norm: await this.norm(`${name}.final_layer_norm`),
      up: await this.#linear(precision, `${name}.fc1`),
      down: await this.#linear(precision, `${name}.fc2`),
    };
  }

  async encoderLayer(name: string): Promise<EncoderLayer> {
    const { encoder } = this.#precision;
    return {
      self: await this.#self(encoder, `${name}.self_attn`),
      feedForward: await this.#feedForward(encoder, name),
    };
  }

  async decoderLayer(name: string): Promise<DecoderLayer> {
    const { decoder } = this.#precision;
    return {
      self: await this.#self(decoder, `${name}.self_attn`),
      cross: await this.#cross(`${name}.encoder_attn`),
      feedForward: await this.#feedForward(decoder, name),
    };
  }

  /** Closes the checkpoint's files. */
  close(): void {
    this.#files.close();
  }
}

/** Loads one after the other the layers `name`.0, `name`.1, ... */
async function layers<Layer>(count: number, name: string, load: (name: string) => Promise<Layer>): Promise<Layer[]> {
  const loaded: Layer[] = [];
  for (let layer = 0; layer < count; ++layer) loaded.push(await load(`${name}.${layer}`));
  return loaded;
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
  const precision = typeof types === 'string' ? uniformPrecision(types) : types;
  const { config } = checkpoint;
  const loader = new ParameterLoader(device, checkpoint, precision);
  try {
    const encoderLayers = await layers(config.encoder.layers, 'encoder.layers', (name) => loader.encoderLayer(name));
    const decoderLayers = await layers(config.decoder.layers, 'decoder.layers', (name) => loader.decoderLayer(name));
    const tokens = await loader.matrix(precision.decoder, ['decoder.embed_tokens']);
    const output = config.tiedEmbeddings ? tokens : await loader.matrix(precision.decoder, ['proj_out']);
    return {
      encoder: {
        convolutions: [await loader.convolution('encoder.conv1'), await loader.convolution('encoder.conv2')],
        positions: await loader.vector('encoder.embed_positions.weight'),
        layers: encoderLayers,
        norm: await loader.norm('encoder.layer_norm'),
      },
      decoder: {
        tokens,
        positions: await loader.vector('decoder.embed_positions.weight'),
        layers: decoderLayers,
        norm: await loader.norm('decoder.layer_norm'),
        output,
      },
      sensitive: loader.sensitive,
      all: loader.all,
    };
  } catch (error) {
    for (const tensor of loader.all) tensor.dispose();
    throw error;
  } finally {
    loader.close();
  }
}
