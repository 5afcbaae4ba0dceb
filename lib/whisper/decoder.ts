/** The decoder of a batch of slots: its caches, its state on the device, and the programs that change them. */
import type { Device } from '../device/device.js';
import type { DecodingState, Operations } from '../device/operations.js';
import type { Program } from '../device/program.js';
import type { Tensor } from '../device/tensor.js';
import type { GenerationConfig, WhisperConfig } from './config.js';
import { crossAttention, decoderSelfAttention, feedForward, type KeyValueCache } from './layers.js';
import type { DecoderLayer, Parameters } from './parameters.js';
import { suppressionMask } from './prompt.js';
import type { AttentionChoice, DataType } from './types.js';

/** What one slot is to decode. */
export interface SlotRequest {
  prompt: readonly number[];
  /** New tokens before the end token may come, and at most. */
  minimum: number;
  maximum: number;
  timestamps: boolean;
  /** Index in the prompt of <|startoftranscript|>, where the probability of silence is read. */
  startIndex: number;
}

/** What one slot decoded. */
export interface SlotResult {
  /** Without the prompt and without the end token. */
  tokens: number[];
  /** Of each token, and of the end token when it came. */
  logProbabilities: number[];
  ended: boolean;
  noSpeechProbability: number;
}

/** Steps that the device does before the event loop hears of it; an abort is seen within one step all the same. */
const stepsPerRun = 32;

export class Decoder {
  readonly batch: number;
  readonly #device: Device;
  readonly #config: WhisperConfig;
  readonly #generation: GenerationConfig;
  readonly #parameters: Parameters;
  readonly #attention: AttentionChoice;
  readonly #encoded: Tensor;
  readonly #self: KeyValueCache[];
  readonly #cross: KeyValueCache[];
  readonly #state: DecodingState;
  readonly #zero: Tensor;
  readonly #selection: Tensor;
  readonly #noSpeech: Tensor;
  readonly #firstLogits: Tensor;
  readonly #suppressed: Tensor;
  readonly #crossCache: Program;
  readonly #step: Program;
  readonly #choose: Program;
  readonly #prefills = new Map<number, Program>();
  readonly #owned: Tensor[] = [];

  /** `encoded` [batch, positions, width] in the model's dtype is what the cross-cache program reads. */
  constructor(
    device: Device,
    config: WhisperConfig,
    generation: GenerationConfig,
    parameters: Parameters,
    dtype: DataType,
    encoded: Tensor,
    attention: AttentionChoice = {},
  ) {
    this.batch = encoded.shape[0];
    this.#device = device;
    this.#config = config;
    this.#generation = generation;
    this.#parameters = parameters;
    this.#attention = attention;
    this.#encoded = encoded;
    const { batch } = this;
    const { width, decoder, targetPositions, sourcePositions, vocabulary } = config;
    const own = (type: DataType | 'int32' | 'uint8', shape: number[], data?: Uint8Array): Tensor => {
      const tensor = device.tensor(type, shape, data);
      this.#owned.push(tensor);
      return tensor;
    };
    const headSize = width / decoder.heads;
    const caches = (positions: number, heads: number): KeyValueCache[] =>
      Array.from({ length: decoder.layers }, () => ({
        key: own(dtype, [batch, positions, heads * headSize]),
        value: own(dtype, [batch, positions, heads * headSize]),
      }));
    this.#self = caches(targetPositions, decoder.keyValueHeads);
    this.#cross = caches(sourcePositions, decoder.crossKeyValueHeads);
    const perSlot = () => own('int32', [batch]);
    this.#state = {
      tokens: own('int32', [batch, targetPositions]),
      logProbability: own('float32', [batch, targetPositions]),
      length: perSlot(),
      position: perSlot(),
      begin: perSlot(),
      minimum: perSlot(),
      maximum: perSlot(),
      timestamps: perSlot(),
      finished: perSlot(),
    };
    this.#zero = perSlot();
    this.#selection = own('int32', [2, batch]);
    this.#noSpeech = own('float32', [batch]);
    this.#firstLogits = own('float32', [2, batch, vocabulary]);
    this.#suppressed = own('uint8', [vocabulary], suppressionMask(generation, vocabulary));
    this.#crossCache = this.#recordCrossCache();
    this.#step = this.#recordStep();
    this.#choose = device.record('choose', (ops) => this.#nextToken(ops, this.#firstLogits.slice(0)));
  }

  /** Lays out the weights for the usual programs, so that the first window is not slower than the next. */
  async prepare(): Promise<void> {
    // The step first: it wants the weights row by row, and the others then take them as they are.
    await Promise.all([this.#step.prepare(), this.#crossCache.prepare(), this.#prefill(4).prepare()]);
  }

  /** Keys and values of all layers from the encoder's output: once a window. */
  projectAudio(signal?: AbortSignal): Promise<number> {
    if (this.#attention.crossKeyValues === 'recomputed') return Promise.resolve(0);
    return this.#crossCache.run({ signal });
  }

  /** A layer's keys and values of the audio, into its cache or into temporaries. */
  #projectKeyValues(ops: Operations, { cross }: DecoderLayer, into?: KeyValueCache): KeyValueCache {
    const project = (part: 'key' | 'value') =>
      ops.linear(this.#encoded, cross[part].weight, { bias: cross[part].bias, output: into?.[part] });
    return { key: project('key'), value: project('value') };
  }

  #recordCrossCache(): Program {
    return this.#device.record('cross-cache', (ops) => {
      this.#parameters.decoder.layers.forEach((layer, index) => {
        ops.scope(`decoder.${index}/cross`, () => this.#projectKeyValues(ops, layer, this.#cross[index]));
      });
    });
  }

  /** The cache itself, unless something else is to be measured. */
  #crossKeyValues(ops: Operations, layer: DecoderLayer, cache: KeyValueCache): KeyValueCache {
    switch (this.#attention.crossKeyValues) {
      case 'copied':
        return { key: ops.copy(cache.key), value: ops.copy(cache.value) };
      case 'recomputed':
        return this.#projectKeyValues(ops, layer);
      default:
        return cache;
    }
  }

  /** The layers over `count` tokens a slot, from position start[b] on. */
  #layers(ops: Operations, count: number, start: Tensor): Tensor {
    const { decoder } = this.#parameters;
    const { heads, keyValueHeads, crossKeyValueHeads } = this.#config.decoder;
    let x = ops.embed(this.#state.tokens, start, decoder.tokens, decoder.positions, { count });
    decoder.layers.forEach((layer, index) => {
      ops.scope(`decoder.${index}`, () => {
        const shape = { heads, keyValueHeads, algorithm: this.#attention.self };
        x = ops.scope('self', () => decoderSelfAttention(ops, x, layer.self, this.#self[index], start, shape));
        const crossShape = { heads, keyValueHeads: crossKeyValueHeads, algorithm: this.#attention.cross };
        x = ops.scope('cross', () => {
          const cache = this.#crossKeyValues(ops, layer, this.#cross[index]);
          return crossAttention(ops, x, layer.cross, cache, crossShape);
        });
        x = ops.scope('feed-forward', () => feedForward(ops, x, layer.feedForward));
      });
    });
    return x;
  }

  #logits(ops: Operations, x: Tensor, output?: Tensor): Tensor {
    const { norm, output: weight } = this.#parameters.decoder;
    return ops.scope('logits', () => ops.linear(x, weight, { norm, dtype: 'float32', output }));
  }

  #nextToken(ops: Operations, logits: Tensor): void {
    const { endToken, timestampBegin, noTimestampsToken, maxInitialTimestamp } = this.#generation;
    const rules = {
      suppressed: this.#suppressed,
      endToken,
      timestampBegin,
      noTimestampsToken: noTimestampsToken ?? -1,
      maxInitialTimestamp: maxInitialTimestamp ?? -1,
    };
    ops.nextToken(logits, rules, this.#state);
  }

  #recordStep(): Program {
    return this.#device.record('step', (ops) => {
      const x = this.#layers(ops, 1, this.#state.position);
      this.#nextToken(ops, this.#logits(ops, x).reshape([this.batch, this.#config.vocabulary]));
    });
  }

  /** A prompt of up to `count` tokens a slot; shorter ones are followed by anything, which the next steps overwrite. */
  #prefill(length: number): Program {
    const count = length <= 8 ? length : Math.min(Math.ceil(length / 32) * 32, this.#config.targetPositions);
    let program = this.#prefills.get(count);
    if (!program) {
      program = this.#device.record(`prefill ${count}`, (ops) => {
        const x = this.#layers(ops, count, this.#zero);
        // Each slot's last prompt row and its <|startoftranscript|> row, in one pass over the vocabulary.
        this.#logits(ops, ops.gatherRows(x, this.#selection), this.#firstLogits);
        const { noSpeechToken } = this.#generation;
        if (noSpeechToken !== null) {
          ops.tokenProbability(this.#firstLogits.slice(1), noSpeechToken, { output: this.#noSpeech });
        }
      });
      this.#prefills.set(count, program);
    }
    return program;
  }

  /** Reads the prompts: afterwards the logits of each slot's last prompt row are there. */
  async #read(requests: readonly SlotRequest[], signal?: AbortSignal): Promise<void> {
    const capacity = this.#config.targetPositions;
    const tokens = new Int32Array(this.batch * capacity);
    const fill = (value: (request: SlotRequest) => number, idle: number) =>
      Int32Array.from({ length: this.batch }, (_, slot) => (requests[slot] ? value(requests[slot]) : idle));
    requests.forEach(({ prompt }, slot) => {
      tokens.set(prompt, slot * capacity);
    });
    const last = fill(({ prompt }) => prompt.length - 1, 0);
    const selection = new Int32Array(2 * this.batch);
    selection.set(last);
    selection.set(
      fill((request) => request.startIndex, 0),
      this.batch,
    );
    const lengths = fill(({ prompt }) => prompt.length, 1);
    const longest = Math.max(...requests.map(({ prompt }) => prompt.length));
    const state = this.#state;
    await Promise.all([
      state.tokens.write(tokens),
      state.length.write(lengths),
      state.begin.write(lengths),
      state.position.write(last),
      state.minimum.write(fill((request) => request.minimum, 0)),
      state.maximum.write(fill((request) => request.maximum, 0)),
      state.timestamps.write(fill((request) => Number(request.timestamps), 0)),
      state.finished.write(fill((request) => Number(request.maximum === 0), 1)),
      this.#selection.write(selection),
      this.#prefill(longest).run({ signal }),
    ]);
  }

  /** Logits of each slot's last prompt token, float32 [batch, vocabulary]: no rule applied. */
  async firstLogits(requests: readonly SlotRequest[], signal?: AbortSignal): Promise<Float32Array> {
    await this.#read(requests, signal);
    return this.#firstLogits.toFloat32Array(0, this.batch * this.#config.vocabulary);
  }

  /** Greedy decoding of all slots until each has ended. */
  async decode(requests: readonly SlotRequest[], signal?: AbortSignal): Promise<SlotResult[]> {
    await this.#read(requests, signal);
    const { tokens, logProbability, length, finished } = this.#state;
    await this.#choose.run({ signal });
    let left = Math.max(...requests.map(({ maximum }) => maximum)) - 1;
    while (left > 0) {
      const times = Math.min(stepsPerRun, left);
      const [, flags] = await Promise.all([
        this.#step.run({ times, until: finished, signal }),
        finished.toInt32Array(),
      ]);
      left -= times;
      if (flags.every((flag) => flag !== 0)) break;
    }
    const [ids, logs, lengths, silences] = await Promise.all([
      tokens.toInt32Array(),
      logProbability.toFloat32Array(),
      length.toInt32Array(),
      this.#noSpeech.toFloat32Array(),
    ]);
    const capacity = this.#config.targetPositions;
    return requests.map(({ prompt }, slot) => {
      const [from, to] = [slot * capacity + prompt.length, slot * capacity + lengths[slot]];
      const written = Array.from(ids.subarray(from, to));
      const ended = written.at(-1) === this.#generation.endToken;
      return {
        tokens: ended ? written.slice(0, -1) : written,
        logProbabilities: Array.from(logs.subarray(from, to)),
        ended,
        noSpeechProbability: silences[slot],
      };
    });
  }

  /** Teacher-forced logits of every position: `tokens` of each slot, all of one length, to float32 [batch, length, vocabulary]. */
  async logits(tokens: readonly (readonly number[])[]): Promise<Tensor> {
    const count = tokens[0].length;
    const capacity = this.#config.targetPositions;
    const ids = new Int32Array(this.batch * capacity);
    tokens.forEach((row, slot) => {
      ids.set(row, slot * capacity);
    });
    const output = this.#device.tensor('float32', [this.batch, count, this.#config.vocabulary]);
    const program = this.#device.record('logits', (ops) => {
      this.#logits(ops, this.#layers(ops, count, this.#zero), output);
    });
    try {
      await Promise.all([this.#state.tokens.write(ids), program.run()]);
      return output;
    } catch (error) {
      output.dispose();
      throw error;
    } finally {
      program.dispose();
    }
  }

  /** The step program, for measurements. */
  get step(): Program {
    return this.#step;
  }

  dispose(): void {
    for (const program of [this.#step, this.#crossCache, this.#choose, ...this.#prefills.values()]) program.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
