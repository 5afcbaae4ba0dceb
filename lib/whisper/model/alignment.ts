/**
 * Times of tokens by openai/whisper's method, from cross-attention's scores, which the decoding steps give out as they
 * go.
 */
import type { Device } from '../../device/device.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import { timestampSeconds, type WhisperConfig } from '../checkpoint/config.js';
import type { LayerScores } from './decoder.js';
import type { RowPool } from './rows.js';
import type { Candidate, Search } from './search.js';
import type { WordHeads } from './word-heads.js';

export class Alignment {
  readonly #scores: LayerScores;
  readonly #device: Device;
  readonly #capacity: number;
  readonly #counted: { source: Tensor; begin: Tensor; end: Tensor; frames: Tensor };
  readonly #times: Tensor;
  readonly #program: Program;
  readonly #owned: Tensor[] = [];

  constructor(device: Device, config: WhisperConfig, { heads: chosen }: WordHeads, pool: RowPool) {
    const { decoder, sourcePositions, medianFilterWidth } = config;
    const { capacity } = pool;
    const own = (type: 'int32' | 'float32', shape: number[], data?: Int32Array): Tensor => {
      const tensor = device.tensor(type, shape, data);
      this.#owned.push(tensor);
      return tensor;
    };
    this.#device = device;
    this.#capacity = capacity;
    const to = own('float32', [pool.count, capacity, chosen.length, sourcePositions]);
    this.#scores = Array.from({ length: decoder.layers }, (_, layer) => {
      const places = Int32Array.from({ length: decoder.heads }, (_, head) =>
        chosen.findIndex((one) => one[0] === layer && one[1] === head),
      );
      if (places.every((place) => place < 0)) return undefined;
      const heads = own('int32', [decoder.heads], places);
      return { to, heads, position: pool.state.position, row: pool.scoreRow };
    });
    this.#counted = {
      source: own('int32', [1, capacity]),
      begin: own('int32', [1]),
      end: own('int32', [1]),
      frames: own('int32', [1]),
    };
    this.#times = own('int32', [1, capacity]);
    this.#program = device.record('align', (ops) => {
      ops.alignPositions(to, this.#counted, { medianWidth: medianFilterWidth, output: this.#times });
    });
  }

  /** Destination of the scores of a step's entries. */
  stepScores(): { scores: LayerScores } {
    return { scores: this.#scores };
  }

  /** Destination of the scores of tokens, with one row and one position for each: int32 [tokens]. */
  tokenScores(row: Tensor, position: Tensor): { scores: LayerScores } {
    return { scores: this.#scores.map((one) => one && { ...one, row, position }) };
  }

  prepare(): Promise<void> {
    return this.#program.prepare();
  }

  /**
   * The second at which each of a candidate's tokens begins, and, one more, at which the last one ends; from the start
   * of the window. Tokens of a prefix were not decoded, so they begin with the first that was, unless there is a draft.
   * `positions` are the window's.
   */
  async run(search: Search, candidate: Candidate, positions: number): Promise<number[]> {
    const { prompt, prefix = [], draft } = search;
    const source = new Int32Array(this.#capacity);
    source.set(candidate.rows);
    // A position's row tells of the token after it; the last token was not read, so it has no row.
    const begin = prompt.length + (draft ? 0 : prefix.length) - 1;
    const end = candidate.rows.length - 1;
    const frames = Math.max(1, Math.min(search.frames ?? positions, positions));
    const one = (value: number) => Int32Array.of(value);
    const counted = this.#counted;
    const [, , [places]] = await Promise.all([
      this.#device.transfer({
        writes: [
          [counted.source, source],
          [counted.begin, one(begin)],
          [counted.end, one(end)],
          [counted.frames, one(frames)],
        ],
      }),
      this.#program.run(),
      this.#device.transfer({ reads: [[this.#times]] }),
    ]);
    return Array.from({ length: candidate.tokens.length + 1 }, (_, index) => {
      const position = Math.max(begin, prompt.length - 1 + index);
      const place = position < end ? places[position] : frames;
      return place * timestampSeconds;
    });
  }

  dispose(): void {
    this.#program.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
