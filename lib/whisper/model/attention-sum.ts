/** The attention that decoding steps pay to the audio, summed over heads as it comes: what words are timed by. */
import type { Device } from '../../device/device.js';
import type { AttentionScores, WeightPlaces } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
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
  readonly #first: number;
  readonly #factor: number;
  /** float32 [rows, capacity, positions]. */
  readonly #sum: Tensor;
  /** int32 [most]: 0, 1, 2, ..., and zeros. */
  readonly #numbers: Tensor;
  readonly #zeros: Tensor;
  readonly #owned: Tensor[] = [];

  /** `most`: rows or tokens that are read at once, at most. */
  constructor(
    device: Device,
    { decoder, sourcePositions }: WhisperConfig,
    words: WordHeads,
    pool: RowPool,
    most: number,
  ) {
    const own = (type: 'int32' | 'float32', shape: number[], data?: Int32Array): Tensor => {
      const tensor = device.tensor(type, shape, data);
      this.#owned.push(tensor);
      return tensor;
    };
    this.#device = device;
    this.#pool = pool;
    this.#keys = sourcePositions;
    this.#factor = 1 / words.heads.length;
    this.#sum = own('float32', [pool.count, pool.capacity, sourcePositions]);
    this.#numbers = own(
      'int32',
      [most],
      Int32Array.from({ length: most }, (_, i) => i),
    );
    this.#zeros = own('int32', [most], new Int32Array(most));
    // Layers come one after another, so those with as many heads share the memory of their scores.
    const bySize = new Map<number, Tensor>();
    const counts = headsOfLayers(words, decoder.layers);
    this.#first = counts.findIndex((count) => count > 0);
    this.#layers = counts.map((count, layer) => {
      if (count === 0) return undefined;
      const to = bySize.get(count) ?? own('float32', [most, 1, count, sourcePositions]);
      bySize.set(count, to);
      const chosen = words.heads.filter((one) => one[0] === layer).map((one) => one[1]);
      const heads = Int32Array.from({ length: decoder.heads }, (_, head) => chosen.indexOf(head));
      return { to, heads: own('int32', [decoder.heads], heads) };
    });
  }

  /** Adds up the scores of a step's entries. `rows` are their rows of the pool. */
  stepScores(rows: Tensor): Pick<DecoderRun, 'scores' | 'onScores'> {
    const { scoreRow, state, audio } = this.#pool;
    const places = { rows, from: scoreRow, to: scoreRow, position: state.position, keys: audio.count };
    return this.#summed({ row: scoreRow, position: this.#pool.zero }, places);
  }

  /** The same of tokens whose rows, positions and numbers of keys are given one by one, int32 [tokens]. */
  tokenScores(row: Tensor, position: Tensor, keys: Tensor): Pick<DecoderRun, 'scores' | 'onScores'> {
    const [tokens] = row.shape;
    const from = this.#numbers.part(0, [tokens]);
    const zeros = this.#zeros.part(0, [tokens]);
    return this.#summed({ row: from, position: zeros }, { from, to: row, position, keys });
  }

  #summed(
    written: Pick<AttentionScores, 'row' | 'position'>,
    places: WeightPlaces,
  ): Pick<DecoderRun, 'scores' | 'onScores'> {
    return {
      scores: this.#layers.map((layer) => layer && { ...layer, ...written }),
      onScores: (ops, index) => {
        const layer = this.#layers[index];
        if (!layer) return;
        ops.addWeights(layer.to, this.#sum, places, { factor: this.#factor, fresh: index === this.#first });
      },
    };
  }

  /** Reads the attention of a candidate's tokens to the window's `positions`. */
  async read(
    { prompt, prefix = [], frames = Number.POSITIVE_INFINITY }: Search,
    candidate: Candidate,
    positions: number,
  ): Promise<TextAttention> {
    const { capacity } = this.#pool;
    const { rows } = candidate;
    // A position's row tells of the token after it; the last token was not read, so it has no row.
    const begin = prompt.length + prefix.length - 1;
    const end = Math.max(begin, rows.length - 1);
    const counted = Math.max(1, Math.min(frames, positions));
    // Positions that lie in one row are read at once.
    const runs: { at: number; count: number }[] = [];
    for (let position = begin; position < end; ++position) {
      const last = runs.at(-1);
      const at = rows[position] * capacity + position;
      if (last && last.at + last.count === at) last.count += 1;
      else runs.push({ at, count: 1 });
    }
    const pieces = await this.#device.transfer({
      reads: runs.map(({ at, count }) => [this.#sum, at * this.#keys, count * this.#keys] as const),
    });
    const weights = new Float32Array((end - begin) * counted);
    let row = 0;
    for (const piece of pieces) {
      for (let at = 0; at < piece.length; at += this.#keys) {
        weights.set((piece as Float32Array).subarray(at, at + counted), row * counted);
        row += 1;
      }
    }
    return { weights, rows: end - begin, frames: counted, before: prefix.length };
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }
}
