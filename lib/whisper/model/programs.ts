/** The programs of a runtime. There is one for each size, recorded when it is first used. */
import type { Device } from '../../device/device.js';
import type { Operations } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { ElementType } from '../../element-types.js';
import type { KeyValueCache } from '../../layers/layers.js';
import type { Checkpoint } from '../checkpoint/checkpoint.js';
import { Alignment } from './alignment.js';
import { AttentionSum } from './attention-sum.js';
import {
  type DecoderRun,
  recordAudioKeyValues,
  recordCacheWrite,
  recordDecoder,
  recordLogits,
  tokenRules,
} from './decoder.js';
import { recordEncoder } from './encoder.js';
import { Features, windowSamples } from './features.js';
import type { Parameters } from './parameters.js';
import type { Precision } from './precision.js';
import { RowPool } from './rows.js';
import type { WordHeads } from './word-heads.js';

/** Optional parts of a step program, beyond taking the likeliest token or sampling. */
export interface StepParts {
  beams: boolean;
  words: boolean;
  top: boolean;
}

export interface RuntimeParts {
  device: Device;
  checkpoint: Checkpoint;
  parameters: Parameters;
  precision: Precision;
  /** The heads that time words. */
  words: WordHeads;
  /** Full windows that the pool of audio positions holds. */
  windows: number;
  rows: number;
  /** The maximum number of windows that are encoded at once. */
  encodeBatch: number;
}

/** The smallest batch size of 1, 2, 4, ... and `maximum` that holds `count`. */
export function sizeFor(count: number, maximum: number): number {
  return Math.min(maximum, 2 ** Math.ceil(Math.log2(count)));
}

/** The length to which a prompt is padded, so that few programs are recorded. */
export function prefillLength(length: number, capacity: number): number {
  return length <= 8 ? length : Math.min(Math.ceil(length / 32) * 32, capacity);
}

/** The maximum number of tokens that a verification chooses for each sequence. */
export const maximumChoices = 16;
/** The maximum number of sequences of a verification. */
export const verifyBatch = 4;

/** The maximum number of tokens that a verification reads, over all its sequences. */
export function verifyTokens(targetPositions: number): number {
  return Math.max(targetPositions, verifyBatch * 128);
}

/** Allocates a cache [sequences, positions, heads * headSize] of the precision's type, with scales if that is int8. */
export function keyValueCache(
  allocate: (type: ElementType, shape: number[]) => Tensor,
  { cache }: Precision,
  [sequences, positions, heads]: [number, number, number],
  headSize: number,
): KeyValueCache {
  const shape = [sequences, positions, heads * headSize];
  const keysAndValues = { key: allocate(cache, shape), value: allocate(cache, shape) };
  if (cache !== 'int8') return keysAndValues;
  const scales = () => allocate('float32', [sequences, positions, heads]);
  return { ...keysAndValues, scales: { key: scales(), value: scales() } };
}

export class RuntimePrograms {
  readonly pool: RowPool;
  /** Each decoder layer's cross-attention cache: [1, positions, key/value heads * head size]. */
  readonly audio: readonly KeyValueCache[];
  readonly #parts: RuntimeParts;
  readonly #frontEnd: Features;
  /** float32 [1, mels, frames]: output of the program `features`. */
  readonly #features: Tensor;
  readonly #self: readonly KeyValueCache[];
  readonly #samples: Tensor;
  readonly #peaks: Tensor;
  readonly #begins: Tensor;
  readonly #entries: Tensor;
  readonly #beams: Tensor;
  readonly #startRows: Tensor;
  readonly #startLogits: Tensor;
  readonly #noSpeech: Tensor;
  readonly #verification: { outputs: Tensor; tokens: readonly [Tensor, Tensor, Tensor, Tensor] };
  /** Input and output of the program `encoder`, by batch size. */
  readonly #encoderTensors = new Map<number, { features: Tensor; encoded: Tensor }>();
  readonly #owned: Tensor[] = [];
  readonly #programs = new Map<string, Program>();
  /** Programs with the views of their tensors. */
  readonly #cached = new Map<string, unknown>();
  /** State of the method of word times; the other one is null. */
  readonly alignment: Alignment | null;
  readonly attention: AttentionSum | null;

  /** Allocates all memory that serving needs. Throws OneheadError OUT_OF_MEMORY. */
  constructor(parts: RuntimeParts) {
    const { device, checkpoint, precision, windows, rows, encodeBatch } = parts;
    const { config, preprocessor } = checkpoint;
    const { decoder, width, sourcePositions, targetPositions, vocabulary } = config;
    this.#parts = parts;
    this.#frontEnd = new Features(device, preprocessor);
    const allocate = (type: ElementType, shape: number[]): Tensor => {
      const tensor = device.tensor(type, shape);
      this.#owned.push(tensor);
      return tensor;
    };
    const headSize = width / decoder.heads;
    const caches = (sequences: number, positions: number, heads: number): KeyValueCache[] => {
      const cache = () => keyValueCache(allocate, precision, [sequences, positions, heads], headSize);
      return Array.from({ length: decoder.layers }, cache);
    };
    this.pool = new RowPool(device, rows, targetPositions, vocabulary);
    this.audio = caches(1, windows * sourcePositions, decoder.crossKeyValueHeads);
    this.#self = caches(rows, targetPositions, decoder.keyValueHeads);
    this.#samples = allocate('float32', [encodeBatch * windowSamples(preprocessor, sourcePositions)]);
    this.#features = allocate('float32', [1, config.mels, 2 * sourcePositions]);
    this.#peaks = allocate('float32', [encodeBatch]);
    this.#begins = allocate('int32', [encodeBatch]);
    this.#entries = allocate('int32', [rows]);
    this.#beams = allocate('int32', [rows]);
    this.#startRows = allocate('int32', [rows]);
    this.#startLogits = allocate('float32', [rows * vocabulary]);
    this.#noSpeech = allocate('float32', [rows]);
    const perToken = () => allocate('int32', [verifyTokens(targetPositions)]);
    this.#verification = {
      outputs: allocate('int32', [(maximumChoices + 1) * verifyBatch]),
      tokens: [perToken(), perToken(), perToken(), perToken()],
    };
    const byAttention = parts.words.method === 'attention';
    const maximumTokens = Math.max(rows, verifyTokens(targetPositions));
    this.alignment = byAttention ? new Alignment(device, config, parts.words, this.pool) : null;
    this.attention = byAttention ? null : new AttentionSum(device, config, parts.words, this.pool, maximumTokens);
  }

  get endToken(): number {
    return this.#parts.checkpoint.generation.endToken;
  }

  /**
   * Caches a program with its views: views of tensors are objects of the addon, which are too slow to create each run.
   */
  #once<T>(key: string, make: () => T): T {
    let cached = this.#cached.get(key) as T | undefined;
    if (!cached) {
      cached = make();
      this.#cached.set(key, cached);
    }
    return cached;
  }

  /** Records a program if there is none of this name. */
  #program(name: string, record: (ops: Operations) => void): Program {
    let program = this.#programs.get(name);
    if (!program) {
      program = this.#parts.device.record(name, record);
      this.#programs.set(name, program);
    }
    return program;
  }

  /** Computes the log-mel features of one window, float32 [1, mels, frames], and updates the peak in `peaks`. */
  features() {
    const { sourcePositions } = this.#parts.checkpoint.config;
    const { samples, peaks } = this.#windows(1, sourcePositions);
    const program = this.#program('features', (ops) => {
      this.#frontEnd.record(ops, samples, peaks, this.#features);
    });
    return { samples, peaks, features: this.#features, program };
  }

  #windows(batch: number, positions: number) {
    const length = windowSamples(this.#parts.checkpoint.preprocessor, positions);
    return { samples: this.#samples.part(0, [batch, length]), peaks: this.#peaks.part(0, [batch]) };
  }

  /** Computes the cross-attention cache of the slots that begin at `begins` from samples. */
  encode(batch: number, positions: number) {
    return this.#once(`encode ${batch} x ${positions}`, () => this.#makeEncode(batch, positions));
  }

  #makeEncode(batch: number, positions: number) {
    const { samples, peaks } = this.#windows(batch, positions);
    const begins = this.#begins.part(0, [batch]);
    const program = this.#program(`encode ${batch} x ${positions}`, (ops) => {
      const features = this.#frontEnd.record(ops, samples, peaks);
      this.#recordAudio(ops, this.#recordEncoder(ops, features), begins);
    });
    return { samples, peaks, begins, program };
  }

  /** Computes the cross-attention cache of the slot that begins at `begins` from the output of `features`. */
  encodeFeatures() {
    return this.#once('encode features', () => {
      const begins = this.#begins.part(0, [1]);
      const features = this.#features;
      const program = this.#program('encode features', (ops) => {
        this.#recordAudio(ops, this.#recordEncoder(ops, features), begins);
      });
      return { begins, features, program };
    });
  }

  /**
   * Computes the cross-attention cache of the slot that begins at `begins` from encoder output [1, positions, width].
   */
  project(encoded: Tensor) {
    const begins = this.#begins.part(0, [1]);
    return { begins, program: this.#program('project', (ops) => this.#recordAudio(ops, encoded, begins)) };
  }

  #recordEncoder(ops: Operations, features: Tensor, output?: Tensor): Tensor {
    const { checkpoint, parameters, precision, device } = this.#parts;
    const options = { inPlace: device.kind === 'cpu', output };
    return recordEncoder(ops, checkpoint.config, parameters, precision.encoder, features, options);
  }

  #recordAudio(ops: Operations, encoded: Tensor, begins: Tensor): void {
    this.#parts.parameters.decoder.layers.forEach(({ cross }, index) => {
      ops.scope(`decoder.${index}/cross`, () => {
        const projected = recordAudioKeyValues(ops, cross, encoded, { types: this.#parts.precision.encoder });
        recordCacheWrite(ops, projected, this.audio[index], begins);
      });
    });
  }

  /**
   * Reads the first `count` tokens of each entry's row. Shorter prompts are padded with arbitrary tokens, whose cache
   * positions the next steps overwrite. Outputs the logits after <|startoftranscript|> and the no-speech probability.
   */
  prefill(batch: number, count: number) {
    return this.#once(`prefill ${batch} x ${count}`, () => this.#makePrefill(batch, count));
  }

  #makePrefill(batch: number, count: number) {
    const { vocabulary } = this.#parts.checkpoint.config;
    const rows = this.#entries.part(0, [batch]);
    const startRows = this.#startRows.part(0, [1, batch]);
    const logits = this.#startLogits.part(0, [batch, vocabulary]);
    const noSpeech = this.#noSpeech.part(0, [batch]);
    const program = this.#program(`prefill ${batch} x ${count}`, (ops) => {
      const x = this.#layers(ops, { rows, start: this.pool.zero, count });
      this.#logits(ops, ops.gatherRows(x, startRows), logits.reshape([1, batch, vocabulary]));
      const { noSpeechToken } = this.#parts.checkpoint.generation;
      if (noSpeechToken !== null) ops.tokenProbability(logits, noSpeechToken, { output: noSpeech });
    });
    return { rows, startRows, logits, noSpeech, program };
  }

  /**
   * Reads the first `count` tokens of each entry's row, prompt and draft, and then chooses `choices` successive tokens.
   * Each choice assumes that the chosen tokens before it equal the draft, so choices are valid up to and including the
   * first that differs from it.
   *
   * `outputs` int32 [choices + 1, batch] are the positions after which the tokens are chosen; the last one is that of
   * <|startoftranscript|>, whose logits are output as in `prefill`. `tokens` gives the range of audio positions, and
   * the row and position of the attention scores, for each token: int32 [batch * count].
   */
  verify(batch: number, count: number, choices: number) {
    const { checkpoint } = this.#parts;
    const { pool } = this;
    const { vocabulary, width } = checkpoint.config;
    const rows = this.#entries.part(0, [batch]);
    const logits = this.#startLogits.part(0, [batch, vocabulary]);
    const noSpeech = this.#noSpeech.part(0, [batch]);
    const outputs = this.#verification.outputs.part(0, [choices + 1, batch]);
    const perToken = this.#verification.tokens.map((tensor) => tensor.part(0, [batch * count]));
    const [begin, audioCount, row, position] = perToken;
    const tokens = { begin, count: audioCount, row, position };
    const program = this.#program(`verify ${batch} x ${count}, ${choices} choices`, (ops) => {
      const x = this.#layers(ops, {
        rows,
        start: pool.zero,
        count,
        tokenwise: true,
        audio: { begin, count: audioCount, longest: checkpoint.config.sourcePositions },
        ...(this.alignment?.tokenScores(row, position) ?? this.attention?.tokenScores(row, position, audioCount)),
      });
      const gathered = ops.gatherRows(x, outputs);
      const part = (first: number, size: number) => gathered.part(first * batch * width, [size, batch, width]);
      this.#logits(ops, part(choices, 1), logits.reshape([1, batch, vocabulary]));
      const { noSpeechToken } = checkpoint.generation;
      if (noSpeechToken !== null) ops.tokenProbability(logits, noSpeechToken, { output: noSpeech });
      const draftLogits = this.#logits(ops, part(0, choices));
      const rules = { suppressed: pool.suppressed, ...tokenRules(checkpoint.generation) };
      for (let choice = 0; choice < choices; ++choice) {
        const choiceLogits = draftLogits.part(choice * batch * vocabulary, [batch, vocabulary]);
        ops.nextToken(choiceLogits, rules, pool.state, pool.sampling, { rows });
      }
    });
    return { rows, outputs, tokens, logits, noSpeech, program };
  }

  /** A decode step of every entry: reads the token at its row's position and chooses the next one. */
  step(batch: number, parts: StepParts) {
    const { beams, words, top } = parts;
    const name = `step ${batch}${beams ? ' beams' : ''}${words ? ' words' : ''}${top ? ' top' : ''}`;
    return this.#once(name, () => this.#makeStep(name, batch, parts));
  }

  #makeStep(name: string, batch: number, { beams, words, top }: StepParts) {
    const { checkpoint } = this.#parts;
    const rows = this.#entries.part(0, [batch]);
    const leaders = this.#beams.part(0, [batch]);
    const program = this.#program(name, (ops) => {
      const { pool } = this;
      const x = this.#layers(ops, {
        rows,
        start: pool.state.position,
        count: 1,
        source: beams ? pool.beams.source : undefined,
        ...(words && (this.alignment?.stepScores() ?? this.attention?.stepScores(rows))),
      });
      const logits = this.#logits(ops, x).reshape([batch, checkpoint.config.vocabulary]);
      const rules = {
        suppressed: pool.suppressed,
        ...tokenRules(checkpoint.generation),
      };
      const { topTokens, topLogProbability, topCount, ...withoutTop } = pool.state;
      const state = top ? pool.state : withoutTop;
      ops.nextToken(logits, rules, state, pool.sampling, { rows, beams: leaders });
      if (beams) ops.nextBeams(logits, rules, state, pool.beams, { rows, beams: leaders });
    });
    return { rows, leaders, program };
  }

  /** Computes the logits of each of the first `count` tokens of one row. The caller disposes of the program. */
  logits(count: number, output: Tensor) {
    const rows = this.#entries.part(0, [1]);
    const program = this.#parts.device.record('logits', (ops) => {
      const x = this.#layers(ops, { rows, start: this.pool.zero, count });
      this.#logits(ops, x, output);
    });
    return { rows, program };
  }

  /**
   * The encoder alone: features [batch, mels, frames] to [batch, positions, width] in the type of the encoder's values.
   * Its tensors are allocated on first use.
   */
  encoder(batch: number) {
    const { checkpoint, precision, device } = this.#parts;
    const { mels, sourcePositions, width } = checkpoint.config;
    let tensors = this.#encoderTensors.get(batch);
    if (!tensors) {
      // One window's features can be where the program `features` writes them: its callers get a copy.
      const features = batch === 1 ? this.#features : device.tensor('float32', [batch, mels, 2 * sourcePositions]);
      tensors = { features, encoded: device.tensor(precision.encoder.values, [batch, sourcePositions, width]) };
      this.#owned.push(features, tensors.encoded);
      this.#encoderTensors.set(batch, tensors);
    }
    const { features, encoded } = tensors;
    const program = this.#program(`encoder ${batch}`, (ops) => {
      this.#recordEncoder(ops, features, encoded);
    });
    return { features, encoded, program };
  }

  #logits(ops: Operations, x: Tensor, output?: Tensor): Tensor {
    const { parameters, precision } = this.#parts;
    return recordLogits(ops, parameters, x, { output, types: precision.decoder });
  }

  #layers(
    ops: Operations,
    run: Pick<DecoderRun, 'rows' | 'start' | 'count' | 'source' | 'scores' | 'onScores' | 'audio' | 'tokenwise'>,
  ): Tensor {
    const { checkpoint, parameters, precision } = this.#parts;
    return recordDecoder(ops, checkpoint.config, parameters, {
      types: precision.decoder,
      audio: { ...this.pool.audio, longest: checkpoint.config.sourcePositions },
      ...run,
      tokens: this.pool.state.tokens,
      self: this.#self,
      cross: (_, layer) => this.audio[layer],
    });
  }

  dispose(): void {
    for (const program of this.#programs.values()) program.dispose();
    this.alignment?.dispose();
    this.attention?.dispose();
    this.pool.dispose();
    this.#frontEnd.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
