/**
 * A decoder in the shape of GPT-2: Whisper's decoder layers without cross-attention, with random weights. Tensors have
 * the order of dimensions that the attention algorithm needs.
 */
import type { Device } from '../../device/device.js';
import type { AttentionAlgorithm, Norm, Operations } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { FloatingType } from '../../element-types.js';
import { decoderSelfAttention, feedForward, type KeyValueCache } from '../../layers/layers.js';
import type { EncoderLayer, LinearParameters } from '../../layers/parameters.js';
import { ForcedTokens, type ForcedTokensResult } from './forced-tokens.js';
import { RandomWeights } from './random-weights.js';

export interface DecoderOnlyShape {
  layers: number;
  heads: number;
  headSize: number;
  vocabulary: number;
  /** The maximum number of prompt and new tokens. */
  positions: number;
}

export interface DecoderOnlyWeights {
  tokens: Tensor;
  positions: Tensor;
  layers: EncoderLayer[];
  norm: Norm;
  all: Tensor[];
}

/** Loads random weights for a decoder with this many key/value heads. */
export async function loadDecoderOnly(
  device: Device,
  dtype: FloatingType,
  { layers, heads, headSize, vocabulary, positions }: DecoderOnlyShape,
  keyValueHeads: number,
): Promise<DecoderOnlyWeights> {
  const width = heads * headSize;
  const weights = await RandomWeights.create(Math.max(vocabulary, 4 * width, positions) * width);
  const all: Tensor[] = [];
  const load = async (type: FloatingType, shape: number[], norm = false): Promise<Tensor> => {
    const tensor = await weights.load(device, type, shape, { norm, number: all.length });
    all.push(tensor);
    return tensor;
  };
  const norm = async (): Promise<Norm> => ({
    weight: await load('float32', [width], true),
    bias: await load('float32', [width]),
  });
  const linear = async (inputs: number, outputs: number): Promise<LinearParameters> => ({
    weight: await load(dtype, [outputs, inputs]),
    bias: await load('float32', [outputs]),
  });
  try {
    const loaded: EncoderLayer[] = [];
    for (let layer = 0; layer < layers; ++layer) {
      loaded.push({
        self: {
          norm: await norm(),
          queryKeyValue: await linear(width, width + 2 * keyValueHeads * headSize),
          out: await linear(width, width),
        },
        feedForward: { norm: await norm(), up: await linear(width, 4 * width), down: await linear(4 * width, width) },
      });
    }
    const tokens = await load(dtype, [vocabulary, width]);
    return { tokens, positions: await load('float32', [positions, width]), layers: loaded, norm: await norm(), all };
  } catch (error) {
    for (const tensor of all) tensor.dispose();
    throw error;
  } finally {
    await weights.dispose();
  }
}

export interface DecoderOnlyOptions {
  batch: number;
  dtype: FloatingType;
  keyValueHeads: number;
  /** Of prefill and decode steps; 'multi-query' has the order [length, batch], all others [batch, length]. */
  algorithm: AttentionAlgorithm;
  /** Tokens of each prompt; together with the new tokens at most `positions`. */
  prompt: number;
}

/** A batch of sequences whose prompts have the same length. */
export class DecoderOnly {
  readonly #shape: DecoderOnlyShape;
  readonly #options: DecoderOnlyOptions;
  readonly #weights: DecoderOnlyWeights;
  readonly #caches: KeyValueCache[];
  readonly #sequences: ForcedTokens;
  readonly #owned: Tensor[] = [];
  readonly step: Program;
  readonly #prefill: Program;

  constructor(device: Device, shape: DecoderOnlyShape, weights: DecoderOnlyWeights, options: DecoderOnlyOptions) {
    this.#shape = shape;
    this.#options = options;
    this.#weights = weights;
    const { batch, dtype, keyValueHeads, prompt } = options;
    const { positions, headSize, vocabulary } = shape;
    const track = (...given: Parameters<Device['tensor']>): Tensor => {
      const tensor = device.tensor(...given);
      this.#owned.push(tensor);
      return tensor;
    };
    const cache = () => track(dtype, [...this.#order(positions), keyValueHeads * headSize]);
    this.#caches = weights.layers.map(() => ({ key: cache(), value: cache() }));
    this.#sequences = new ForcedTokens(device, batch, positions, new Uint8Array(vocabulary));
    const { state, zero } = this.#sequences;
    const last = track('int32', [1, batch], new Int32Array(batch).fill(prompt - 1));
    // Element [i, b] is i: gathers [length, batch] from [batch, length].
    const transposition = track(
      'int32',
      [prompt, batch],
      Int32Array.from({ length: prompt * batch }, (_, i) => Math.floor(i / batch)),
    );
    const next = (ops: Operations, x: Tensor) => {
      const { norm, tokens } = weights;
      const logits = ops.scope('logits', () => ops.linear(x, tokens, { norm, dtype: 'float32' }));
      this.#sequences.next(ops, logits, { endToken: vocabulary - 1 });
    };
    const embed = (ops: Operations, start: Tensor, count: number) =>
      ops.embed(state.tokens, start, weights.tokens, weights.positions, { count });
    this.#prefill = device.record('prefill', (ops) => {
      const x = embed(ops, zero, prompt);
      if (this.#lengthFirst) {
        const rows = this.#layers(ops, ops.gatherRows(x, transposition), zero);
        next(ops, rows.slice(prompt - 1));
      } else {
        next(ops, ops.gatherRows(this.#layers(ops, x, zero), last));
      }
    });
    this.step = device.record('step', (ops) => {
      const x = embed(ops, state.position, 1).reshape([...this.#order(1), shape.heads * headSize]);
      next(ops, this.#layers(ops, x, state.position));
    });
  }

  get #lengthFirst(): boolean {
    return this.#options.algorithm === 'multi-query';
  }

  #order(length: number): [number, number] {
    return this.#lengthFirst ? [length, this.#options.batch] : [this.#options.batch, length];
  }

  #layers(ops: Operations, input: Tensor, start: Tensor): Tensor {
    const { heads } = this.#shape;
    const { keyValueHeads, algorithm } = this.#options;
    let x = input;
    this.#weights.layers.forEach((layer, index) => {
      ops.scope(`decoder.${index}`, () => {
        const shape = { heads, keyValueHeads, algorithm };
        x = ops.scope('self', () =>
          decoderSelfAttention(ops, x, layer.self, { cache: this.#caches[index], start, shape }),
        );
        x = ops.scope('feed-forward', () => feedForward(ops, x, layer.feedForward));
      });
    });
    return x;
  }

  /**
   * Prefills the prompts and decodes exactly `count` tokens of each; returns each sequence's tokens and
   * log-probabilities.
   */
  async generate(
    prompts: readonly (readonly number[])[],
    count: number,
    signal?: AbortSignal,
  ): Promise<ForcedTokensResult[]> {
    const { prompt } = this.#options;
    await Promise.all([
      this.#sequences.write(
        prompts.map((ids) => ids.slice(0, prompt)),
        count,
      ),
      this.#prefill.run({ signal }),
      ...(count > 1 ? [this.step.run({ times: count - 1, signal })] : []),
    ]);
    return this.#sequences.read(prompt, count);
  }

  dispose(): void {
    this.step.dispose();
    this.#prefill.dispose();
    this.#sequences.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
