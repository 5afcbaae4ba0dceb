/** The decoding state of a batch whose sequences all decode the same number of tokens, greedily and in lockstep. */
import type { Device } from '../../device/device.js';
import type { DecodingState, NextTokenRules, Operations } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';

/** The tokens of one sequence, and their log-probabilities. */
export interface ForcedTokensResult {
  tokens: number[];
  logProbabilities: number[];
}

export class ForcedTokens {
  readonly batch: number;
  /** The maximum number of tokens of a sequence, including its prompt. */
  readonly capacity: number;
  readonly state: DecodingState;
  /** int32 [batch] of zeros: the positions at which the prompts begin. */
  readonly zero: Tensor;
  readonly #suppressed: Tensor;
  readonly #owned: Tensor[] = [];

  /** @param suppressed A number for each token of the vocabulary, as in NextTokenRules. */
  constructor(device: Device, batch: number, capacity: number, suppressed: Uint8Array) {
    this.batch = batch;
    this.capacity = capacity;
    const track = (...given: Parameters<Device['tensor']>): Tensor => {
      const tensor = device.tensor(...given);
      this.#owned.push(tensor);
      return tensor;
    };
    const perSequence = () => track('int32', [batch]);
    this.state = {
      tokens: track('int32', [batch, capacity]),
      logProbability: track('float32', [batch, capacity]),
      length: perSequence(),
      position: perSequence(),
      begin: perSequence(),
      minimum: perSequence(),
      maximum: perSequence(),
      timestamps: perSequence(),
      finished: perSequence(),
    };
    this.zero = perSequence();
    this.#suppressed = track('uint8', [suppressed.length], suppressed);
  }

  /** Records the choice of each sequence's next token. `logits` has batch * vocabulary elements, in any shape. */
  next(ops: Operations, logits: Tensor, rules: Omit<NextTokenRules, 'suppressed'>): void {
    const rows = logits.reshape([this.batch, this.#suppressed.size]);
    ops.nextToken(rows, { ...rules, suppressed: this.#suppressed }, this.state);
  }

  /**
   * Writes the prompts, all of the same length, and the number of tokens to decode after each. Programs that are run
   * after this call read them, even before the promise is resolved.
   */
  write(prompts: readonly (readonly number[])[], count: number): Promise<unknown> {
    const { state, batch, capacity } = this;
    const [{ length }] = prompts;
    const tokens = new Int32Array(batch * capacity);
    prompts.forEach((ids, row) => {
      tokens.set(ids, row * capacity);
    });
    const all = (value: number) => new Int32Array(batch).fill(value);
    return Promise.all([
      state.tokens.write(tokens),
      state.length.write(all(length)),
      state.begin.write(all(length)),
      state.position.write(all(length - 1)),
      state.minimum.write(all(count)),
      state.maximum.write(all(count)),
      state.finished.write(all(0)),
    ]);
  }

  /** Reads the `count` tokens of each sequence after its prompt of `length` tokens. */
  async read(length: number, count: number): Promise<ForcedTokensResult[]> {
    const { tokens, logProbability } = this.state;
    const [ids, logs] = await Promise.all([tokens.toInt32Array(), logProbability.toFloat32Array()]);
    return Array.from({ length: this.batch }, (_, row) => {
      const from = row * this.capacity + length;
      const decoded = <T extends Int32Array | Float32Array>(all: T) => Array.from(all.subarray(from, from + count));
      return { tokens: decoded(ids), logProbabilities: decoded(logs) };
    });
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }
}
