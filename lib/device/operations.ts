import { dispatch } from '../attention/dispatch.js';
import type { AttentionVariantName } from '../attention/variants.js';
import type { FloatingType } from '../element-types.js';
import type { NativeRecorder, NativeTensor } from './native.js';
import { Tensor } from './tensor.js';

export type Activation = 'none' | 'gelu';
/**
 * An attention algorithm. `attentionVariants` describes each; `chooseAttentionAlgorithm` tells which one 'auto' takes.
 */
export type AttentionAlgorithm = 'auto' | AttentionVariantName;

/** Options of every operation that makes a tensor. */
export interface OutputOptions {
  /** Destination of the result; a temporary of the program if absent. */
  output?: Tensor;
  dtype?: FloatingType;
}

export interface Norm {
  /** float32 [width]. */
  weight: Tensor;
  /** float32 [width]. */
  bias: Tensor;
  epsilon?: number;
}

/** A product's weight of 8 bits: int8 rows [outputs, inputs] and what they are multiplied by. */
export interface QuantizedWeight {
  data: Tensor;
  /** float32 [outputs]. */
  scales: Tensor;
  /** Elements of a row under one scale: all of them. */
  group: number;
}

/** A product's weight [outputs, inputs]: of a floating type, or of 8 bits. */
export type Weight = Tensor | QuantizedWeight;

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

export interface LinearOptions extends OutputOptions {
  /** float32 [outputs]. */
  bias?: Tensor;
  /** Layer norm of x before the product; x is float32 then. */
  norm?: Norm;
  activation?: Activation;
  /** float32 [..., outputs], added last; the result is float32 then. */
  residual?: Tensor;
  /**
   * With a weight of 8 bits: each row of x becomes 8 bits too, under a scale of its own; a GPU leaves up to 64 rows as
   * they are. The result is float32 unless `dtype` is given.
   */
  quantized?: boolean;
}

export interface AttentionOptions extends OutputOptions {
  heads: number;
  /** Must divide heads: 1 is multi-query, `heads` (the default) multi-head. */
  keyValueHeads?: number;
  /** Query i of sequence b sees keys 0 ... start[b] + i only. */
  causal?: boolean;
  /** int32 [batch]. */
  start?: Tensor;
  /** Rows that are first copied to rows start[b] ... of key and value, which are a cache then. */
  append?: { key: Tensor; value: Tensor };
  /** Scale of the products; 1 / sqrt(head size) if absent. */
  scale?: number;
  algorithm?: AttentionAlgorithm;
  /**
   * int32 [batch, N], with `start`, `causal` and 'split-kv': a cache reordered by index. Sequence b reads position n <
   * start[b] from cache row source[b, n], and later ones from its own row.
   */
  source?: Tensor;
  /** Gives out scores before the softmax, for all algorithms but the multi-query ones. */
  scores?: AttentionScores;
  /**
   * int32 [batch], for 'split-kv' and 'memory-efficient': the row of the pool that each entry works on; see `rows` of
   * `RowsOptions`. `start` is [pool] then, `source` [pool, N] with rows of the pool, and key and value are caches
   * [pool, N, keyValueHeads * size].
   */
  rows?: Tensor;
  /**
   * For the same algorithms, without append, causal, start and source: key and value are one pool of positions [1, N,
   * keyValueHeads * size], of which an entry sees `count` from `begin` on. int32 [batch], or [pool] with `rows`; an
   * entry that sees none gives zeros. Neighbours that see the same positions share one pass over them in 'split-kv'.
   */
  keys?: { begin: Tensor; count: Tensor };
  /**
   * float32 [pool, N, keyValueHeads], or [1, N, keyValueHeads] with `keys`: of keys and values that are int8, for
   * 'split-kv', which 'auto' then is. Query, appended rows and the result are floating.
   */
  cacheScales?: { key: Tensor; value: Tensor };
}

/** The product before attention: norm(x) weight^T + bias. */
export interface Projection {
  /**
   * [heads * size, width]; with `append` query, key and value one after another: [(heads + 2 keyValueHeads) * size,
   * width].
   */
  weight: Weight;
  /** float32 [outputs]. */
  bias?: Tensor;
  norm?: Norm;
  /** Of query, key and value. */
  dtype?: FloatingType;
  /** As in LinearOptions. */
  quantized?: boolean;
}
export interface ProjectedAttentionOptions extends Omit<AttentionOptions, 'append' | 'dtype'> {
  /** Whether the product makes key and value too, which are rows to append then. */
  append?: boolean;
}

/** Whose weights `addWeights` adds, and to what. All int32 [entries]; all but `rows` are [pool] where that is given. */
export interface WeightPlaces {
  /** The row of the pool for each entry; an entry below 0 is idle. */
  rows?: Tensor;
  /** Rows of the scores. */
  from: Tensor;
  /** Rows of the sum, and positions in them; nothing where they are below 0. */
  to: Tensor;
  position: Tensor;
  /** Keys that count. */
  keys: Tensor;
}

/**
 * Query i of sequence b writes scale * q . k of head h to to[r, position[r], heads[h]], r = b * M + i; nothing where a
 * place is out of range.
 */
export interface AttentionScores {
  /** float32 [batch * M, positions, chosen heads, N]. */
  to: Tensor;
  /** int32 [heads]: each head's place among the chosen ones, -1 for the others. */
  heads: Tensor;
  /** int32 [batch * M]; [pool] with `rows`, where M is 1. */
  position: Tensor;
  /**
   * int32 [batch], or [pool] with `rows`, M being 1: the row of `to` that an entry writes to, instead of its own index;
   * none where it is out of range. `to` may then have any number of rows, and as with `keys` any last dimension: it
   * counts the entry's own keys.
   */
  row?: Tensor;
}

/**
 * Rows of a pool. Decoding state (tokens, positions, caches) may have more rows than a program works on: entry b of the
 * program's batch then works on row rows[b]. An entry whose row is outside of the pool is idle: it gives zeros, and
 * nothing is read or written for it. Two entries never name the same row. Absent: entry b works on row b.
 */
export interface RowsOptions {
  /** int32 [batch]. */
  rows?: Tensor;
}

export interface ConvolutionOptions extends OutputOptions {
  bias?: Tensor;
  stride?: number;
  padding?: number;
  activation?: Activation;
  /** float32 [length, channels], added to each sequence after the activation. */
  residual?: Tensor;
}

/**
 * The tensors that decoding changes from step to step. All int32 [batch] unless said otherwise; with rows of a pool,
 * [pool].
 */
export interface DecodingState {
  /** int32 [batch, capacity]: the prompt, then what was generated. */
  tokens: Tensor;
  /** float32 [batch, capacity]: log-probability of each generated token, at its place. */
  logProbability: Tensor;
  /** Tokens so far. */
  length: Tensor;
  /** The position of the token to be read next: length - 1. */
  position: Tensor;
  /** The position at which the generated tokens begin. */
  begin: Tensor;
  /** New tokens before the end token may come. */
  minimum: Tensor;
  /** New tokens, the end token counted. */
  maximum: Tensor;
  /** 1: the timestamp rules hold. */
  timestamps: Tensor;
  /** 1: this sequence has ended and is left as it is. */
  finished: Tensor;
  /**
   * float32 [batch]: divides the logits of text tokens that were generated before (multiplies negative ones); 1 for
   * none.
   */
  repetitionPenalty?: Tensor;
  /** n: no n-gram of generated text comes twice; 0 for none. */
  noRepeat?: Tensor;
  /**
   * int32 [batch, capacity, count] with topLogProbability float32 of that shape: the likeliest tokens of each place.
   */
  topTokens?: Tensor;
  topLogProbability?: Tensor;
  /** The number of tokens to rank; 0 ranks none and writes nothing. If absent, all are ranked. */
  topCount?: Tensor;
}

/** Drawing tokens: the same seed gives the same tokens on every device. */
export interface Sampling {
  /** float32 [batch]; 0 takes the likeliest token. */
  temperature: Tensor;
  /** int32 [batch]. */
  seed: Tensor;
}

/** Further state of beam search: windows of `beams` neighbouring sequences; see NextBeams in native code. */
export interface BeamState {
  /**
   * float32 [batch]: sums of log-probabilities; 0 for each window's first beam at the start, -infinity for the others.
   */
  cumulative: Tensor;
  /** int32 [batch, capacity]: attention's `source`. */
  source: Tensor;
  /** int32 [windows]: finished candidates that end the window. */
  wanted: Tensor;
  /** int32 [windows]. */
  doneCount: Tensor;
  /** int32 [windows, candidates]. */
  doneLength: Tensor;
  /** float32 [windows, candidates]. */
  doneScore: Tensor;
  /** int32 [windows, candidates, capacity]. */
  doneTokens: Tensor;
  /** float32 [windows, candidates, capacity]. */
  doneLogProbability: Tensor;
  /** int32 [windows, candidates, capacity]. */
  doneSource: Tensor;
}

export interface NextTokenRules {
  /**
   * uint8 [vocabulary], or [batch, vocabulary] for each sequence its own: bit 0 suppresses always, bit 1 as the first
   * generated token.
   */
  suppressed: Tensor;
  endToken: number;
  /** The first token that is a time; the vocabulary's size, which is also the default, where there is none. */
  timestampBegin?: number;
  /** The first behind the times, which is text again; the vocabulary's size unless given. */
  timestampEnd?: number;
  noTimestampsToken?: number;
  /** Highest first timestamp, as an index from 0; -1 for any. */
  maxInitialTimestamp?: number;
}

/** The entries of a batch for which tokens are chosen. */
export interface ChoiceOptions extends RowsOptions {
  /**
   * int32 [batch]: 0 for an entry that goes alone, K for one that leads the K beams of a window (this entry and the
   * next K - 1, on neighbouring rows), -1 for the other beams. `nextToken` leaves beams as they are, `nextBeams` the
   * others.
   */
  beams?: Tensor;
}

type Value = Tensor | number | boolean | string | undefined;

/** Rows up to which a GPU has a kernel for attention and the product before it; see projected_attention.cu. */
const projectedRows = 8;

/**
 * Records operations into a program. Each method checks its arguments at once and names, in its error, the one that
 * does not fit.
 */
export class Operations {
  readonly #recorder: NativeRecorder;
  readonly #device: string;
  readonly #scope: string[] = [];

  /** @internal */
  constructor(recorder: NativeRecorder, device: string) {
    this.#recorder = recorder;
    this.#device = device;
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
    const quantized = cacheScales && options.algorithm === undefined ? ({ algorithm: 'split-kv' } as const) : {};
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
      algorithm: dispatch(this.#device, query, key, { append, scores, keys, ...options, ...quantized }),
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
    const few = x.shape[0] <= projectedRows && x.shape[1] === 1;
    const split = algorithm === 'auto' || algorithm === 'split-kv';
    if (this.#device.startsWith('cuda') && few && split && norm && weight instanceof Tensor && !cacheScales) {
      const query = { dtype: dtype ?? weight.dtype, shape: [x.shape[0], 1, weight.shape[0] - 2 * shared] };
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
        algorithm: dispatch(this.#device, query, key, {
          append: append || undefined,
          ...options,
          algorithm: 'split-kv',
        }),
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
