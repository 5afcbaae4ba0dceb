/** The tensors of a Whisper checkpoint: names, shapes and sizes. */
import { OneheadError } from '../../errors.js';
import { isLoaded, type TensorEntry, type TensorIndex } from '../files/tensors.js';
import type { WhisperConfig } from './config.js';

export interface TensorSpecification {
  name: string;
  shape: number[];
}

function linear(name: string, outputs: number, inputs: number, bias = true): TensorSpecification[] {
  const tensors = [{ name: `${name}.weight`, shape: [outputs, inputs] }];
  return bias ? [...tensors, { name: `${name}.bias`, shape: [outputs] }] : tensors;
}

function norm(name: string, width: number): TensorSpecification[] {
  return ['weight', 'bias'].map((part) => ({ name: `${name}.${part}`, shape: [width] }));
}

function attention(name: string, width: number, heads: number, keyValueHeads: number): TensorSpecification[] {
  const keyValueWidth = (width / heads) * keyValueHeads;
  return [
    ...linear(`${name}.q_proj`, width, width),
    ...linear(`${name}.k_proj`, keyValueWidth, width, false),
    ...linear(`${name}.v_proj`, keyValueWidth, width),
    ...linear(`${name}.out_proj`, width, width),
    ...norm(`${name}_layer_norm`, width),
  ];
}

function feedForward(name: string, width: number, inner: number): TensorSpecification[] {
  return [
    ...linear(`${name}.fc1`, inner, width),
    ...linear(`${name}.fc2`, width, inner),
    ...norm(`${name}.final_layer_norm`, width),
  ];
}

/** All tensors of a model, under transformers' names without the leading `model.`. */
export function checkpointTensors(config: WhisperConfig): TensorSpecification[] {
  const { width, encoder, decoder } = config;
  const tensors: TensorSpecification[] = [
    { name: 'encoder.conv1.weight', shape: [width, config.mels, 3] },
    { name: 'encoder.conv1.bias', shape: [width] },
    { name: 'encoder.conv2.weight', shape: [width, width, 3] },
    { name: 'encoder.conv2.bias', shape: [width] },
    { name: 'encoder.embed_positions.weight', shape: [config.sourcePositions, width] },
    ...norm('encoder.layer_norm', width),
    { name: 'decoder.embed_tokens.weight', shape: [config.vocabulary, width] },
    { name: 'decoder.embed_positions.weight', shape: [config.targetPositions, width] },
    ...norm('decoder.layer_norm', width),
  ];
  for (let layer = 0; layer < encoder.layers; ++layer) {
    const name = `encoder.layers.${layer}`;
    tensors.push(...attention(`${name}.self_attn`, width, encoder.heads, encoder.keyValueHeads));
    tensors.push(...feedForward(name, width, encoder.feedForward));
  }
  for (let layer = 0; layer < decoder.layers; ++layer) {
    const name = `decoder.layers.${layer}`;
    tensors.push(...attention(`${name}.self_attn`, width, decoder.heads, decoder.keyValueHeads));
    tensors.push(...attention(`${name}.encoder_attn`, width, decoder.heads, decoder.crossKeyValueHeads));
    tensors.push(...feedForward(name, width, decoder.feedForward));
  }
  if (!config.tiedEmbeddings) tensors.push({ name: 'proj_out.weight', shape: [config.vocabulary, width] });
  return tensors;
}

/** Finds a tensor by its name, with or without the leading `model.` that most checkpoints have. */
export function findTensor(index: TensorIndex, name: string): TensorEntry | undefined {
  return index.get(`model.${name}`) ?? index.get(name);
}

/** Throws OneheadError MODEL_INVALID if a tensor is missing, has another shape or a type that cannot be loaded. */
export function checkCheckpoint(config: WhisperConfig, index: TensorIndex, directory: string): void {
  const missing: string[] = [];
  for (const { name, shape } of checkpointTensors(config)) {
    const entry = findTensor(index, name);
    if (!entry) {
      missing.push(name);
    } else if (entry.shape.length !== shape.length || entry.shape.some((size, i) => size !== shape[i])) {
      throw new OneheadError(
        'MODEL_INVALID',
        `${directory}: expected tensor '${name}' to be [${shape}] as config.json says but found [${entry.shape}]; the ` +
          'files do not belong together.',
        { argument: name, expected: `[${shape}]`, received: `[${entry.shape}]` },
      );
    } else if (!isLoaded(entry.dtype)) {
      throw new OneheadError(
        'MODEL_INVALID',
        `${directory}: tensor '${name}' is stored as ${entry.dtype}; convert the checkpoint to float32, float16 or ` +
          'bfloat16.',
      );
    }
  }
  if (missing.length > 0) {
    const shown = missing.slice(0, 3).join(', ') + (missing.length > 3 ? ', ...' : '');
    throw new OneheadError(
      'MODEL_INVALID',
      `${directory}: ${missing.length} tensors of the model that config.json describes are missing (${shown}); download ` +
        'the checkpoint again, or check that it is a Whisper model.',
    );
  }
}

/** The role of a tensor, which determines its dtype and size in memory. */
export type TensorPart = 'convolution' | 'encoder' | 'decoder' | 'embedding' | 'vector';

/**
 * Returns the role of a tensor of checkpointTensors(). 'encoder' and 'decoder' are weights of matrix products; the key
 * and value projections of cross-attention belong to the encoder, since they are applied to all audio positions. A
 * 'vector' is a tensor that is always float32, including position embeddings.
 */
export function tensorPart({ name, shape }: TensorSpecification): TensorPart {
  if (shape.length === 3) return 'convolution';
  if (shape.length !== 2 || name.endsWith('embed_positions.weight')) return 'vector';
  if (name === 'decoder.embed_tokens.weight' || name === 'proj_out.weight') return 'embedding';
  return /^encoder\.|\.encoder_attn\.[kv]_proj\./.test(name) ? 'encoder' : 'decoder';
}

/** Numbers of parameters, and bytes of the key/value caches. */
export interface CheckpointSizes {
  encoder: number;
  decoder: number;
  /** The token embedding, which is also the output projection if they are tied. Included in `decoder`. */
  embedding: number;
  total: number;
  /** Bytes of the self-attention cache of one sequence at full length. */
  selfCacheBytes: number;
  /** Bytes of the cross-attention cache of one full window. */
  crossCacheBytes: number;
}

/** Computes the sizes of a model whose caches have `bytesPerElement`. */
export function checkpointSizes(config: WhisperConfig, bytesPerElement: number): CheckpointSizes {
  const sizes = { encoder: 0, decoder: 0, embedding: config.vocabulary * config.width, total: 0 };
  for (const { name, shape } of checkpointTensors(config)) {
    const count = shape.reduce((product, size) => product * size, 1);
    sizes[name.startsWith('encoder.') ? 'encoder' : 'decoder'] += count;
    sizes.total += count;
  }
  const perHead = (2 * config.decoder.layers * config.width * bytesPerElement) / config.decoder.heads;
  return {
    ...sizes,
    selfCacheBytes: perHead * config.decoder.keyValueHeads * config.targetPositions,
    crossCacheBytes: perHead * config.decoder.crossKeyValueHeads * config.sourcePositions,
  };
}
