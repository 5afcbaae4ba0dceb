/** The decoder of a batch of windows, each searched by a group of sequences: its self-attention caches and its programs. */
import type { Device } from '../../device/device.js';
import type { AttentionScores, Operations } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import { crossAttention, decoderSelfAttention, feedForward, type KeyValueCache } from '../../layers/layers.js';
import type { GenerationConfig, WhisperConfig } from '../checkpoint/config.js';
import { Alignment } from './alignment.js';
import type { CrossCache } from './cross-cache.js';
import type { Parameters } from './parameters.js';
import { type Candidate, likeliest, type RankedTokens, type SlotRequest, type SlotSearch, Slots } from './slots.js';
import type { AttentionChoice, DataType } from './types.js';

/** What one window decoded. */
export interface SlotResult extends Omit<Candidate, 'rows' | 'sum'> {
  noSpeechProbability: number;
  /** The likeliest tokens of each place, where they were asked for. */
  top?: RankedTokens[];
  /** Where they were asked for: the second at which each token begins and, one more, at which the last one ends. */
  times?: number[];
}

export interface DecodeCall {
  signal?: AbortSignal;
  /** Called now and then with the tokens that each window has so far (of its best beam). */
  onTokens?: (tokens: number[][]) => void;
}

/** Steps that the device does before the event loop hears of it; an abort is seen within one step all the same. */
const stepsPerRun = 32;
/** The same where somebody wants to see the text grow. */
const stepsPerLook = 8;

export interface DecoderParts {
  device: Device;
  config: WhisperConfig;
  generation: GenerationConfig;
  parameters: Parameters;
  dtype: DataType;
  cross: CrossCache;
  attention?: AttentionChoice;
}

export class Decoder {
  readonly windows: number;
  /** Sequences of each window. */
  readonly group: number;
  readonly #parts: DecoderParts;
  readonly #slots: Slots;
  readonly #self: KeyValueCache[];
  readonly #zero: Tensor;
  readonly #startRow: Tensor;
  readonly #startLogits: Tensor;
  readonly #noSpeech: Tensor;
  #alignment: Alignment | null = null;
  readonly #steps = new Map<string, Program>();
  readonly #prefills = new Map<number, Program>();
  readonly #owned: Tensor[] = [];

  constructor(parts: DecoderParts, group: number) {
    const { device, config, dtype, cross } = parts;
    const { width, decoder, targetPositions, vocabulary } = config;
    this.windows = cross.windows;
    this.group = group;
    this.#parts = parts;
    const own = (type: DataType | 'int32', shape: number[]): Tensor => {
      const tensor = device.tensor(type, shape);
      this.#owned.push(tensor);
      return tensor;
    };
    this.#slots = new Slots(device, this.windows, group, targetPositions, vocabulary);
    const shape = [this.windows * group, targetPositions, decoder.keyValueHeads * (width / decoder.heads)];
    this.#self = Array.from({ length: decoder.layers }, () => ({ key: own(dtype, shape), value: own(dtype, shape) }));
    this.#zero = own('int32', [this.windows]);
    this.#startRow = own('int32', [1, this.windows]);
    this.#startLogits = own('float32', [this.windows, vocabulary]);
    this.#noSpeech = own('float32', [this.windows]);
  }

  /** Lays out the weights for the usual programs, so that the first window is not slower than the next. */
  async prepare(): Promise<void> {
    // The step first: it wants the weights row by row, and the others then take them as they are.
    await Promise.all([this.step().prepare(), this.#prefill(3).prepare()]);
  }

  /** The layers over `count` tokens a row of `tokens` [rows, capacity], from position start[b] on. */
  #layers(ops: Operations, count: number, { tokens, start, self, source, scores }: LayerRun): Tensor {
    const { decoder } = this.#parts.parameters;
    const { heads, keyValueHeads, crossKeyValueHeads } = this.#parts.config.decoder;
    const { attention = {}, cross } = this.#parts;
    // In a step a window's sequences are few rows over many keys, however many they are.
    const crossAlgorithm = attention.cross ?? (count === 1 ? 'split-kv' : undefined);
    let x = ops.embed(tokens, start, decoder.tokens, decoder.positions, { count });
    decoder.layers.forEach((layer, index) => {
      ops.scope(`decoder.${index}`, () => {
        const shape = { heads, keyValueHeads, algorithm: attention.self, source };
        x = ops.scope('self', () => decoderSelfAttention(ops, x, layer.self, self[index], start, shape));
        const crossShape = {
          heads,
          keyValueHeads: crossKeyValueHeads,
          algorithm: crossAlgorithm,
          scores: scores?.[index],
        };
        x = ops.scope('cross', () => crossAttention(ops, x, layer.cross, cross.keyValues(ops, index), crossShape));
        x = ops.scope('feed-forward', () => feedForward(ops, x, layer.feedForward));
      });
    });
    return x;
  }

  #logits(ops: Operations, x: Tensor, output?: Tensor): Tensor {
    const { norm, output: weight } = this.#parts.parameters.decoder;
    return ops.scope('logits', () => ops.linear(x, weight, { norm, dtype: 'float32', output }));
  }

  /** One step of every sequence: reads the token at its position and chooses the next. */
  step({ method = 'tokens', top = 0, words = false }: Partial<SlotSearch> = {}): Program {
    const key = `${method} ${top} ${words}`;
    let program = this.#steps.get(key);
    if (!program) {
      const { state, sampling, beams, suppressed } = this.#slots;
      const { endToken, timestampBegin, noTimestampsToken, maxInitialTimestamp } = this.#parts.generation;
      const rules = {
        suppressed,
        endToken,
        timestampBegin,
        noTimestampsToken: noTimestampsToken ?? -1,
        maxInitialTimestamp: maxInitialTimestamp ?? -1,
      };
      program = this.#parts.device.record('step', (ops) => {
        const source = this.group > 1 ? beams.source : undefined;
        const scores = words ? this.#aligner().scores : undefined;
        const { tokens, position: start } = state;
        const x = this.#layers(ops, 1, { tokens, start, self: this.#self, source, scores });
        const { vocabulary } = this.#parts.config;
        const logits = this.#logits(ops, x).reshape([this.windows * this.group, vocabulary]);
        const wanted = { ...state, ...this.#slots.top(top) };
        if (method === 'beams') ops.nextBeams(logits, rules, wanted, beams);
        else ops.nextToken(logits, rules, wanted, sampling);
      });
      this.#steps.set(key, program);
    }
    return program;
  }

  #aligner(): Alignment {
    const { device, config, generation } = this.#parts;
    this.#alignment ??= new Alignment(device, config, generation, this.#slots);
    return this.#alignment;
  }

  /**
   * Reads up to `length` tokens of each window into its first sequence's cache; shorter prompts are followed by anything, which the next
   * steps overwrite. Gives the logits behind <|startoftranscript|>.
   */
  #prefill(length: number): Program {
    const { targetPositions: capacity } = this.#parts.config;
    const count = length <= 8 ? length : Math.min(Math.ceil(length / 32) * 32, capacity);
    let program = this.#prefills.get(count);
    if (!program) {
      const { windows, group } = this;
      // A window's rows as one: what is read goes to the first of them.
      const joined = (tensor: Tensor) => tensor.reshape([windows, group * capacity, ...tensor.shape.slice(2)]);
      program = this.#parts.device.record(`prefill ${count}`, (ops) => {
        const x = this.#layers(ops, count, {
          tokens: joined(this.#slots.state.tokens),
          start: this.#zero,
          self: this.#self.map(({ key, value }) => ({ key: joined(key), value: joined(value) })),
        });
        const output = this.#startLogits.reshape([1, windows, this.#parts.config.vocabulary]);
        this.#logits(ops, ops.gatherRows(x, this.#startRow), output);
        const { noSpeechToken } = this.#parts.generation;
        if (noSpeechToken !== null) {
          ops.tokenProbability(this.#startLogits, noSpeechToken, { output: this.#noSpeech });
        }
      });
      this.#prefills.set(count, program);
    }
    return program;
  }

  /** Reads the prompts but for their last token, which the first step reads. */
  async #read(requests: readonly (SlotRequest | null)[], search: SlotSearch, signal?: AbortSignal): Promise<void> {
    const rows = Int32Array.from({ length: this.windows }, (_, window) => requests[window]?.startIndex ?? 0);
    const longest = Math.max(
      ...requests.map((request) => (request ? request.prompt.length + (request.prefix?.length ?? 0) - 1 : 1)),
      ...Array.from(rows, (row) => row + 1),
    );
    await Promise.all([
      this.#slots.write(requests, search),
      this.#startRow.write(rows),
      this.#prefill(longest).run({ signal }),
    ]);
  }

  /** Logits behind each window's <|startoftranscript|>, float32 [windows, vocabulary]: no rule applied. */
  async startLogits(startToken: number, signal?: AbortSignal): Promise<Float32Array> {
    const request = { prompt: [startToken], minimum: 0, maximum: 0, timestamps: false, startIndex: 0 };
    const search = { ...plainSearch, suppressed: new Uint8Array(this.#parts.config.vocabulary) };
    await this.#read(Array(this.windows).fill(request), search, signal);
    return this.#startLogits.toFloat32Array();
  }

  /** Decodes all windows until each has ended; null for a window that has nothing to decode. */
  async decode(
    requests: readonly (SlotRequest | null)[],
    search: SlotSearch,
    { signal, onTokens }: DecodeCall = {},
  ): Promise<(SlotResult | null)[]> {
    await this.#read(requests, search, signal);
    const { finished } = this.#slots.state;
    const program = this.step(search);
    let left = Math.max(...requests.map((request) => request?.maximum ?? 0));
    while (left > 0) {
      const times = Math.min(onTokens ? stepsPerLook : stepsPerRun, left);
      const [, flags] = await Promise.all([program.run({ times, until: finished, signal }), finished.toInt32Array()]);
      left -= times;
      if (onTokens) onTokens(await this.#written(requests));
      if (flags.every((flag) => flag !== 0)) break;
    }
    const [candidates, silences] = await Promise.all([
      this.#slots.read(requests, search, this.#parts.generation.endToken),
      this.#noSpeech.toFloat32Array(),
    ]);
    const best = requests.map((request, window) =>
      request ? likeliest(candidates[window], search.lengthPenalty) : null,
    );
    const times = search.words ? await this.#aligner().run(requests, best, signal) : [];
    return Promise.all(
      requests.map(async (request, window) => {
        const chosen = best[window];
        if (!request || !chosen) return null;
        const { tokens, logProbabilities, ended } = chosen;
        const result: SlotResult = { tokens, logProbabilities, ended, noSpeechProbability: silences[window] };
        if (search.top > 0) result.top = await this.#slots.readTop(request, chosen, search.top);
        if (search.words) result.times = times[window]!;
        return result;
      }),
    );
  }

  /** What the first sequence of each window has so far. */
  async #written(requests: readonly (SlotRequest | null)[]): Promise<number[][]> {
    const { tokens, length } = this.#slots.state;
    const [ids, lengths] = await Promise.all([tokens.toInt32Array(), length.toInt32Array()]);
    return requests.map((request, window) => {
      const row = window * this.group;
      const at = row * this.#slots.capacity;
      return request ? Array.from(ids.subarray(at + request.prompt.length, at + lengths[row])) : [];
    });
  }

  /** Teacher-forced logits of every position: `tokens` of each window, all of one length, to float32 [windows, length, vocabulary]. */
  async logits(tokens: readonly (readonly number[])[]): Promise<Tensor> {
    const { device, config } = this.#parts;
    const count = tokens[0].length;
    const capacity = config.targetPositions;
    const ids = new Int32Array(this.windows * capacity);
    tokens.forEach((row, slot) => {
      ids.set(row, slot * capacity);
    });
    const output = device.tensor('float32', [this.windows, count, config.vocabulary]);
    const { tokens: given } = this.#slots.state;
    const program = device.record('logits', (ops) => {
      this.#logits(ops, this.#layers(ops, count, { tokens: given, start: this.#zero, self: this.#self }), output);
    });
    try {
      await Promise.all([given.write(ids), program.run()]);
      return output;
    } catch (error) {
      output.dispose();
      throw error;
    } finally {
      program.dispose();
    }
  }

  dispose(): void {
    for (const program of [...this.#steps.values(), ...this.#prefills.values()]) program.dispose();
    this.#alignment?.dispose();
    this.#slots.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}

interface LayerRun {
  tokens: Tensor;
  start: Tensor;
  self: readonly KeyValueCache[];
  source?: Tensor;
  /** Of each layer. */
  scores?: readonly (AttentionScores | undefined)[];
}

/** The likeliest token each time. */
export const plainSearch: Omit<SlotSearch, 'suppressed'> = {
  method: 'tokens',
  temperature: 0,
  patience: 1,
  lengthPenalty: null,
  repetitionPenalty: 1,
  noRepeatNgramSize: 0,
  top: 0,
  words: false,
};
