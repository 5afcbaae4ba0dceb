import { dispatch } from '../attention/dispatch.js';
import type { AttentionVariantName } from '../attention/variants.js';
import type { FloatingType } from '../element-types.js';
import type { NativeRecorder, NativeTensor } from './native.js';
import { Tensor } from './tensor.js';

export type Activation = 'none' | 'gelu';
/** How attention is computed; `attentionVariants` says what each is, and `chooseAttentionAlgorithm` which one 'auto' takes. */
export type AttentionAlgorithm = 'auto' | AttentionVariantName;

/** What every operation that makes a tensor takes. */
export interface OutputOptions {
  /** Where the result goes; a temporary of the program when absent. */
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

export interface LinearOptions extends OutputOptions {
  /** float32 [outputs]. */
  bias?: Tensor;
  /** Layer norm of x before the product; x is float32 then. */
  norm?: Norm;
  activation?: Activation;
  /** float32 [..., outputs], added last; the result is float32 then. */
  residual?: Tensor;
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
  /** Of the products; 1 / sqrt(head size) when absent. */
  scale?: number;
  algorithm?: AttentionAlgorithm;
  /**
   * int32 [batch, N], with `start`, `causal` and 'split-kv': a cache reordered by index. Sequence b reads position n < start[b] from cache
   * row source[b, n], and later ones from its own row.
   */
  source?: Tensor;
  /** Gives out scores before the softmax, for all algorithms but the multi-query ones. */
  scores?: AttentionScores;
}

/** Query i of sequence b writes scale * q . k of head h to to[r, position[r], heads[h]], r = b * M + i; nothing where a place is out of range. */
export interface AttentionScores {
  /** float32 [batch * M, positions, chosen heads, N]. */
  to: Tensor;
  /** int32 [heads]: each head's place among the chosen ones, -1 for the others. */
  heads: Tensor;
  /** int32 [batch * M]. */
  position: Tensor;
}

export interface ConvolutionOptions extends OutputOptions {
  bias?: Tensor;
  stride?: number;
  padding?: number;
  activation?: Activation;
  /** float32 [length, channels], added to each sequence after the activation. */
  residual?: Tensor;
}

/** The tensors that decoding changes from step to step. All int32 [batch] unless said otherwise. */
export interface DecodingState {
  /** int32 [batch, capacity]: the prompt, then what was generated. */
  tokens: Tensor;
  /** float32 [batch, capacity]: log-probability of each generated token, at its place. */
  logProbability: Tensor;
  /** Tokens so far. */
  length: Tensor;
  /** Where the token to read next stands: length - 1. */
  position: Tensor;
  /** Where the generated tokens begin. */
  begin: Tensor;
  /** New tokens before the end token may come. */
  minimum: Tensor;
  /** New tokens, the end token counted. */
  maximum: Tensor;
  /** 1: the timestamp rules hold. */
  timestamps: Tensor;
  /** 1: this sequence has ended and is left as it is. */
  finished: Tensor;
  /** float32 [batch]: divides the logits of text tokens that were generated before (multiplies negative ones); 1 for none. */
  repetitionPenalty?: Tensor;
  /** n: no n-gram of generated text comes twice; 0 for none. */
  noRepeat?: Tensor;
  /** int32 [batch, capacity, count] with topLogProbability float32 of that shape: the likeliest tokens of each place. */
  topTokens?: Tensor;
  topLogProbability?: Tensor;
}

/** Drawing tokens: the same seed gives the same tokens on every device. */
export interface Sampling {
  /** float32 [batch]; 0 takes the likeliest token. */
  temperature: Tensor;
  /** int32 [batch]. */
  seed: Tensor;
}

/** What beam search keeps besides: windows of `beams` neighbouring sequences; see NextBeams in native/core/operations.h. */
export interface BeamState {
  /** float32 [batch]: sums of log-probabilities; 0 for each window's first beam at the start, -infinity for the others. */
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
  /** uint8 [vocabulary]: bit 0 suppresses always, bit 1 as the first generated token. */
  suppressed: Tensor;
  endToken: number;
  timestampBegin?: number;
  noTimestampsToken?: number;
  /** Highest first timestamp, as an index from 0; -1 for any. */
  maxInitialTimestamp?: number;
}

type Value = Tensor | number | boolean | string | undefined;

/** Records operations into a program. Each method checks its arguments at once and names, in its error, the one that does not fit. */
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
   * Whisper's log-mel spectrogram: samples [batch, (frames - 1) * hop + window length] to [batch, mels, frames]. The first frame starts
   * at the first sample. `peak` [batch] is the highest log10 value so far, -infinity at first; it is read and updated.
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

  /** x [batch, length, channels], weight [outputs, channels, kernel] to [batch, (length + 2 padding - kernel) / stride + 1, outputs]. */
  convolution(x: Tensor, weight: Tensor, options: ConvolutionOptions = {}): Tensor {
    return this.#record('convolution', { x, weight, ...options });
  }

  /** Over the last dimension of float32 x. */
  layerNorm(x: Tensor, { weight, bias, epsilon }: Norm, options: OutputOptions = {}): Tensor {
    return this.#record('layerNorm', { x, weight, bias, epsilon, ...options });
  }

  /** activation(norm(x) weight^T + bias) + residual: x [..., inputs], weight [outputs, inputs] to [..., outputs]. */
  linear(x: Tensor, weight: Tensor, { norm, ...options }: LinearOptions = {}): Tensor {
    return this.#record('linear', {
      x,
      weight,
      normWeight: norm?.weight,
      normBias: norm?.bias,
      epsilon: norm?.epsilon,
      ...options,
    });
  }

  /**
   * query [batch, M, heads * size], key and value [batch, N, keyValueHeads * size] (views of columns are fine) to query's shape. The
   * algorithm 'multi-query' has length before batch in all of them: [M, batch, heads * size], [N, batch, size]. Throws OneheadError
   * NOT_SUPPORTED, with every reason and the algorithms that would do, when the device cannot compute it so.
   */
  attention(query: Tensor, key: Tensor, value: Tensor, { append, scores, ...options }: AttentionOptions): Tensor {
    return this.#record('attention', {
      query,
      key,
      value,
      newKey: append?.key,
      newValue: append?.value,
      scores: scores?.to,
      scoreHeads: scores?.heads,
      scorePosition: scores?.position,
      ...options,
      algorithm: dispatch(this.#device, query, key, { append, scores, ...options }),
    });
  }

  /** The embeddings of tokens start[b] ... start[b] + count - 1 and of their positions: float32 [batch, count, width]. */
  embed(
    tokens: Tensor,
    start: Tensor,
    tokenEmbedding: Tensor,
    positionEmbedding: Tensor,
    options: { count?: number; scale?: number } & OutputOptions = {},
  ): Tensor {
    return this.#record('embed', { tokens, start, tokenEmbedding, positionEmbedding, ...options });
  }

  /** y[i, b] = x[b, index[i, b]]: float32 x [batch, length, width], int32 index [count, batch] to [count, batch, width]. */
  gatherRows(x: Tensor, index: Tensor, options: OutputOptions = {}): Tensor {
    return this.#record('gatherRows', { x, index, ...options });
  }

  /** softmax(logits)[token] of each row: float32 [batch, vocabulary] to [batch]. */
  tokenProbability(logits: Tensor, token: number, options: OutputOptions = {}): Tensor {
    return this.#record('tokenProbability', { logits, token, ...options });
  }

  /**
   * Chooses each unfinished sequence's next token: suppression, length limits and the timestamp rules, then the most probable one or one
   * drawn. Writes it and its log-probability to the state. Rules as in openai/whisper's decoding and transformers'
   * WhisperTimeStampLogitsProcessor.
   */
  nextToken(logits: Tensor, rules: NextTokenRules, state: DecodingState, sampling?: Sampling): void {
    this.#record('nextToken', { logits, ...rules, ...state, ...sampling });
  }

  /**
   * When each position of a text was said, from the scores that attention gave out: openai/whisper's median filter and dynamic time warping.
   * Gives int32 [sequences, positions]: at each position the first key that belongs to it; see AlignPositions in native/core/operations.h.
   */
  alignPositions(
    scores: Tensor,
    counted: { source: Tensor; begin: Tensor; end: Tensor; frames: Tensor },
    options: { medianWidth?: number; output?: Tensor } = {},
  ): Tensor {
    return this.#record('alignPositions', { scores, ...counted, ...options });
  }

  /** One step of beam search under the same rules: openai/whisper's BeamSearchDecoder. All beams of a window are of one length. */
  nextBeams(logits: Tensor, rules: NextTokenRules, state: DecodingState, beams: BeamState): void {
    this.#record('nextBeams', { logits, ...rules, ...state, ...beams });
  }
}
