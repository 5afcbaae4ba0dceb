/**
 * Times of tokens by openai/whisper's method: dynamic time warping of the alignment heads' cross-attention scores,
 * which the decode steps store.
 */
import type { Device } from '../../device/device.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import type { ReadData } from '../../device/transfer.js';
import { type Submitted, submitted } from '../../engine/runtime.js';
import { timestampSeconds, type WhisperConfig } from '../checkpoint/config.js';
import type { LayerScores } from './decoder.js';
import { handled } from './handled.js';
import type { RowPool } from './rows.js';
import type { Candidate, Search } from './search.js';
import type { WordHeads } from './word-heads.js';

export class Alignment {
  readonly #scores: LayerScores;
  readonly #device: Device;
  readonly #capacity: number;
  readonly #inputs: { source: Tensor; begin: Tensor; end: Tensor; frames: Tensor };
  /** The scores: float32 [rows, capacity, heads, audio positions]. @internal */
  readonly stored: Tensor;
  readonly #times: Tensor;
  readonly #program: Program;
  readonly #owned: Tensor[] = [];

  constructor(device: Device, config: WhisperConfig, { heads: chosen }: WordHeads, pool: RowPool) {
    const { decoder, sourcePositions, medianFilterWidth } = config;
    const { capacity } = pool;
    const allocate = (type: 'int32' | 'float32', shape: number[], data?: Int32Array): Tensor => {
      const tensor = device.tensor(type, shape, data);
      this.#owned.push(tensor);
      return tensor;
    };
    this.#device = device;
    this.#capacity = capacity;
    const to = allocate('float32', [pool.count, capacity, chosen.length, sourcePositions]);
    this.stored = to;
    this.#scores = Array.from({ length: decoder.layers }, (_, layer) => {
      const indices = Int32Array.from({ length: decoder.heads }, (_, head) =>
        chosen.findIndex((pair) => pair[0] === layer && pair[1] === head),
      );
      if (indices.every((index) => index < 0)) return undefined;
      const heads = allocate('int32', [decoder.heads], indices);
      return { to, heads, position: pool.state.position, row: pool.scoreRow };
    });
    this.#inputs = {
      source: allocate('int32', [1, capacity]),
      begin: allocate('int32', [1]),
      end: allocate('int32', [1]),
      frames: allocate('int32', [1]),
    };
    this.#times = allocate('int32', [1, capacity]);
    this.#program = device.record('align', (ops) => {
      ops.alignPositions(to, this.#inputs, { medianWidth: medianFilterWidth, output: this.#times });
    });
  }

  /** Destination of the scores of a step's entries. */
  stepScores(): { scores: LayerScores } {
    return { scores: this.#scores };
  }

  /** Destination of the scores of tokens, with a row and a position for each: int32 [tokens]. */
  tokenScores(row: Tensor, position: Tensor): { scores: LayerScores } {
    return { scores: this.#scores.map((layer) => layer && { ...layer, row, position }) };
  }

  prepare(): Promise<void> {
    return this.#program.prepare();
  }

  /**
   * Returns the time at which each token of a candidate begins, and one more time at which the last one ends, in
   * seconds from the start of the window. `positions` is the window's number of audio positions. If there is no draft,
   * the scores of prefix tokens are not stored, and these tokens get the time of the first generated token.
   */
  run(search: Search, candidate: Candidate, positions: number): Submitted<number[], readonly ReadData[]> {
    const { prompt, prefix = [], draft } = search;
    const source = new Int32Array(this.#capacity);
    source.set(candidate.rows);
    // The scores of a position belong to the token after it. The last token was not read, so it has none.
    const begin = prompt.length + (draft ? 0 : prefix.length) - 1;
    const end = candidate.rows.length - 1;
    const frames = Math.max(1, Math.min(search.frames ?? positions, positions));
    const inputs = this.#inputs;
    const data = Promise.all([
      handled(
        this.#device.transfer({
          writes: [
            [inputs.source, source],
            [inputs.begin, Int32Array.of(begin)],
            [inputs.end, Int32Array.of(end)],
            [inputs.frames, Int32Array.of(frames)],
          ],
        }),
      ),
      handled(this.#program.run()),
      this.#device.transfer({ reads: [[this.#times]] }),
    ]);
    return submitted(
      data.then(([, , read]) => read),
      ([alignedFrames]) =>
        Array.from({ length: candidate.tokens.length + 1 }, (_, index) => {
          const position = Math.max(begin, prompt.length - 1 + index);
          return (position < end ? alignedFrames[position] : frames) * timestampSeconds;
        }),
    );
  }

  dispose(): void {
    this.#program.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
