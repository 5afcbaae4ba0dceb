/** The decoding state of all rows: writes its initial values before a search, and reads the results after it. */
import type { Device } from '../../device/device.js';
import type { BeamState, DecodingState, Sampling } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';
import type { ReadData, TransferPieces } from '../../device/transfer.js';
import type { Rows, Sequence } from '../../engine/runtime.js';
import {
  type Candidate,
  maximumPatience,
  maximumTop,
  type RankedTokens,
  requiredCandidates,
  type Search,
} from './search.js';

export type Write = NonNullable<TransferPieces['writes']>[number];
type Read = NonNullable<TransferPieces['reads']>[number];

export class RowPool {
  readonly count: number;
  /** The maximum number of tokens of a row. */
  readonly capacity: number;
  readonly state: Required<DecodingState>;
  readonly sampling: Sampling;
  readonly beams: BeamState;
  /** uint8 [rows, vocabulary]. */
  readonly suppressed: Tensor;
  /** int32 [rows]: the range of audio positions that each row attends to. */
  readonly audio: { begin: Tensor; count: Tensor };
  /**
   * int32 [rows]: the row to which the attention scores of a row are written, or -1 if word times are not requested.
   */
  readonly scoreRow: Tensor;
  /** int32 [rows] of zeros: the position of the first token of a prompt. */
  readonly zero: Tensor;
  /** The maximum number of log-probabilities of a position. */
  readonly top: number;
  readonly #owned: Tensor[] = [];
  /** The mask of suppressed tokens that was last written to each row. */
  readonly #masks: (Uint8Array | undefined)[];

  constructor(device: Device, count: number, capacity: number, vocabulary: number) {
    this.count = count;
    this.capacity = capacity;
    this.top = Math.min(maximumTop, vocabulary);
    this.#masks = new Array(count);
    const make = (type: 'int32' | 'float32' | 'uint8', ...shape: number[]): Tensor => {
      const tensor = device.tensor(type, [count, ...shape]);
      this.#owned.push(tensor);
      return tensor;
    };
    this.state = {
      tokens: make('int32', capacity),
      logProbability: make('float32', capacity),
      length: make('int32'),
      position: make('int32'),
      begin: make('int32'),
      minimum: make('int32'),
      maximum: make('int32'),
      timestamps: make('int32'),
      finished: make('int32'),
      repetitionPenalty: make('float32'),
      noRepeat: make('int32'),
      topTokens: make('int32', capacity, this.top),
      topLogProbability: make('float32', capacity, this.top),
      topCount: make('int32'),
    };
    this.sampling = { temperature: make('float32'), seed: make('int32') };
    this.beams = {
      cumulative: make('float32'),
      source: make('int32', capacity),
      wanted: make('int32'),
      doneCount: make('int32'),
      doneLength: make('int32', maximumPatience),
      doneScore: make('float32', maximumPatience),
      doneTokens: make('int32', maximumPatience, capacity),
      doneLogProbability: make('float32', maximumPatience, capacity),
      doneSource: make('int32', maximumPatience, capacity),
    };
    this.suppressed = make('uint8', vocabulary);
    this.audio = { begin: make('int32'), count: make('int32') };
    this.scoreRow = make('int32');
    this.zero = make('int32');
  }

  /** Returns the writes of the initial state of a sequence's rows. */
  writes({ rows, slot, search }: Sequence<Search>): Write[] {
    const { state, sampling, beams, capacity } = this;
    const { first, count } = rows;
    const { prompt, prefix = [], draft = [] } = search;
    const length = prompt.length + prefix.length;
    const text = Int32Array.from([...prompt, ...prefix, ...draft]);
    const perBeam = (value: number | ((beam: number) => number)) =>
      Int32Array.from({ length: count }, (_, beam) => (typeof value === 'number' ? value : value(beam)));
    const floatPerBeam = (value: number) => new Float32Array(count).fill(value);
    const source = new Int32Array(count * capacity);
    for (let beam = 0; beam < count; ++beam) {
      // Prefilled positions are in the cache row of the first beam. Later ones are in each beam's own row.
      source.fill(first, beam * capacity, beam * capacity + length - 1);
      source.fill(first + beam, beam * capacity + length - 1, (beam + 1) * capacity);
    }
    const writes: Write[] = [
      [state.length, perBeam(length), first],
      [state.position, perBeam(length - 1), first],
      [state.begin, perBeam(prompt.length), first],
      [state.minimum, perBeam(search.minimum + prefix.length), first],
      [state.maximum, perBeam(search.maximum + prefix.length), first],
      [state.timestamps, perBeam(Number(search.timestamps)), first],
      [state.finished, perBeam(Number(search.maximum === 0)), first],
      [state.repetitionPenalty, floatPerBeam(search.repetitionPenalty), first],
      [state.noRepeat, perBeam(search.noRepeatNgramSize), first],
      [state.topCount, perBeam(search.top), first],
      [sampling.temperature, floatPerBeam(search.temperature), first],
      [sampling.seed, perBeam(search.seed), first],
      [beams.source, source, first * capacity],
      [this.audio.begin, perBeam(slot.begin), first],
      [this.audio.count, perBeam(slot.positions), first],
      [this.scoreRow, perBeam((beam) => (search.words ? first + beam : -1)), first],
    ];
    for (let beam = 0; beam < count; ++beam) {
      const row = first + beam;
      writes.push([state.tokens, text, row * capacity]);
      if (this.#masks[row] === search.suppressed) continue;
      this.#masks[row] = search.suppressed;
      writes.push([this.suppressed, search.suppressed, row * search.suppressed.length]);
    }
    if (count > 1) {
      const cumulative = floatPerBeam(Number.NEGATIVE_INFINITY);
      cumulative[0] = 0;
      writes.push([beams.cumulative, cumulative, first]);
      writes.push([beams.wanted, Int32Array.of(requiredCandidates(count, search.patience)), first]);
      writes.push([beams.doneCount, Int32Array.of(0), first]);
    }
    return writes;
  }

  /** Returns the write that clears the `finished` flag of a row. */
  clear(row: number): Write {
    return [this.state.finished, Int32Array.of(0), row];
  }

  /** The masks of suppressed tokens may not have been written. */
  forgetMasks(): void {
    this.#masks.fill(undefined);
  }

  /** The text of a sequence that generates nothing: its prefix. */
  emptyText({ rows: { first }, search: { prompt, prefix = [] } }: Sequence<Search>): Candidate {
    const rows = new Int32Array(prompt.length + prefix.length).fill(first);
    return { tokens: [...prefix], logProbabilities: [], sum: 0, ended: false, rows };
  }

  /** The tensors that `candidates` needs of a sequence's rows, in its order; `beamResults` for beams. */
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

  /** The reads of these tensors, for rows that did not end in a run of steps. */
  reads({ first, count }: Rows): Read[] {
    return (count === 1 ? this.results : this.beamResults).map((tensor) => {
      const width = tensor.size / this.count;
      return [tensor, first * width, count * width];
    });
  }

  /** Concatenates data that was read row by row, so that it has the order of `reads`. */
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

  /** The reads of a sequence's first row for `written`. */
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

  /** Returns the candidates of a search: one, or those of its beams. `data` is the result of `reads`. */
  candidates({ rows: { count }, search }: Sequence<Search>, data: readonly ReadData[], endToken: number): Candidate[] {
    const { prompt, prefix = [] } = search;
    const { capacity } = this;
    const candidate = (data: readonly ReadData[], row: number, length: number, score?: number): Candidate => {
      const begin = row * capacity;
      const [tokens, logs, table] = data;
      const written = Array.from(tokens.subarray(begin + prompt.length, begin + length));
      const ended = written.length > prefix.length && written.at(-1) === endToken;
      const logProbabilities = Array.from(logs.subarray(begin + prompt.length + prefix.length, begin + length));
      return {
        tokens: ended ? written.slice(0, -1) : written,
        logProbabilities,
        sum: score ?? logProbabilities.reduce((a, b) => a + b, 0),
        ended,
        rows: (table as Int32Array).slice(begin, begin + length),
      };
    };
    const [tokens, logs, lengths, source, cumulative, doneCount, doneLengths, doneScores, ...done] = data;
    const unfinished = [tokens, logs, source];
    const beams = Array.from({ length: count }, (_, beam) => beam);
    if (count === 1) return [candidate(unfinished, 0, lengths[0])];
    const found = Array.from({ length: doneCount[0] }, (_, i) => candidate(done, i, doneLengths[i], doneScores[i]));
    // If too few hypotheses have ended, the best unfinished ones are added, as in openai/whisper.
    const others = beams.filter((beam) => cumulative[beam] !== Number.NEGATIVE_INFINITY);
    others.sort((a, b) => cumulative[b] - cumulative[a]);
    for (const beam of others.slice(0, Math.max(0, count - found.length))) {
      found.push(candidate(unfinished, beam, lengths[beam], cumulative[beam]));
    }
    // If every token was suppressed, no beam is left. The text up to there is the result.
    return found.length > 0 ? found : [candidate(unfinished, 0, lengths[0])];
  }

  /** The reads of the likeliest tokens at each generated position of a candidate, for `ranked`. */
  topReads({ prompt, prefix = [] }: Search, { rows }: Candidate): Read[] {
    const { topTokens, topLogProbability } = this.state;
    const begin = prompt.length + prefix.length;
    return Array.from({ length: rows.length - begin }, (_, i) => {
      // A token was chosen by the row whose cache holds the token before it.
      const element = (rows[begin + i - 1] * this.capacity + begin + i) * this.top;
      return [topTokens, topLogProbability].map((tensor): Read => [tensor, element, this.top]);
    }).flat();
  }

  ranked(data: readonly ReadData[]): RankedTokens[] {
    return Array.from({ length: data.length / 2 }, (_, position) => {
      const [ids, logs] = data.slice(2 * position, 2 * position + 2);
      return Array.from(ids, (token, i) => ({ token, logProbability: logs[i] })).filter(({ token }) => token >= 0);
    });
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }
}
