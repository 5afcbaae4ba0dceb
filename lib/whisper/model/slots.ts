/** The state of decoding on the device: what is written before a search, and what is read after it. */
import type { Device } from '../../device/device.js';
import type { BeamState, DecodingState, Sampling } from '../../device/operations.js';
import type { Tensor } from '../../device/tensor.js';

/** What one window is to decode. */
export interface SlotRequest {
  /** Up to and without what is generated: previous text, <|startoftranscript|> and its like. */
  prompt: readonly number[];
  /** Tokens that the text begins with; they count as generated, but were not. */
  prefix?: readonly number[];
  /** New tokens before the end token may come, and at most; the prefix not counted. */
  minimum: number;
  maximum: number;
  timestamps: boolean;
  /** Index in the prompt of <|startoftranscript|>, where the probability of silence and the language are read. */
  startIndex: number;
  /** What tokens are drawn with, where they are. */
  seed?: number;
  /** Audio positions with sound, for times of words; all unless given. */
  frames?: number;
}

/** How the windows are searched. */
export interface SlotSearch {
  /** 'beams' keeps the best beams, 'tokens' lets each sequence go on alone: at temperature 0 with its likeliest token. */
  method: 'tokens' | 'beams';
  temperature: number;
  /** Finished candidates for each beam. */
  patience: number;
  /** null: scores are divided by the length, as openai/whisper does; else by ((5 + length) / 6) ^ penalty. */
  lengthPenalty: number | null;
  repetitionPenalty: number;
  noRepeatNgramSize: number;
  /** Log-probabilities wanted of each place, besides the chosen token's. */
  top: number;
  /** True where the scores of the alignment heads are wanted. */
  words: boolean;
  /** uint8 [vocabulary]. */
  suppressed: Uint8Array;
}

/** A sequence that a search found. */
export interface Candidate {
  /** The prefix and what was generated, without the end token. */
  tokens: number[];
  /** Of each generated token, and of the end token when it came. */
  logProbabilities: number[];
  sum: number;
  ended: boolean;
  /** The cache row that holds each position. */
  rows: Int32Array;
}

export type RankedTokens = { token: number; logProbability: number }[];

/** The most patience that there is room for: candidates a beam. */
export const mostPatience = 2;

const filled = <T extends Int32Array | Float32Array>(array: T, value: number): T => array.fill(value) as T;

/** `group` neighbouring sequences for each of `windows` windows. */
export class Slots {
  readonly windows: number;
  readonly group: number;
  readonly capacity: number;
  readonly state: DecodingState & Required<Pick<DecodingState, 'repetitionPenalty' | 'noRepeat'>>;
  readonly sampling: Sampling;
  readonly beams: BeamState;
  readonly suppressed: Tensor;
  readonly #device: Device;
  readonly #owned: Tensor[] = [];
  /** By the count of tokens: programs are recorded with them. */
  readonly #top = new Map<number, { topTokens: Tensor; topLogProbability: Tensor }>();

  constructor(device: Device, windows: number, group: number, capacity: number, vocabulary: number) {
    this.windows = windows;
    this.group = group;
    this.capacity = capacity;
    this.#device = device;
    const batch = windows * group;
    const most = group * mostPatience;
    const own = (type: 'int32' | 'float32' | 'uint8', ...shape: number[]): Tensor => {
      const tensor = device.tensor(type, shape);
      this.#owned.push(tensor);
      return tensor;
    };
    this.state = {
      tokens: own('int32', batch, capacity),
      logProbability: own('float32', batch, capacity),
      length: own('int32', batch),
      position: own('int32', batch),
      begin: own('int32', batch),
      minimum: own('int32', batch),
      maximum: own('int32', batch),
      timestamps: own('int32', batch),
      finished: own('int32', batch),
      repetitionPenalty: own('float32', batch),
      noRepeat: own('int32', batch),
    };
    this.sampling = { temperature: own('float32', batch), seed: own('int32', batch) };
    this.beams = {
      cumulative: own('float32', batch),
      source: own('int32', batch, capacity),
      wanted: own('int32', windows),
      doneCount: own('int32', windows),
      doneLength: own('int32', windows, most),
      doneScore: own('float32', windows, most),
      doneTokens: own('int32', windows, most, capacity),
      doneLogProbability: own('float32', windows, most, capacity),
      doneSource: own('int32', windows, most, capacity),
    };
    this.suppressed = own('uint8', vocabulary);
  }

  /** Where the likeliest tokens of each place go; absent when none are wanted. */
  top(count: number): { topTokens?: Tensor; topLogProbability?: Tensor } {
    if (count === 0) return {};
    let tensors = this.#top.get(count);
    if (!tensors) {
      const shape = [this.windows * this.group, this.capacity, count];
      tensors = {
        topTokens: this.#device.tensor('int32', shape),
        topLogProbability: this.#device.tensor('float32', shape),
      };
      this.#owned.push(tensors.topTokens, tensors.topLogProbability);
      this.#top.set(count, tensors);
    }
    return tensors;
  }

  /** Writes what the windows are to decode; a window without a request counts as ended. */
  write(requests: readonly (SlotRequest | null)[], search: SlotSearch): Promise<unknown> {
    const { group, capacity, state, beams, sampling } = this;
    const batch = this.windows * group;
    const tokens = new Int32Array(batch * capacity);
    const source = new Int32Array(batch * capacity);
    const lengths = new Int32Array(batch);
    for (let row = 0; row < batch; ++row) {
      const request = requests[Math.floor(row / group)];
      if (!request) continue;
      const { prompt, prefix = [] } = request;
      tokens.set([...prompt, ...prefix], row * capacity);
      lengths[row] = prompt.length + prefix.length;
    }
    for (let row = 0; row < batch; ++row) {
      // What was read together lies in the window's first row; what each sequence reads itself, in its own.
      const own = search.method === 'tokens' ? Math.max(0, lengths[row] - 1) : capacity;
      source.fill(row - (row % group), row * capacity, row * capacity + own);
      source.fill(row, row * capacity + own, (row + 1) * capacity);
    }
    const each = (value: (request: SlotRequest, beam: number) => number, idle: number): number[] =>
      Array.from({ length: batch }, (_, row) => {
        const request = requests[Math.floor(row / group)];
        return request ? value(request, row % group) : idle;
      });
    const whole = (value: (request: SlotRequest, beam: number) => number, idle: number) =>
      Int32Array.from(each(value, idle));
    const prefixed = (count: number, { prefix }: SlotRequest) => count + (prefix?.length ?? 0);
    return Promise.all([
      this.suppressed.write(search.suppressed),
      state.tokens.write(tokens),
      state.length.write(lengths.map((length) => Math.max(1, length))),
      state.position.write(lengths.map((length) => Math.max(0, length - 1))),
      state.begin.write(whole(({ prompt }) => prompt.length, 1)),
      state.minimum.write(whole((request) => prefixed(request.minimum, request), 0)),
      state.maximum.write(whole((request) => prefixed(request.maximum, request), 0)),
      state.timestamps.write(whole(({ timestamps }) => Number(timestamps), 0)),
      state.finished.write(whole(({ maximum }) => Number(maximum === 0), 1)),
      state.repetitionPenalty.write(filled(new Float32Array(batch), search.repetitionPenalty)),
      state.noRepeat.write(filled(new Int32Array(batch), search.noRepeatNgramSize)),
      sampling.temperature.write(filled(new Float32Array(batch), search.temperature)),
      // Neighbouring seeds, since the noise mixes their bits anyway.
      sampling.seed.write(whole(({ seed = 0 }, beam) => seed * group + beam, 0)),
      beams.source.write(source),
      beams.cumulative.write(Float32Array.from(each((_, beam) => (beam === 0 ? 0 : Number.NEGATIVE_INFINITY), 0))),
      beams.wanted.write(filled(new Int32Array(this.windows), this.#candidates(search))),
      beams.doneCount.write(new Int32Array(this.windows)),
    ]);
  }

  #candidates({ patience }: SlotSearch): number {
    return Math.min(Math.max(1, Math.round(this.group * patience)), this.group * mostPatience);
  }

  /** Every window's candidates; those of a window without a request are empty. */
  async read(requests: readonly (SlotRequest | null)[], search: SlotSearch, endToken: number): Promise<Candidate[][]> {
    const { state, beams, group, capacity } = this;
    const most = group * mostPatience;
    const searched = search.method === 'beams';
    const none = Promise.resolve(new Int32Array());
    const noLogs = Promise.resolve(new Float32Array());
    const [tokens, logs, lengths, source, cumulative, counts, doneLengths, doneScores, doneTokens, doneLogs, doneRows] =
      await Promise.all([
        state.tokens.toInt32Array(),
        state.logProbability.toFloat32Array(),
        state.length.toInt32Array(),
        beams.source.toInt32Array(),
        beams.cumulative.toFloat32Array(),
        searched ? beams.doneCount.toInt32Array() : none,
        searched ? beams.doneLength.toInt32Array() : none,
        searched ? beams.doneScore.toFloat32Array() : noLogs,
        searched ? beams.doneTokens.toInt32Array() : none,
        searched ? beams.doneLogProbability.toFloat32Array() : noLogs,
        searched ? beams.doneSource.toInt32Array() : none,
      ]);
    const candidate = (
      { prompt, prefix = [] }: SlotRequest,
      from: { tokens: Int32Array; logs: Float32Array; rows: Int32Array },
      row: number,
      length: number,
      score?: number,
    ): Candidate => {
      const at = row * capacity;
      const written = Array.from(from.tokens.subarray(at + prompt.length, at + length));
      const ended = written.length > prefix.length && written.at(-1) === endToken;
      const logProbabilities = Array.from(from.logs.subarray(at + prompt.length + prefix.length, at + length));
      return {
        tokens: ended ? written.slice(0, -1) : written,
        logProbabilities,
        sum: score ?? logProbabilities.reduce((a, b) => a + b, 0),
        ended,
        rows: from.rows.slice(at, at + length),
      };
    };
    return requests.map((request, window) => {
      if (!request) return [];
      const own = { tokens, logs, rows: source };
      const sequences = Array.from({ length: group }, (_, k) => window * group + k);
      if (!searched) return sequences.map((row) => candidate(request, own, row, lengths[row]));
      const done = { tokens: doneTokens, logs: doneLogs, rows: doneRows };
      const found = Array.from({ length: counts[window] }, (_, i) => {
        const row = window * most + i;
        return candidate(request, done, row, doneLengths[row], doneScores[row]);
      });
      // As openai/whisper: where too few have ended, the best of the others stand in.
      const others = sequences.filter((row) => cumulative[row] !== Number.NEGATIVE_INFINITY);
      others.sort((a, b) => cumulative[b] - cumulative[a]);
      for (const row of others.slice(0, Math.max(0, group - found.length))) {
        found.push(candidate(request, own, row, lengths[row], cumulative[row]));
      }
      // Where every token was forbidden no beam is left, but there is a text all the same: what came before.
      return found.length > 0 ? found : [candidate(request, own, sequences[0], lengths[sequences[0]])];
    });
  }

  /** The likeliest tokens of each generated place of a candidate, likeliest first. */
  async readTop(request: SlotRequest, { rows }: Candidate, count: number): Promise<RankedTokens[]> {
    const { topTokens, topLogProbability } = this.#top.get(count)!;
    const begin = request.prompt.length + (request.prefix?.length ?? 0);
    // The row that chose a token is the one that read the token before it.
    const places = Array.from({ length: rows.length - begin }, (_, i) => begin + i);
    return Promise.all(
      places.map(async (place) => {
        const at = (rows[place - 1] * this.capacity + place) * count;
        const [ids, logs] = await Promise.all([
          topTokens.toInt32Array(at, count),
          topLogProbability.toFloat32Array(at, count),
        ]);
        return Array.from(ids, (token, i) => ({ token, logProbability: logs[i] })).filter(({ token }) => token >= 0);
      }),
    );
  }

  dispose(): void {
    for (const tensor of this.#owned) tensor.dispose();
  }
}

/** The candidate with the highest score for its length: openai/whisper's MaximumLikelihoodRanker. */
export function likeliest(candidates: readonly Candidate[], lengthPenalty: number | null): Candidate {
  const score = ({ sum, tokens: { length } }: Candidate) =>
    sum / (lengthPenalty === null ? Math.max(1, length) : ((5 + length) / 6) ** lengthPenalty);
  return candidates.reduce((best, one) => (score(one) > score(best) ? one : best));
}
