/**
 * Cross-attention weights of decode steps, averaged over heads on the device as they are computed. Word times are
 * computed from them.
 */
import type { Device } from '../../device/device.js';
import type { AttentionScores, WeightIndices } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import type { ReadData } from '../../device/transfer.js';
import { type Submitted, submitted } from '../../engine/runtime.js';
import type { WhisperConfig } from '../checkpoint/config.js';
import type { DecoderRun } from './decoder.js';
import type { RowPool } from './rows.js';
import type { Candidate, Search, TextAttention } from './search.js';
import { headsOfLayers, type WordHeads } from './word-heads.js';

export class AttentionSum {
  /** One entry for each layer; undefined for a layer without chosen heads. */
  readonly #layers: readonly ({ to: Tensor; heads: Tensor } | undefined)[];
  readonly #device: Device;
  readonly #pool: RowPool;
  readonly #keys: number;
  readonly #firstLayer: number;
  readonly #factor: number;
  /** float32 [rows, capacity, audio positions]. @internal */
  readonly stored: Tensor;
  /** int32 [maximumTokens]: 0, 1, 2, ... */
  readonly #numbers: Tensor;
  /** int32 [maximumTokens]. */
  readonly #zeros: Tensor;
  readonly #owned: Tensor[] = [];

  /** `maximumTokens` limits the tokens of one run: one for each row of a step, or those of a verification. */
  constructor(
    device: Device,
    { decoder, sourcePositions }: WhisperConfig,
    words: WordHeads,
    pool: RowPool,
    maximumTokens: number,
  ) {
    const allocate = (type: 'int32' | 'float32', shape: number[], data?: Int32Array): Tensor => {
      const tensor = device.tensor(type, shape, data);
      this.#owned.push(tensor);
      return tensor;
    };
    this.#device = device;
    this.#pool = pool;
    this.#keys = sourcePositions;
    this.#factor = 1 / words.heads.length;
    this.stored = allocate('float32', [pool.count, pool.capacity, sourcePositions]);
    const numbers = Int32Array.from({ length: maximumTokens }, (_, i) => i);
    this.#numbers = allocate('int32', [maximumTokens], numbers);
    this.#zeros = allocate('int32', [maximumTokens], new Int32Array(maximumTokens));
    // A layer's scores are added up before the next layer runs, so layers with the same number of heads share memory.
    const scoresByCount = new Map<number, Tensor>();
    const counts = headsOfLayers(words, decoder.layers);
    this.#firstLayer = counts.findIndex((count) => count > 0);
    this.#layers = counts.map((count, layer) => {
      if (count === 0) return undefined;
      const to = scoresByCount.get(count) ?? allocate('float32', [maximumTokens, 1, count, sourcePositions]);
      scoresByCount.set(count, to);
      const chosen = words.heads.filter((pair) => pair[0] === layer).map((pair) => pair[1]);
      const heads = Int32Array.from({ length: decoder.heads }, (_, head) => chosen.indexOf(head));
      return { to, heads: allocate('int32', [decoder.heads], heads) };
    });
  }

  /** Adds up the weights of a step's entries. `rows` are their rows of the pool, int32 [batch]. */
  stepScores(rows: Tensor): Pick<DecoderRun, 'scores' | 'onScores'> {
    const { scoreRow, state, audio } = this.#pool;
    const indices = { rows, from: scoreRow, to: scoreRow, position: state.position, keys: audio.count };
    return this.#summed({ row: scoreRow, position: this.#pool.zero }, indices);
  }

  /** Adds up the weights of tokens, with a row, a position and a number of keys for each: int32 [tokens]. */
  tokenScores(row: Tensor, position: Tensor, keys: Tensor): Pick<DecoderRun, 'scores' | 'onScores'> {
    const [tokens] = row.shape;
    const from = this.#numbers.part(0, [tokens]);
    const zeros = this.#zeros.part(0, [tokens]);
    return this.#summed({ row: from, position: zeros }, { from, to: row, position, keys });
  }

  #summed(
    destination: Pick<AttentionScores, 'row' | 'position'>,
    indices: WeightIndices,
  ): Pick<DecoderRun, 'scores' | 'onScores'> {
    return {
      scores: this.#layers.map((layer) => layer && { ...layer, ...destination }),
      onScores: (ops, index) => {
        const layer = this.#layers[index];
        if (!layer) return;
        ops.addWeights(layer.to, this.stored, indices, { factor: this.#factor, fresh: index === this.#firstLayer });
      },
    };
  }

  /**
   * Reads the weights of a candidate's generated tokens. `positions` is the window's number of audio positions; those
   * from `frames` on are left out.
   */
  read(
    { prompt, prefix = [], frames = Number.POSITIVE_INFINITY }: Search,
    candidate: Candidate,
    positions: number,
  ): Submitted<TextAttention, readonly ReadData[]> {
    const { capacity } = this.#pool;
    const { rows } = candidate;
    // The weights of a position belong to the token after it. The last token was not read, so it has none.
    const begin = prompt.length + prefix.length - 1;
    const end = Math.max(begin, rows.length - 1);
    const width = Math.max(1, Math.min(frames, positions));
    // Successive positions in one row are read together.
    const ranges: { first: number; count: number }[] = [];
    for (let position = begin; position < end; ++position) {
      const last = ranges.at(-1);
      const index = rows[position] * capacity + position;
      if (last && last.first + last.count === index) last.count += 1;
      else ranges.push({ first: index, count: 1 });
    }
    const data = this.#device.transfer({
      reads: ranges.map(({ first, count }) => [this.stored, first * this.#keys, count * this.#keys] as const),
    });
    return submitted(data, (pieces) => {
      const weights = new Float32Array((end - begin) * width);
      let row = 0;
      for (const piece of pieces) {
        for (let offset = 0; offset < piece.length; offset += this.#keys) {
          weights.set((piece as Float32Array).subarray(offset, offset + width), row * width);
          row += 1;
        }
      }
      return { weights, rows: end - begin, frames: width, before: prefix.length };
    });
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }
}
