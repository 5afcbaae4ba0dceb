/** The pool of decoding state: what is written of a row before a search, and what is read of it afterwards. */

import type { Device } from '../../device/device.js';
import type { BeamState, DecodingState, Sampling } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import type { ReadData, TransferPieces } from '../../device/transfer.js';
import type { Rows, Sequence } from '../../engine/runtime.js';
import { type Candidate, mostPatience, mostTop, type RankedTokens, type Search } from './search.js';

export type Write = NonNullable<TransferPieces['writes']>[number];
type Read = NonNullable<TransferPieces['reads']>[number];

export class RowPool {
  readonly count: number;
  /** Tokens of a row. */
  readonly capacity: number;
  readonly state: Required<DecodingState>;
  readonly sampling: Sampling;
  readonly beams: BeamState;
  /** uint8 [rows, vocabulary]. */
  readonly suppressed: Tensor;
  /** int32 [rows]: the audio positions that each row attends to. */
  readonly audio: { begin: Tensor; count: Tensor };
  /** int32 [rows]: where the scores of a row go; itself, or -1 where its words are not wanted. */
  readonly scoreRow: Tensor;
  /** int32 [rows] of zeros: where a prompt begins. */
  readonly zero: Tensor;
  /** Log-probabilities of each place that there is room for. */
  readonly top: number;
  readonly #owned: Tensor[] = [];
  /** The mask that each row has. */
  readonly #masks: (Uint8Array | undefined)[];

  constructor(device: Device, count: number, capacity: number, vocabulary: number) {
    this.count = count;
    this.capacity = capacity;
    this.top = Math.min(mostTop, vocabulary);
    this.#masks = new Array(count);
    const own = (type: 'int32' | 'float32' | 'uint8', ...shape: number[]): Tensor => {
      const tensor = device.tensor(type, [count, ...shape]);
      this.#owned.push(tensor);
      return tensor;
    };
    this.state = {
      tokens: own('int32', capacity),
      logProbability: own('float32', capacity),
      length: own('int32'),
      position: own('int32'),
      begin: own('int32'),
      minimum: own('int32'),
      maximum: own('int32'),
      timestamps: own('int32'),
      finished: own('int32'),
      repetitionPenalty: own('float32'),
      noRepeat: own('int32'),
      topTokens: own('int32', capacity, this.top),
      topLogProbability: own('float32', capacity, this.top),
      topCount: own('int32'),
    };
    this.sampling = { temperature: own('float32'), seed: own('int32') };
    this.beams = {
      cumulative: own('float32'),
      source: own('int32', capacity),
      wanted: own('int32'),
      doneCount: own('int32'),
      doneLength: own('int32', mostPatience),
      doneScore: own('float32', mostPatience),
      doneTokens: own('int32', mostPatience, capacity),
      doneLogProbability: own('float32', mostPatience, capacity),
      doneSource: own('int32', mostPatience, capacity),
    };
    this.suppressed = own('uint8', vocabulary);
    this.audio = { begin: own('int32'), count: own('int32') };
    this.scoreRow = own('int32');
    this.zero = own('int32');
  }

  /** The initial state of a sequence's rows. */
  writes({ rows, slot, search }: Sequence<Search>): Write[] {
    const { state, sampling, beams, capacity } = this;
    const { first, count } = rows;
    const { prompt, prefix = [], draft = [] } = search;
    const length = prompt.length + prefix.length;
    const text = Int32Array.from([...prompt, ...prefix, ...draft]);
    const each = (value: number | ((beam: number) => number)) =>
      Int32Array.from({ length: count }, (_, beam) => (typeof value === 'number' ? value : value(beam)));
    const eachFloat = (value: number) => new Float32Array(count).fill(value);
    const source = new Int32Array(count * capacity);
    for (let beam = 0; beam < count; ++beam) {
      // The prefilled positions are in the first row, those that each beam computes itself in its own row.
      source.fill(first, beam * capacity, beam * capacity + length - 1);
      source.fill(first + beam, beam * capacity + length - 1, (beam + 1) * capacity);
    }
    const writes: Write[] = [
      [state.length, each(length), first],
      [state.position, each(length - 1), first],
      [state.begin, each(prompt.length), first],
      [state.minimum, each(search.minimum + prefix.length), first],
      [state.maximum, each(search.maximum + prefix.length), first],
      [state.timestamps, each(Number(search.timestamps)), first],
      [state.finished, each(Number(search.maximum === 0)), first],
      [state.repetitionPenalty, eachFloat(search.repetitionPenalty), first],
      [state.noRepeat, each(search.noRepeatNgramSize), first],
      [state.topCount, each(search.top), first],
      [sampling.temperature, eachFloat(search.temperature), first],
      [sampling.seed, each(search.seed), first],
      [beams.source, source, first * capacity],
      [this.audio.begin, each(slot.begin), first],
      [this.audio.count, each(slot.positions), first],
      [this.scoreRow, each((beam) => (search.words ? first + beam : -1)), first],
    ];
    for (let beam = 0; beam < count; ++beam) {
      const row = first + beam;
      writes.push([state.tokens, text, row * capacity]);
      if (this.#masks[row] === search.suppressed) continue;
      this.#masks[row] = search.suppressed;
      writes.push([this.suppressed, search.suppressed, row * search.suppressed.length]);
    }
    if (count > 1) {
      const cumulative = eachFloat(Number.NEGATIVE_INFINITY);
      cumulative[0] = 0;
      const wanted = Math.min(Math.max(1, Math.round(count * search.patience)), count * mostPatience);
      writes.push([beams.cumulative, cumulative, first]);
      writes.push([beams.wanted, Int32Array.of(wanted), first]);
      writes.push([beams.doneCount, Int32Array.of(0), first]);
    }
    return writes;
  }

  /** Takes back what says that rows have ended. */
  clears({ first, count }: Rows): Write {
    return [this.state.finished, new Int32Array(count), first];
  }

  /** The tensors that `candidates` reads of a sequence's rows, in its order; beams have more. */
  get results(): Tensor[] {
    const { state, beams } = this;
    return [state.tokens, state.logProbability, state.length, beams.source];
  }

  get beamResults(): Tensor[] {
    const { beams } = this;
    const { cumulative, doneCount, doneLength, doneScore, doneTokens, doneLogProbability, doneSource } = beams;
    const done = [doneLength, doneScore, doneTokens, doneLogProbability, doneSource];
    return [...this.results, cumulative, doneCount, ...done];
  }

  /** The same of rows that did not end in a run of steps. */
  reads({ first, count }: Rows): Read[] {
    return (count === 1 ? this.results : this.beamResults).map((tensor) => {
      const width = tensor.size / this.count;
      return [tensor, first * width, count * width];
    });
  }

  /** Concatenates the data that was read of each of a sequence's rows. */
  joined(rows: readonly (readonly ReadData[])[]): ReadData[] {
    if (rows.length === 1) return [...rows[0]];
    return rows[0].map((first, index) => {
      const all = new (first.constructor as Int32ArrayConstructor)(rows.length * first.length);
      rows.forEach((row, beam) => {
        all.set(row[index], beam * first.length);
      });
      return all;
    });
  }

  /** The tensors that `written` reads of a sequence's first row. */
  writtenReads({ rows: { first } }: Sequence<Search>): Read[] {
    const { state, capacity } = this;
    return [
      [state.tokens, first * capacity, capacity],
      [state.logProbability, first * capacity, capacity],
      [state.length, first, 1],
    ];
  }

  written({ search: { prompt, prefix = [] } }: Sequence<Search>, [tokens, logs, [length]]: ReadData[]) {
    return {
      tokens: Array.from(tokens.subarray(prompt.length, length)),
      logProbabilities: Array.from(logs.subarray(prompt.length + prefix.length, length)),
    };
  }

  /** The results of a sequence: one candidate, or those of a beam search. `data` is the result of `reads`. */
  candidates({ rows: { count }, search }: Sequence<Search>, data: readonly ReadData[], endToken: number): Candidate[] {
    const { prompt, prefix = [] } = search;
    const { capacity } = this;
    const candidate = (from: readonly ReadData[], row: number, length: number, score?: number): Candidate => {
      const at = row * capacity;
      const [tokens, logs, table] = from;
      const written = Array.from(tokens.subarray(at + prompt.length, at + length));
      const ended = written.length > prefix.length && written.at(-1) === endToken;
      const logProbabilities = Array.from(logs.subarray(at + prompt.length + prefix.length, at + length));
      return {
        tokens: ended ? written.slice(0, -1) : written,
        logProbabilities,
        sum: score ?? logProbabilities.reduce((a, b) => a + b, 0),
        ended,
        rows: (table as Int32Array).slice(at, at + length),
      };
    };
    const [tokens, logs, lengths, source, cumulative, doneCount, doneLengths, doneScores, ...done] = data;
    const own = [tokens, logs, source];
    const beams = Array.from({ length: count }, (_, beam) => beam);
    if (count === 1) return [candidate(own, 0, lengths[0])];
    const found = Array.from({ length: doneCount[0] }, (_, i) => candidate(done, i, doneLengths[i], doneScores[i]));
    // If too few hypotheses have ended, the best unfinished ones are added, as in openai/whisper.
    const others = beams.filter((beam) => cumulative[beam] !== Number.NEGATIVE_INFINITY);
    others.sort((a, b) => cumulative[b] - cumulative[a]);
    for (const beam of others.slice(0, Math.max(0, count - found.length))) {
      found.push(candidate(own, beam, lengths[beam], cumulative[beam]));
    }
    // If every token was forbidden, no beam is left; the text up to there is the result.
    return found.length > 0 ? found : [candidate(own, 0, lengths[0])];
  }

  /** Reads for the likeliest tokens at a candidate's generated positions, which `ranked` turns into lists. */
  topReads({ prompt, prefix = [] }: Search, { rows }: Candidate): Read[] {
    const { topTokens, topLogProbability } = this.state;
    const begin = prompt.length + prefix.length;
    return Array.from({ length: rows.length - begin }, (_, i) => {
      // The row that chose a token is the one that read the token before it.
      const at = (rows[begin + i - 1] * this.capacity + begin + i) * this.top;
      return [topTokens, topLogProbability].map((tensor): Read => [tensor, at, this.top]);
    }).flat();
  }

  ranked(data: readonly ReadData[]): RankedTokens[] {
    return Array.from({ length: data.length / 2 }, (_, place) => {
      const [ids, logs] = data.slice(2 * place, 2 * place + 2);
      return Array.from(ids, (token, i) => ({ token, logProbability: logs[i] })).filter(({ token }) => token >= 0);
    });
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }
}
