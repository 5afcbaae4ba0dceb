/**
 * The cost of each recorded operation of a model's programs: bytes of parameters, caches and activations, and
 * arithmetic.
 */
import { refuse } from '../../checks.js';
import type { WhisperConfig } from '../../whisper/checkpoint/config.js';
import { requireConfig, requireDecoder, requireStorage } from './arguments.js';

/** The shape of Whisper's decoder, or without `cross` of a decoder-only model. */
export interface DecoderShape {
  layers: number;
  width: number;
  heads: number;
  keyValueHeads: number;
  feedForward: number;
  vocabulary: number;
  /** Cross-attention: its key/value heads and audio positions. */
  cross?: { keyValueHeads: number; positions: number };
}

export interface Storage {
  batch: number;
  /** Bytes of an activation, and by default of weights and caches; 2 by default. */
  bytesPerElement?: number;
  /** Bytes of an element of a weight. */
  bytesPerWeight?: number;
  /** Bytes of the scale of each row of a weight; 0 by default, without scales. */
  bytesPerWeightScale?: number;
  /** Bytes of an element of the caches. */
  bytesPerCached?: number;
  /** Bytes of the scale of each head of a cached position; 0 by default. */
  bytesPerCacheScale?: number;
  /** Bytes of an element of biases and norms; 4 by default, as in onehead. */
  bytesPerBias?: number;
}

/**
 * Bytes that one recorded operation moves, by kind, and its arithmetic operations. A multiply-add counts as two; norms
 * and biases are not counted.
 */
export interface OperationCost {
  /** The recorded operation, such as 'linear'. */
  name: string;
  /** Its label, such as 'decoder.0/self'. */
  label: string;
  /** The operation's role in the layer, such as 'query, key, value'. */
  part: string;
  /** Weights, biases, norms and rows of embeddings that are read. */
  parameterBytes: number;
  /** Keys and values that are read from the caches. */
  cacheBytesRead: number;
  /** Keys and values that are appended to the caches. */
  cacheBytesWritten: number;
  /** Inputs and outputs of the operation, which may stay in the processor's caches. */
  activationBytes: number;
  operations: number;
}

const residualBytes = 4; // the residual stream and the logits are float32

class Counting {
  readonly operations: OperationCost[] = [];
  readonly rows: number;
  readonly element: number;
  readonly weight: number;
  readonly weightScale: number;
  readonly bias: number;
  readonly #cached: number;
  readonly #cacheScale: number;

  constructor(rows: number, storage: Storage) {
    const { bytesPerElement = 2, bytesPerBias = 4 } = storage;
    this.rows = rows;
    this.element = bytesPerElement;
    this.weight = storage.bytesPerWeight ?? bytesPerElement;
    this.weightScale = storage.bytesPerWeightScale ?? 0;
    this.bias = bytesPerBias;
    this.#cached = storage.bytesPerCached ?? bytesPerElement;
    this.#cacheScale = storage.bytesPerCacheScale ?? 0;
  }

  /** Bytes of the keys, or of the values, of one position. */
  position(heads: number, headSize: number): number {
    return heads * (headSize * this.#cached + this.#cacheScale);
  }

  /** With 8-bit weights, the norm is part of the operation that quantizes the rows, and not recorded separately. */
  get fusesNorms(): boolean {
    return this.weightScale > 0;
  }

  add(name: string, label: string, part: string, cost: Partial<OperationCost>): void {
    const none = { parameterBytes: 0, cacheBytesRead: 0, cacheBytesWritten: 0, activationBytes: 0, operations: 0 };
    this.operations.push({ name, label, part, ...none, ...cost });
  }

  layerNorm(label: string, width: number): void {
    const activationBytes = this.rows * width * (residualBytes + this.element);
    this.add('layerNorm', label, 'norm', { parameterBytes: 2 * width * this.bias, activationBytes });
  }

  linear(
    label: string,
    part: string,
    [inputs, outputs]: [number, number],
    { norm = false, residual = false, float = false, biased = true } = {},
  ): void {
    const written = float || residual ? residualBytes : this.element;
    this.add('linear', label, part, {
      parameterBytes:
        outputs * (inputs * this.weight + this.weightScale) +
        (biased ? outputs * this.bias : 0) +
        (norm ? 2 * inputs * this.bias : 0),
      activationBytes:
        this.rows *
        (inputs * (norm ? residualBytes : this.element) + outputs * (written + (residual ? residualBytes : 0))),
      operations: 2 * this.rows * inputs * outputs,
    });
  }
}

export function decoderShape(config: WhisperConfig): DecoderShape {
  requireConfig(config);
  const { layers, heads, keyValueHeads, feedForward, crossKeyValueHeads } = config.decoder;
  const { width, vocabulary } = config;
  const cross = { keyValueHeads: crossKeyValueHeads, positions: config.sourcePositions };
  return { layers, width, heads, keyValueHeads, feedForward, vocabulary, cross };
}

/** One decode step of a batch, in which each sequence has `position` earlier positions in its KV cache. */
export function decodeStep(shape: DecoderShape, options: Storage & { position: number }): OperationCost[] {
  requireDecoder(shape);
  requireStorage(options);
  const { batch, position } = options;
  if (position === undefined) refuse('options.position', 'a number of at least 0', position);
  const { width, heads, keyValueHeads, feedForward, vocabulary, cross } = shape;
  const count = new Counting(batch, options);
  const { element } = count;
  const headSize = width / heads;
  const rows = batch * width;
  count.add('embed', '', 'embedding', {
    parameterBytes: batch * (width * (count.weight + residualBytes) + count.weightScale),
    activationBytes: rows * residualBytes,
  });
  for (let layer = 0; layer < shape.layers; ++layer) {
    const label = `decoder.${layer}`;
    const shared = keyValueHeads * headSize;
    count.linear(`${label}/self`, 'query, key, value', [width, width + 2 * shared], { norm: true });
    count.add('attention', `${label}/self`, 'self-attention', {
      cacheBytesRead: 2 * batch * position * count.position(keyValueHeads, headSize),
      cacheBytesWritten: 2 * batch * count.position(keyValueHeads, headSize),
      activationBytes: (2 * rows + 2 * batch * shared) * element,
      operations: 4 * rows * (position + 1),
    });
    count.linear(`${label}/self`, 'self out', [width, width], { residual: true });
    if (cross) {
      count.linear(`${label}/cross`, 'cross query', [width, width], { norm: true });
      count.add('attention', `${label}/cross`, 'cross-attention', {
        cacheBytesRead: 2 * batch * cross.positions * count.position(cross.keyValueHeads, headSize),
        activationBytes: 2 * rows * element,
        operations: 4 * rows * cross.positions,
      });
      count.linear(`${label}/cross`, 'cross out', [width, width], { residual: true });
    }
    count.linear(`${label}/feed-forward`, 'feed-forward up', [width, feedForward], { norm: true });
    count.linear(`${label}/feed-forward`, 'feed-forward down', [feedForward, width], { residual: true });
  }
  count.linear('logits', 'logits', [width, vocabulary], { norm: true, float: true, biased: false });
  count.add('nextToken', '', 'next token', { activationBytes: batch * vocabulary * residualBytes });
  return count.operations;
}

/** The projection of the audio's keys and values into the cross-attention caches of all layers. */
export function crossCache(shape: DecoderShape, options: Storage): OperationCost[] {
  requireDecoder(shape);
  requireStorage(options);
  const { width, heads, cross, layers } = shape;
  if (!cross) return [];
  const count = new Counting(options.batch * cross.positions, options);
  const outputs = (cross.keyValueHeads * width) / heads;
  for (let layer = 0; layer < layers; ++layer) {
    for (const part of ['cross key', 'cross value']) {
      count.linear(`decoder.${layer}/cross`, part, [width, outputs]);
      const last = count.operations[count.operations.length - 1];
      last.cacheBytesWritten = count.rows * count.position(cross.keyValueHeads, width / heads);
      last.activationBytes -= count.rows * outputs * count.element;
    }
  }
  return count.operations;
}

/** The encoder, for a batch of windows. */
export function encoder(config: WhisperConfig, options: Storage): OperationCost[] {
  requireConfig(config);
  requireStorage(options);
  const { width, mels, sourcePositions } = config;
  const { heads, keyValueHeads, feedForward, layers } = config.encoder;
  const { batch } = options;
  const count = new Counting(batch * sourcePositions, options);
  const { element, bias, rows } = count;
  const frames = 2 * rows;
  const shared = (keyValueHeads * width) / heads;
  count.add('transposeCast', '', 'features', { activationBytes: frames * mels * (residualBytes + element) });
  count.add('convolution', '', 'first convolution', {
    parameterBytes: 3 * mels * width * element + width * bias,
    activationBytes: frames * (mels + width) * element,
    operations: 6 * frames * mels * width,
  });
  count.add('convolution', '', 'second convolution', {
    parameterBytes: 3 * width * width * element + width * bias + sourcePositions * width * bias,
    activationBytes: frames * width * element + rows * width * residualBytes,
    operations: 6 * rows * width * width,
  });
  for (let layer = 0; layer < layers; ++layer) {
    const label = `encoder.${layer}`;
    const norm = count.fusesNorms;
    if (!norm) count.layerNorm(label, width);
    count.linear(label, 'query, key, value', [width, width + 2 * shared], { norm });
    count.add('attention', label, 'self-attention', {
      activationBytes: rows * (2 * width + 2 * shared) * element,
      operations: 4 * rows * sourcePositions * width,
    });
    count.linear(label, 'self out', [width, width], { residual: true });
    if (!norm) count.layerNorm(label, width);
    count.linear(label, 'feed-forward up', [width, feedForward], { norm });
    count.linear(label, 'feed-forward down', [feedForward, width], { residual: true });
  }
  count.layerNorm('', width);
  return count.operations;
}
