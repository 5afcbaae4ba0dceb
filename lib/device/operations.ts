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
  ProjectedAttentionOptions,
  Projection,
  RowsOptions,
  Sampling,
  Weight,
  WeightPlaces,
} from './operation-options.js';
import { Tensor } from './tensor.js';

export type * from './operation-options.js';

/** A weight's tensors as operations take them. */
function weightTensors(weight: Weight): { weight: Tensor; weightScales?: Tensor } {
  return weight instanceof Tensor || !weight?.scales
    ? { weight: weight as Tensor }
    : { weight: weight.data, weightScales: weight.scales };
}

/** What attention takes in groups, as operations take it. */
const attentionTensors = ({ scores, keys }: Pick<AttentionOptions, 'scores' | 'keys'>) => ({
  scores: scores?.to,
  scoreHeads: scores?.heads,
  scorePosition: scores?.position,
  scoreRow: scores?.row,
  keyBegin: keys?.begin,
  keyCount: keys?.count,
});

type Value = Tensor | number | boolean | string | undefined;

/**
 * Records operations into a program. Each method checks its arguments at once and names, in its error, the one that
 * does not fit.
 */
export class Operations {
  readonly #recorder: NativeRecorder;
  readonly #scope: string[] = [];

  /** @internal */
  constructor(recorder: NativeRecorder) {
    this.#recorder = recorder;
  }

  /** Labels what `body` records, for traces: 'decoder.0/self'. */
  scope<T>(name: string, body: () => T): T {
    this.#scope.push(name);
    try {
      return body();
    } finally {
      this.#scope.pop();
    }
  }

  #record(name: string, values: Record<string, Value>): Tensor {
    const passed: Record<string, NativeTensor | number | boolean | string | undefined> = {};
    for (const [key, value] of Object.entries(values)) passed[key] = value instanceof Tensor ? value.native : value;
    return new Tensor(this.#recorder.operation(name, passed, this.#scope.join('/')));
  }

  /**
   * Whisper's log-mel spectrogram: samples [batch, (frames - 1) * hop + window length] to [batch, mels, frames]. The
   * first frame starts at the first sample. `peak` [batch] is the highest log10 value so far, -infinity at first; it is
   * read and updated.
   */
  logMel(
    samples: Tensor,
    window: Tensor,
    filters: Tensor,
    peak: Tensor,
    { hop, ...rest }: { hop: number } & OutputOptions,
  ) {
    return this.#record('logMel', { samples, window, filters, peak, hop, ...rest });
  }

  /** The same elements in other memory: a cache that is cloned before it is read, for instance. */
  copy(x: Tensor, options: { output?: Tensor } = {}): Tensor {
    return this.#record('copy', { x, ...options });
  }

  /** [batch, rows, columns] float32 to [batch, columns, rows] of another type. */
  transposeCast(x: Tensor, options: OutputOptions = {}): Tensor {
    return this.#record('transposeCast', { x, ...options });
  }

  /**
   * x [batch, length, channels], weight [outputs, channels, kernel] to [batch, (length + 2 padding - kernel) / stride +
   * 1, outputs].
   */
  convolution(x: Tensor, weight: Tensor, options: ConvolutionOptions = {}): Tensor {
    return this.#record('convolution', { x, weight, ...options });
  }

  /** Over the last dimension of float32 x. */
  layerNorm(x: Tensor, { weight, bias, epsilon }: Norm, options: OutputOptions = {}): Tensor {
    return this.#record('layerNorm', { x, weight, bias, epsilon, ...options });
  }

  /** activation(norm(x) weight^T + bias) + residual: x [..., inputs], weight [outputs, inputs] to [..., outputs]. */
  linear(x: Tensor, weight: Weight, { norm, ...options }: LinearOptions = {}): Tensor {
    return this.#record('linear', {
      x,
      ...weightTensors(weight),
      normWeight: norm?.weight,
      normBias: norm?.bias,
      epsilon: norm?.epsilon,
      ...options,
    });
  }

  /**
   * query [batch, M, heads * size], key and value [batch, N, keyValueHeads * size] (views of columns are fine) to
   * query's shape. The algorithm 'multi-query' has length before batch in all of them: [M, batch, heads * size], [N,
   * batch, size]. Throws OneheadError NOT_SUPPORTED, with every reason and the algorithms that would do, when the
   * device cannot compute it so.
   */
  attention(
    query: Tensor,
    key: Tensor,
    value: Tensor,
    { append, scores, keys, cacheScales, ...options }: AttentionOptions,
  ): Tensor {
    return this.#record('attention', {
      query,
      key,
      value,
      newKey: append?.key,
      newValue: append?.value,
      ...attentionTensors({ scores, keys }),
      keyScales: cacheScales?.key,
      valueScales: cacheScales?.value,
      ...options,
    });
  }

  /**
   * Attention to key and value of a query that a product of x [batch, M, width] makes, to [batch, M, heads * size]. A
   * GPU does a step of few rows in one operation; elsewhere it is recorded as `linear` and `attention`.
   */
  projectedAttention(
    x: Tensor,
    projection: Projection,
    key: Tensor,
    value: Tensor,
    { append = false, ...options }: ProjectedAttentionOptions,
  ): Tensor {
    const { weight, norm, bias, dtype, quantized } = projection;
    const shared = append ? key.shape[2] : 0;
    const { algorithm = 'auto', scores, keys, cacheScales, ...rest } = options;
    const few = x.shape[0] <= this.#recorder.projectedRows && x.shape[1] === 1;
    const split = algorithm === 'auto' || algorithm === 'split-kv';
    if (few && split && norm && weight instanceof Tensor && !cacheScales) {
      return this.#record('projectedAttention', {
        x,
        weight,
        bias,
        normWeight: norm.weight,
        normBias: norm.bias,
        epsilon: norm.epsilon,
        dtype,
        appends: append,
        key,
        value,
        ...attentionTensors({ scores, keys }),
        ...rest,
        algorithm: 'split-kv',
      });
    }
    const all = this.linear(x, weight, { norm, bias, dtype, ...(quantized && { quantized }) });
    const width = all.shape[2] - 2 * shared;
    if (!append) return this.attention(all, key, value, options);
    const rows = { key: all.columns(width, shared), value: all.columns(width + shared, shared) };
    return this.attention(all.columns(0, width), key, value, { ...options, append: rows });
  }

  /**
   * The embeddings of tokens start[b] ... start[b] + count - 1 and of their positions: float32 [batch, count, width].
   */
  embed(
    tokens: Tensor,
    start: Tensor,
    tokenEmbedding: Weight,
    positionEmbedding: Tensor,
    options: { count?: number; scale?: number } & RowsOptions & OutputOptions = {},
  ): Tensor {
    const { weight, weightScales } = weightTensors(tokenEmbedding);
    return this.#record('embed', {
      tokens,
      start,
      tokenEmbedding: weight,
      tokenScales: weightScales,
      positionEmbedding,
      ...options,
    });
  }

  /**
   * y[i, b] = x[b, index[i, b]]: float32 x [batch, length, width], int32 index [count, batch] to [count, batch, width].
   */
  gatherRows(x: Tensor, index: Tensor, options: OutputOptions = {}): Tensor {
    return this.#record('gatherRows', { x, index, ...options });
  }

  /**
   * to[begin[b] + t] = x[b, t], as far as that is in `to`, and nothing where begin[b] is negative: x [batch, length,
   * width] (a view of columns is fine), `to` [positions, width] or [1, positions, width] of its type, int32 begin
   * [batch]. The ranges must not meet. On a CPU `to` may be of another floating type, or int8 with `scales` float32
   * [positions, heads] or [1, positions, heads]: each head of a row is then quantized.
   */
  scatterRows(x: Tensor, to: Tensor, begin: Tensor, { scales }: { scales?: Tensor } = {}): void {
    this.#record('scatterRows', { x, to, begin, scales });
  }

  /** softmax(logits)[token] of each row: float32 [batch, vocabulary] to [batch]. */
  tokenProbability(logits: Tensor, token: number, options: OutputOptions = {}): Tensor {
    return this.#record('tokenProbability', { logits, token, ...options });
  }

  /**
   * Chooses each unfinished sequence's next token: suppression, length limits and the timestamp rules, then the most
   * probable one or one drawn. Writes it and its log-probability to the state. Rules as in openai/whisper's decoding
   * and transformers' WhisperTimeStampLogitsProcessor.
   */
  nextToken(
    logits: Tensor,
    rules: NextTokenRules,
    state: DecodingState,
    sampling?: Sampling,
    choice: ChoiceOptions = {},
  ): void {
    this.#record('nextToken', { logits, ...rules, ...state, ...sampling, ...choice });
  }

  /**
   * Aligns the positions of a text with keys, from the scores that attention gave out: openai/whisper's median filter
   * and dynamic time warping. Returns int32 [sequences, positions]: for each position the first key that belongs to it;
   * see AlignPositions in native code.
   */
  alignPositions(
    scores: Tensor,
    counted: { source: Tensor; begin: Tensor; end: Tensor; frames: Tensor },
    options: { medianWidth?: number; output?: Tensor } = {},
  ): Tensor {
    return this.#record('alignPositions', { scores, ...counted, ...options });
  }

  /**
   * Adds one layer's attention weights, summed over its heads, to `sum` float32 [rows, positions, keys]. `scores`
   * float32 [entries, 1, heads, keys] are those that attention gave out; see AddWeights in
   * native/operations/alignment/operation.h.
   */
  addWeights(
    scores: Tensor,
    sum: Tensor,
    places: WeightPlaces,
    { factor = 1, fresh = false }: { factor?: number; fresh?: boolean } = {},
  ): void {
    this.#record('addWeights', { scores, sum, ...places, factor, fresh: Number(fresh) });
  }

  /**
   * One step of beam search under the same rules: openai/whisper's BeamSearchDecoder. All beams of a window are of one
   * length. With `choice.beams`, windows of different widths and other entries stand side by side: all of `beams` is
   * [pool, ...] then, what is [windows] otherwise being that of each window's first row, and a window's finished
   * candidates lie one after another over its rows.
   */
  nextBeams(
    logits: Tensor,
    rules: NextTokenRules,
    state: DecodingState,
    beams: BeamState,
    choice: ChoiceOptions = {},
  ): void {
    this.#record('nextBeams', { logits, ...rules, ...state, ...beams, ...choice });
  }
}
