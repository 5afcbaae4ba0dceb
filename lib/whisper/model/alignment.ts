/** Times of tokens from cross-attention, whose scores the decoding steps give out as they go. */
import type { Device } from '../../device/device.js';
import type { AttentionScores } from '../../device/operations.js';
import type { Program } from '../../device/program.js';
import type { Tensor } from '../../device/tensor.js';
import { type GenerationConfig, timestampSeconds, type WhisperConfig } from '../checkpoint/config.js';
import type { Candidate, SlotRequest, Slots } from './slots.js';

export class Alignment {
  /** Of each layer; undefined for one without alignment heads. */
  readonly scores: readonly (AttentionScores | undefined)[];
  readonly #slots: Slots;
  readonly #positions: number;
  readonly #counted: { source: Tensor; begin: Tensor; end: Tensor; frames: Tensor };
  readonly #times: Tensor;
  readonly #program: Program;
  readonly #owned: Tensor[] = [];

  constructor(device: Device, config: WhisperConfig, generation: GenerationConfig, slots: Slots) {
    const { windows, group, capacity } = slots;
    const { decoder, sourcePositions, medianFilterWidth } = config;
    const chosen = generation.alignmentHeads;
    const own = (type: 'int32' | 'float32', shape: number[], data?: Int32Array): Tensor => {
      const tensor = device.tensor(type, shape, data);
      this.#owned.push(tensor);
      return tensor;
    };
    const to = own('float32', [windows * group, capacity, chosen.length, sourcePositions]);
    this.#slots = slots;
    this.#positions = sourcePositions;
    this.scores = Array.from({ length: decoder.layers }, (_, layer) => {
      const places = Int32Array.from({ length: decoder.heads }, (_, head) =>
        chosen.findIndex((one) => one[0] === layer && one[1] === head),
      );
      if (places.every((place) => place < 0)) return undefined;
      return { to, heads: own('int32', [decoder.heads], places), position: slots.state.position };
    });
    this.#counted = {
      source: own('int32', [windows, capacity]),
      begin: own('int32', [windows]),
      end: own('int32', [windows]),
      frames: own('int32', [windows]),
    };
    this.#times = own('int32', [windows, capacity]);
    this.#program = device.record('align', (ops) => {
      ops.alignPositions(to, this.#counted, { medianWidth: medianFilterWidth, output: this.#times });
    });
  }

  /**
   * Of each window's candidate the second at which each token begins, and, one more, at which the last one ends; from the start of the
   * window. Tokens of a prefix were not decoded, so they begin with the first that was.
   */
  async run(
    requests: readonly (SlotRequest | null)[],
    candidates: readonly (Candidate | null)[],
    signal?: AbortSignal,
  ): Promise<(number[] | null)[]> {
    const { windows, capacity } = this.#slots;
    const source = new Int32Array(windows * capacity);
    const [begin, end, frames] = [0, 1, 2].map(() => new Int32Array(windows));
    requests.forEach((request, window) => {
      const candidate = candidates[window];
      if (!request || !candidate) return;
      source.set(candidate.rows, window * capacity);
      // A position's row tells of the token after it; the last token was not read, so it has no row.
      begin[window] = request.prompt.length + (request.prefix?.length ?? 0) - 1;
      end[window] = candidate.rows.length - 1;
      frames[window] = Math.max(1, Math.min(request.frames ?? this.#positions, this.#positions));
    });
    await Promise.all([
      this.#counted.source.write(source),
      this.#counted.begin.write(begin),
      this.#counted.end.write(end),
      this.#counted.frames.write(frames),
      this.#program.run({ signal }),
    ]);
    const places = await this.#times.toInt32Array();
    return requests.map((request, window) => {
      const candidate = candidates[window];
      if (!request || !candidate) return null;
      const first = begin[window];
      return Array.from({ length: candidate.tokens.length + 1 }, (_, index) => {
        const position = Math.max(first, request.prompt.length - 1 + index);
        const place = position < end[window] ? places[window * capacity + position] : frames[window];
        return place * timestampSeconds;
      });
    });
  }

  dispose(): void {
    this.#program.dispose();
    for (const tensor of this.#owned) tensor.dispose();
  }
}
