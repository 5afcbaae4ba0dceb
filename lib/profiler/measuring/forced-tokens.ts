/** A batch of sequences in lock-step: each writes the same number of tokens, the likeliest every time. */
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
  /** Tokens that a sequence has room for, its prompt counted. */
  readonly capacity: number;
  readonly state: DecodingState;
  /** int32 [batch] of zeros: where the prompts begin. */
  readonly zero: Tensor;
  readonly #suppressed: Tensor;
  readonly #owned: Tensor[] = [];

  /** @param suppressed Of each token of the vocabulary; see NextTokenRules. */
  constructor(device: Device, batch: number, capacity: number, suppressed: Uint8Array) {
    this.batch = batch;
    this.capacity = capacity;
    const own = (...given: Parameters<Device['tensor']>): Tensor => {
      const tensor = device.tensor(...given);
      this.#owned.push(tensor);
      return tensor;
    };
    const perSequence = () => own('int32', [batch]);
    this.state = {
      tokens: own('int32', [batch, capacity]),
      logProbability: own('float32', [batch, capacity]),
      length: perSequence(),
      position: perSequence(),
      begin: perSequence(),
      minimum: perSequence(),
      maximum: perSequence(),
      timestamps: perSequence(),
      finished: perSequence(),
    };
    this.zero = perSequence();
    this.#suppressed = own('uint8', [suppressed.length], suppressed);
  }

  /** Records the choice of every sequence's next token from logits of [batch, vocabulary] numbers in any shape. */
  next(ops: Operations, logits: Tensor, rules: Omit<NextTokenRules, 'suppressed'>): void {
    const rows = logits.reshape([this.batch, this.#suppressed.size]);
    ops.nextToken(rows, { ...rules, suppressed: this.#suppressed }, this.state);
  }

  /**
   * Writes the prompts, all of one length, and that `count` tokens are to follow each. Programs that are run next find
   * them there.
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

  /** The `count` tokens of each sequence behind its prompt of `length`. */
  async read(length: number, count: number): Promise<ForcedTokensResult[]> {
    const { tokens, logProbability } = this.state;
    const [ids, logs] = await Promise.all([tokens.toInt32Array(), logProbability.toFloat32Array()]);
    return Array.from({ length: this.batch }, (_, row) => {
      const from = row * this.capacity + length;
      const own = <T extends Int32Array | Float32Array>(all: T) => Array.from(all.subarray(from, from + count));
      return { tokens: own(ids), logProbabilities: own(logs) };
    });
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }
}
