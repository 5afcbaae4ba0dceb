import { refuse } from '../checks.js';
import { argumentsOf, nestedArguments } from './arguments.js';
import type { NativeRecorder, NativeTensor } from './native.js';
import type {
  AttentionOptions,
  BeamState,
  ChoiceOptions,
  ConvolutionOptions,
  DecodingState,
  LinearOptions,
  NextTokenRules,
  Norm,
  OutputOptions,
  RowsOptions,
  Sampling,
  Weight,
  WeightIndices,
} from './operation-options.js';
import { Tensor } from './tensor.js';

export type * from './operation-options.js';

/** Returns a weight as arguments: its tensor under this name, and its scales under this name and '.scales'. */
function weightArguments(name: string, weight: Weight): Record<string, Tensor> {
  return weight instanceof Tensor || !weight?.scales
    ? { [name]: weight as Tensor }
    : { [name]: weight.data, [`${name}.scales`]: weight.scales };
}

type Value = Tensor | number | boolean | string | undefined;

/** Adds these arguments to those of the addon. A plain loop: one that Node.js compiles takes megabytes for that. */
function pass(values: Record<string, Value>, to: Record<string, NativeTensor | Exclude<Value, Tensor>>): void {
  const names = Object.keys(values);
  for (let i = 0; i < names.length; ++i) {
    const value = values[names[i]];
    to[names[i]] = value instanceof Tensor ? value.native : value;
  }
}

/**
 * Records operations into a program. Each method checks its arguments when it is called, and throws OneheadError
 * INVALID_ARGUMENT or NOT_SUPPORTED, which names the argument. A method returns its output as a tensor of the program.
 */
export class Operations {
  readonly #recorder: NativeRecorder;
  readonly #scope: string[] = [];

  /** @internal */
  constructor(recorder: NativeRecorder) {
    this.#recorder = recorder;
  }

  /** Labels the operations that `body` records, for traces. Nested scopes are joined: 'decoder.0/self'. */
  scope<T>(name: string, body: () => T): T {
    if (typeof name !== 'string') refuse('name', 'a string', name);
    if (typeof body !== 'function') refuse('body', 'a function', body);
    this.#scope.push(name);
    try {
      return body();
    } finally {
      this.#scope.pop();
    }
  }

  /** Records an operation with these arguments, and those in objects of options. */
  #record(name: string, values: Record<string, Value>, objects: Record<string, object | undefined> = {}): Tensor {
    const passed: Record<string, NativeTensor | number | boolean | string | undefined> = {};
    pass(values, passed);
    for (const argument of Object.keys(objects))
      pass(argumentsOf(name, argument, objects[argument]) as Record<string, Value>, passed);
    return new Tensor(this.#recorder.operation(name, passed, this.#scope.join('/')));
  }

  /**
   * Whisper's log-mel spectrogram: samples [batch, (frames - 1) * hop + window length] to [batch, mels, frames]. The
   * first frame starts at the first sample. `peak` [batch] is the highest log10 power so far, initially -infinity; it
   * is read and updated.
   */
  logMel(samples: Tensor, window: Tensor, filters: Tensor, peak: Tensor, options: { hop: number } & OutputOptions) {
    return this.#record('logMel', { samples, window, filters, peak }, { options });
  }

  /** Copies the elements of x. */
  copy(x: Tensor, options: { output?: Tensor } = {}): Tensor {
    return this.#record('copy', { x }, { options });
  }

  /** Transposes float32 [batch, rows, columns] to [batch, columns, rows], and converts it to `dtype`. */
  transposeCast(x: Tensor, options: OutputOptions = {}): Tensor {
    return this.#record('transposeCast', { x }, { options });
  }

  /**
   * One-dimensional convolution: x [batch, length, channels], weight [outputs, channels, kernel] to
   * [batch, (length + 2 padding - kernel) / stride + 1, outputs].
   */
  convolution(x: Tensor, weight: Tensor, options: ConvolutionOptions = {}): Tensor {
    return this.#record('convolution', { x, weight }, { options });
  }

  /** Layer norm over the last dimension of float32 x. */
  layerNorm(x: Tensor, norm: Norm, options: OutputOptions = {}): Tensor {
    return this.#record('layerNorm', { x }, { norm, options });
  }

  /** activation(norm(x) weight^T + bias) + residual: x [..., inputs], weight [outputs, inputs] to [..., outputs]. */
  linear(x: Tensor, weight: Weight, options: LinearOptions = {}): Tensor {
    const { norm, ...rest } = argumentsOf('linear', 'options', options);
    const values = { x, ...weightArguments('weight', weight), ...nestedArguments('linear', 'norm', norm) };
    return this.#record('linear', values, { options: rest });
  }

  /**
   * Attention: query [batch, M, heads * size], key and value [batch, N, keyValueHeads * size] to the shape of query.
   * All may be views of columns. With the algorithm 'multi-query', length comes before batch in all shapes:
   * [M, batch, heads * size], [N, batch, size]. If the device does not support this case, throws OneheadError
   * NOT_SUPPORTED with all reasons and the algorithms that support it.
   */
  attention(query: Tensor, key: Tensor, value: Tensor, options: AttentionOptions): Tensor {
    const { append, scores, keys, cacheScales, ...rest } = argumentsOf('attention', 'options', options);
    const values: Record<string, Value> = { query, key, value };
    for (const [name, nested] of Object.entries({ append, scores, keys, cacheScales }))
      Object.assign(values, nestedArguments('attention', name, nested));
    return this.#record('attention', values, { options: rest });
  }

  /**
   * The sum of token and position embeddings of the tokens at positions start[b] ... start[b] + count - 1 of tokens
   * int32 [batch, capacity]: float32 [batch, count, width]. With `rows`, tokens and start have the rows of the pool.
   */
  embed(
    tokens: Tensor,
    start: Tensor,
    tokenEmbedding: Weight,
    positionEmbedding: Tensor,
    options: { count?: number; scale?: number } & RowsOptions & OutputOptions = {},
  ): Tensor {
    const values = { tokens, start, ...weightArguments('tokenEmbedding', tokenEmbedding), positionEmbedding };
    return this.#record('embed', values, { options });
  }

  /**
   * y[i, b] = x[b, index[i, b]]: float32 x [batch, length, width], int32 index [count, batch] to [count, batch, width].
   */
  gatherRows(x: Tensor, index: Tensor, options: OutputOptions = {}): Tensor {
    return this.#record('gatherRows', { x, index }, { options });
  }

  /**
   * to[begin[b] + t] = x[b, t]: x [batch, length, width] (may be a view of columns), `to` [positions, width] or
   * [1, positions, width] of the same type, int32 begin [batch]. Rows outside `to` are not written, and none of a
   * sequence whose begin is negative. The ranges must not overlap. On a CPU, `to` may have another floating type, or
   * int8 with `scales` float32 [positions, heads] or [1, positions, heads]: each head of a row is then quantized.
   */
  scatterRows(x: Tensor, to: Tensor, begin: Tensor, options: { scales?: Tensor } = {}): void {
    this.#record('scatterRows', { x, to, begin }, { options });
  }

  /** softmax(logits)[token] of each row: float32 [batch, vocabulary] to [batch]. */
  tokenProbability(logits: Tensor, token: number, options: OutputOptions = {}): Tensor {
    return this.#record('tokenProbability', { logits, token }, { options });
  }

  /**
   * Chooses the next token of each unfinished sequence, the likeliest one or a sample, after suppression, length limits
   * and timestamp rules. Writes it and its log-probability to the state. logits float32 [batch, vocabulary] are
   * overwritten. The rules are those of openai/whisper's decoding and transformers' WhisperTimeStampLogitsProcessor.
   */
  nextToken(
    logits: Tensor,
    rules: NextTokenRules,
    state: DecodingState,
    sampling?: Sampling,
    choice: ChoiceOptions = {},
  ): void {
    this.#record('nextToken', { logits }, { rules, state, sampling, choice });
  }

  /**
   * Aligns the positions of texts with keys by openai/whisper's method: median filter and dynamic time warping of
   * attention scores, float32 [rows, positions, heads, keys]. Returns int32 [sequences, positions]: the first key that
   * is aligned with each position. See AlignPositions in native/operations/alignment/operation.h for the `range`.
   */
  alignPositions(
    scores: Tensor,
    range: { source: Tensor; begin: Tensor; end: Tensor; frames: Tensor },
    options: { medianWidth?: number; output?: Tensor } = {},
  ): Tensor {
    return this.#record('alignPositions', { scores }, { range, options });
  }

  /**
   * Adds `factor` times one layer's attention weights, summed over its heads, to `sum` float32 [rows, positions, keys].
   * The weights are the softmax of `scores` float32 [entries, 1, heads, keys], which attention wrote. With `fresh`, the
   * previous sum is overwritten. See AddWeights in native/operations/alignment/operation.h.
   */
  addWeights(
    scores: Tensor,
    sum: Tensor,
    indices: WeightIndices,
    options: { factor?: number; fresh?: boolean } = {},
  ): void {
    this.#record('addWeights', { scores, sum }, { indices, options });
  }

  /**
   * One step of beam search by the same rules, as in openai/whisper's BeamSearchDecoder. All beams of a window have the
   * same length. With `choice.beams`, windows may have different numbers of beams, and entries without beams may stand
   * between them. All tensors of `beams` then have the rows of the pool: what is [windows] otherwise is in the row of
   * each window's first beam, and a window's finished candidates continue over its rows.
   */
  nextBeams(
    logits: Tensor,
    rules: NextTokenRules,
    state: DecodingState,
    beams: BeamState,
    choice: ChoiceOptions = {},
  ): void {
    this.#record('nextBeams', { logits }, { rules, state, beams, choice });
  }
}
