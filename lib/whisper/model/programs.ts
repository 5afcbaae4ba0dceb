/** The programs of a runtime: one for each size, recorded when it is first wanted. */
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
  /** Windows that are encoded at once, at most. */
  encodeBatch: number;
}

/** The smallest size of 1, 2, 4, ... and `most` that holds `count`. */
export function sizeFor(count: number, most: number): number {
  return Math.min(most, 2 ** Math.ceil(Math.log2(count)));
}

/** The lengths that prompts are padded to, so that few programs serve all. */
export function prefillLength(length: number, capacity: number): number {
  return length <= 8 ? length : Math.min(Math.ceil(length / 32) * 32, capacity);
}

/** Tokens that one pass chooses at most, and sequences that it reads. */
export const mostChoices = 16;
export const verifyBatch = 4;

/** Tokens that one pass reads at most, of all its sequences. */
export function verifyTokens(targetPositions: number): number {
  return Math.max(targetPositions, verifyBatch * 128);
}

/** A cache [sequences, positions, heads * headSize] of the precision's type, with scales where that is int8. */
export function keyValueCache(
  own: (type: ElementType, shape: number[]) => Tensor,
  { cache }: Precision,
  [sequences, positions, heads]: [number, number, number],
  headSize: number,
): KeyValueCache {
  const shape = [sequences, positions, heads * headSize];
  const both = { key: own(cache, shape), value: own(cache, shape) };
  if (cache !== 'int8') return both;
  const scales = () => own('float32', [sequences, positions, heads]);
  return { ...both, scales: { key: scales(), value: scales() } };
}

export class RuntimePrograms {
  readonly pool: RowPool;
  /** Each decoder layer's keys and values of the audio: [1, positions, key/value heads * head size]. */
  readonly audio: readonly KeyValueCache[];
  readonly #parts: RuntimeParts;
  readonly #front: Features;
  /** float32 [1, mels, frames]: of the window that `features` was asked for. */
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
  readonly #verification: { places: Tensor; tokens: readonly [Tensor, Tensor, Tensor, Tensor] };
  /** Buffers for `encode` without the runtime's slots, by batch. */
  readonly #loose = new Map<number, { features: Tensor; encoded: Tensor }>();
  readonly #owned: Tensor[] = [];
  readonly #programs = new Map<string, Program>();
  /** Programs with their tensors. */
  readonly #made = new Map<string, unknown>();
  /** State of the method that times words: one of the two is null. */
  readonly alignment: Alignment | null;
  readonly attention: AttentionSum | null;

  /** Takes all memory that serving needs. Throws OneheadError OUT_OF_MEMORY. */
  constructor(parts: RuntimeParts) {
    const { device, checkpoint, precision, windows, rows, encodeBatch } = parts;
    const { config, preprocessor } = checkpoint;
    const { decoder, width, sourcePositions, targetPositions, vocabulary } = config;
    this.#parts = parts;
    this.#front = new Features(device, preprocessor);
    const own = (type: ElementType, shape: number[]): Tensor => {
      const tensor = device.tensor(type, shape);
      this.#owned.push(tensor);
      return tensor;
    };
    const caches = (first: number, positions: number, heads: number): KeyValueCache[] => {
      const make = (): KeyValueCache => keyValueCache(own, precision, [first, positions, heads], width / decoder.heads);
      return Array.from({ length: decoder.layers }, make);
    };
    this.pool = new RowPool(device, rows, targetPositions, vocabulary);
    this.audio = caches(1, windows * sourcePositions, decoder.crossKeyValueHeads);
    this.#self = caches(rows, targetPositions, decoder.keyValueHeads);
    this.#samples = own('float32', [encodeBatch * windowSamples(preprocessor, sourcePositions)]);
    this.#features = own('float32', [1, config.mels, 2 * sourcePositions]);
    this.#peaks = own('float32', [encodeBatch]);
    this.#begins = own('int32', [encodeBatch]);
    this.#entries = own('int32', [rows]);
    this.#beams = own('int32', [rows]);
    this.#startRows = own('int32', [rows]);
    this.#startLogits = own('float32', [rows * vocabulary]);
    this.#noSpeech = own('float32', [rows]);
    const verified = () => own('int32', [verifyTokens(targetPositions)]);
    this.#verification = {
      places: own('int32', [(mostChoices + 1) * verifyBatch]),
      tokens: [verified(), verified(), verified(), verified()],
    };
    const byAttention = parts.words.method === 'attention';
    const most = Math.max(rows, verifyTokens(targetPositions));
    this.alignment = byAttention ? new Alignment(device, config, parts.words, this.pool) : null;
    this.attention = byAttention ? null : new AttentionSum(device, config, parts.words, this.pool, most);
  }

  get endToken(): number {
    return this.#parts.checkpoint.generation.endToken;
  }

  /**
   * Creates a view once and keeps it: views of tensors are objects of the addon, which are too slow to create for every
   * run.
   */
  #once<T>(key: string, make: () => T): T {
    let made = this.#made.get(key) as T | undefined;
    if (!made) {
      made = make();
      this.#made.set(key, made);
    }
    return made;
  }

  #program(key: string, record: (ops: Operations) => void): Program {
    let program = this.#programs.get(key);
    if (!program) {
      program = this.#parts.device.record(key, record);
      this.#programs.set(key, program);
    }
    return program;
  }

  /** Log-mel features of one window's samples, float32 [1, mels, frames], and the highest power of them and before. */
  features() {
    const { sourcePositions } = this.#parts.checkpoint.config;
    const { samples, peaks } = this.#windows(1, sourcePositions);
    const program = this.#program('features', (ops) => {
      this.#front.record(ops, samples, peaks, this.#features);
    });
    return { samples, peaks, features: this.#features, program };
  }

  #windows(batch: number, positions: number) {
    const length = windowSamples(this.#parts.checkpoint.preprocessor, positions);
    return { samples: this.#samples.part(0, [batch, length]), peaks: this.#peaks.part(0, [batch]) };
  }

  /** From samples to the cross-attention cache of the slots that begin at `begins`. */
  encode(batch: number, positions: number) {
    return this.#once(`encode ${batch} x ${positions}`, () => this.#makeEncode(batch, positions));
  }

  #makeEncode(batch: number, positions: number) {
    const { samples, peaks } = this.#windows(batch, positions);
    const begins = this.#begins.part(0, [batch]);
    const program = this.#program(`encode ${batch} x ${positions}`, (ops) => {
      const features = this.#front.record(ops, samples, peaks);
      this.#recordAudio(ops, this.#recordEncoder(ops, features), begins);
    });
    return { samples, peaks, begins, program };
  }

  /**
   * From the encoder's output [1, positions, width] to the cross-attention cache of the slot that begins at `begins`.
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
   * Reads `count` tokens of each entry's row from the beginning; shorter prompts are followed by anything, which the
   * next steps overwrite. Gives the logits behind <|startoftranscript|>, and the probability of silence there.
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
   * Reads `count` tokens of each entry's row from the beginning, and chooses `choices` tokens one after the other, each
   * as if those before it were what was read: they are right up to the first that is another. `places` int32 [choices +
   * 1, batch] say behind which token each is chosen; the last is <|startoftranscript|>, as in `prefill`. The scores of
   * every token go where `tokens` says.
   */
  verify(batch: number, count: number, choices: number) {
    const { checkpoint } = this.#parts;
    const { pool } = this;
    const { vocabulary, width } = checkpoint.config;
    const rows = this.#entries.part(0, [batch]);
    const logits = this.#startLogits.part(0, [batch, vocabulary]);
    const noSpeech = this.#noSpeech.part(0, [batch]);
    const { places: allPlaces, tokens: allTokens } = this.#verification;
    const places = allPlaces.part(0, [choices + 1, batch]);
    const [begin, number, row, position] = allTokens.map((one) => one.part(0, [batch * count]));
    const tokens = { begin, count: number, row, position };
    const program = this.#program(`verify ${batch} x ${count}, ${choices} choices`, (ops) => {
      const x = this.#layers(ops, {
        rows,
        start: pool.zero,
        count,
        tokenwise: true,
        audio: { begin, count: number },
        ...(this.alignment?.tokenScores(row, position) ?? this.attention?.tokenScores(row, position, number)),
      });
      const chosen = ops.gatherRows(x, places);
      const from = (place: number, places: number) => chosen.part(place * batch * width, [places, batch, width]);
      this.#logits(ops, from(choices, 1), logits.reshape([1, batch, vocabulary]));
      const { noSpeechToken } = checkpoint.generation;
      if (noSpeechToken !== null) ops.tokenProbability(logits, noSpeechToken, { output: noSpeech });
      const all = this.#logits(ops, from(0, choices));
      const rules = { suppressed: pool.suppressed, ...tokenRules(checkpoint.generation) };
      for (let choice = 0; choice < choices; ++choice) {
        const own = all.part(choice * batch * vocabulary, [batch, vocabulary]);
        ops.nextToken(own, rules, pool.state, pool.sampling, { rows });
      }
    });
    return { rows, places, tokens, logits, noSpeech, program };
  }

  /** One step of every entry: reads the token at its row's position and chooses the next. */
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
      const { topTokens, topLogProbability, topCount, ...plain } = pool.state;
      const state = top ? pool.state : plain;
      ops.nextToken(logits, rules, state, pool.sampling, { rows, beams: leaders });
      if (beams) ops.nextBeams(logits, rules, state, pool.beams, { rows, beams: leaders });
    });
    return { rows, leaders, program };
  }

  /** Records the logits of every one of `count` tokens of one row. The caller disposes of the program. */
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
   * Its tensors are made when first wanted.
   */
  encoder(batch: number) {
    const { checkpoint, precision, device } = this.#parts;
    const { mels, sourcePositions, width } = checkpoint.config;
    let tensors = this.#loose.get(batch);
    if (!tensors) {
      const features = device.tensor('float32', [batch, mels, 2 * sourcePositions]);
      tensors = { features, encoded: device.tensor(precision.encoder.values, [batch, sourcePositions, width]) };
      this.#owned.push(features, tensors.encoded);
      this.#loose.set(batch, tensors);
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
      audio: this.pool.audio,
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
    this.#front.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
