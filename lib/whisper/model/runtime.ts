/** A model on a device: its tensors and programs. The engine decides what runs when. */
import type { Device } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import type { ReadData } from '../../device/transfer.js';
import {
  type Rows,
  type Runtime,
  type Sequence,
  type Slot,
  type StepRun,
  type Submitted,
  submitted,
  type Work,
} from '../../engine/runtime.js';
import { OneheadError } from '../../errors.js';
import { encodedOf, featuresOf } from './feature-tensors.js';
import { handled } from './handled.js';
import {
  maximumChoices,
  prefillLength,
  type RuntimeParts,
  RuntimePrograms,
  type StepParts,
  sizeFor,
} from './programs.js';
import { RowFlags } from './row-flags.js';
import type { Write } from './rows.js';
import { type Candidate, likeliest, type ModelWindow, type Search, type SearchResult } from './search.js';
import { largestVerifications, verify } from './verify.js';
import { WindowEncoder } from './window-encoder.js';

/**
 * The maximum number of rows of a product that the CPU computes with the kernels of a decode step (`fewRows` in
 * native/operations/linear/cpu_steps.cc).
 */
const cpuPrefillTokens = 16;

/** The lengths of prompts without a previous text: language and task with timestamps, and without them. */
const usualPrefills = [2, 3];

type RunningSequence = Sequence<Search>;

/** The part of a sequence's result that its prefill computes. */
type PrefillResult = Pick<SearchResult, 'noSpeechProbability' | 'startLogits' | 'accepted'>;

const totalTime = (all: readonly { elapsed: number }[]): number => all.reduce((sum, { elapsed }) => sum + elapsed, 0);

export class WhisperRuntime implements Runtime<ModelWindow, Search, SearchResult> {
  readonly positions: number;
  readonly rows: number;
  readonly encodeBatch: number;
  readonly #parts: RuntimeParts;
  readonly #device: Device;
  /** @internal */
  readonly programs: RuntimePrograms;
  readonly #prefilled = new WeakMap<RunningSequence, PrefillResult>();
  /** The texts of sequences that have ended. */
  readonly #results = new WeakMap<RunningSequence, Candidate>();
  readonly #flags = new RowFlags();
  /**
   * The rows and leaders last written to the step's tensors, which are written only if the batch changes. Null:
   * unknown.
   */
  #entries: Int32Array | null = null;
  readonly #encoder: WindowEncoder;

  constructor(parts: RuntimeParts) {
    this.#parts = parts;
    this.#device = parts.device;
    this.programs = new RuntimePrograms(parts);
    this.#encoder = new WindowEncoder(parts, this.programs);
    this.positions = parts.windows * parts.checkpoint.config.sourcePositions;
    this.rows = parts.rows;
    this.encodeBatch = parts.encodeBatch;
  }

  /**
   * Lays out the weights and allocates the memory of the largest programs, so that the first request is as fast as the
   * next and allocates none.
   */
  async prepare(): Promise<void> {
    const { sourcePositions } = this.#parts.checkpoint.config;
    const everything = { beams: true, words: true, top: true };
    const plain = { beams: false, words: false, top: false };
    // Steps come first: they need the weights row by row, and the other programs then use that layout.
    await this.programs.step(this.rows, everything).program.prepare();
    for (let size = 1; size < 2 * this.rows; size *= 2) {
      await this.programs.step(sizeFor(size, this.rows), plain).program.prepare();
    }
    await this.programs.alignment?.prepare();
    for (let size = this.encodeBatch; size >= 1; size >>= 1) {
      await this.programs.encode(size, sourcePositions).program.prepare();
    }
    for (const count of [1, 2, 3, 4]) await this.programs.prefill(1, count).program.prepare();
    await this.programs.features().program.prepare();
    for (const [batch, count] of largestVerifications(this.programs.pool, this.#device)) {
      await this.programs.verify(batch, count, maximumChoices).program.prepare();
    }
  }

  /**
   * For a GPU: runs the programs of usual requests twice, without rows. A program's kernels are loaded in its first
   * run, and its graph is captured in the second one. Otherwise the first requests would wait for both, and the event
   * loop for the recording.
   */
  async rehearse(): Promise<void> {
    const { sourcePositions } = this.#parts.checkpoint.config;
    const none = (size: number) => new Int32Array(size).fill(-1);
    const runs: Promise<unknown>[] = [];
    for (let size = 1; size < 2 * this.rows; size *= 2) {
      const plain = { beams: false, words: false, top: false };
      const { rows, leaders, program } = this.programs.step(sizeFor(size, this.rows), plain);
      const until = { flags: this.programs.pool.state.finished, when: 'another', most: rows.size } as const;
      const writes: Write[] = [
        [rows, none(rows.size)],
        [leaders, new Int32Array(leaders.size)],
      ];
      runs.push(program.submit({ times: 2, until, writes }).done);
    }
    for (const length of usualPrefills) {
      for (let size = 1; size < 2 * this.#prefillBatch(length); size *= 2) {
        const { rows, startRows, program } = this.programs.prefill(sizeFor(size, this.rows), length);
        const writes: Write[] = [
          [rows, none(rows.size)],
          [startRows, new Int32Array(startRows.size)],
        ];
        runs.push(program.submit({ times: 2, writes }).done);
      }
    }
    for (let size = this.encodeBatch; size >= 1; size >>= 1) {
      const { begins, peaks, program } = this.programs.encode(size, sourcePositions);
      const writes: Write[] = [
        [begins, Int32Array.from({ length: size }, (_, i) => i * sourcePositions)],
        [peaks, new Float32Array(size).fill(Number.NEGATIVE_INFINITY)],
      ];
      runs.push(program.submit({ times: 2, writes }).done);
    }
    await Promise.all(runs);
  }

  /** Out of memory, or a tensor that cannot be used, concerns only the work that needs it. */
  isLost(error: unknown): boolean {
    return this.#device.closed || (error instanceof OneheadError && error.code === 'DEVICE_FAILED');
  }

  positionsOf(window: ModelWindow): number {
    if ('encoded' in window) return window.encoded.shape[1];
    const { hop, fftSize } = this.#parts.checkpoint.preprocessor;
    return ((window.samples.length - fftSize) / hop + 1) / 2;
  }

  rowsOf({ beams }: Search): number {
    return Math.max(1, beams);
  }

  /** The host decides how much of a draft is accepted, before anything else can be submitted. */
  waitsForStart({ draft }: Search): boolean {
    return draft !== undefined;
  }

  encode(windows: readonly { window: ModelWindow; slot: Slot }[]): Promise<Work> {
    const done: Promise<Work>[] = [];
    this.#submitting(() => this.#encoder.submit(windows, done), done);
    return Promise.all(done).then((all) => ({ elapsed: totalTime(all) }));
  }

  /**
   * Calls `submit`. If it throws, some of its writes may be missing: nothing is assumed about them later. `done`: work
   * that it has submitted, in which nobody is interested then.
   */
  #submitting<T>(submit: () => T, done: readonly Promise<unknown>[] = []): T {
    const restoreFlags = this.#flags.saved();
    try {
      return submit();
    } catch (error) {
      for (const work of done) handled(work);
      restoreFlags();
      this.#entries = null;
      this.programs.pool.forgetMasks();
      this.#encoder.samples.filled(Number.POSITIVE_INFINITY);
      throw error;
    }
  }

  start(sequences: readonly RunningSequence[]): Promise<Work & { ended: RunningSequence[] }> {
    const ended = new Set<RunningSequence>();
    const done: Promise<Work>[] = [];
    this.#submitting(() => this.#submitStart(sequences, ended, done), done);
    return Promise.all(done).then((all) => ({ elapsed: totalTime(all), ended: [...ended] }));
  }

  #submitStart(sequences: readonly RunningSequence[], ended: Set<RunningSequence>, done: Promise<Work>[]): void {
    const { pool } = this.programs;
    for (const sequence of sequences) this.#flags.started(sequence);
    // All state is written in the job of the first prefill.
    let writes = [...this.#clears(), ...sequences.flatMap((sequence) => pool.writes(sequence))];
    const byLength = new Map<number, RunningSequence[]>();
    const drafted = sequences.filter(({ search }) => search.draft);
    for (const sequence of sequences) {
      if (sequence.search.draft) continue;
      const { prompt, prefix = [], startIndex } = sequence.search;
      const length = prefillLength(Math.max(prompt.length + prefix.length - 1, startIndex + 1), pool.capacity);
      byLength.set(length, [...(byLength.get(length) ?? []), sequence]);
    }
    for (const [length, group] of byLength) {
      const batch = this.#prefillBatch(length);
      for (let begin = 0; begin < group.length; begin += batch) {
        done.push(this.#prefill(group.slice(begin, begin + batch), length, writes));
        writes = [];
      }
    }
    for (const sequence of sequences) {
      if (sequence.search.maximum > 0) continue;
      ended.add(sequence);
      this.#results.set(sequence, pool.emptyText(sequence));
    }
    if (drafted.length > 0) {
      if (writes.length > 0) done.push(this.#device.transfer({ writes }).then(() => ({ elapsed: 0 })));
      this.#entries = null;
      done.push(this.#verify(drafted, ended));
    }
  }

  /** Decodes drafts. Adds the sequences that end within their draft to `ended`. */
  async #verify(drafted: readonly RunningSequence[], ended: Set<RunningSequence>): Promise<{ elapsed: number }> {
    const { elapsed, verified } = await verify(this.#device, this.programs, drafted);
    for (const { sequence, text, ...start } of verified) {
      this.#prefilled.set(sequence, start);
      if (!text) continue;
      ended.add(sequence);
      this.#results.set(sequence, text);
    }
    return { elapsed };
  }

  /**
   * The number of prompts of a length that are prefilled together. On a CPU their tokens must fit the kernels of a
   * step, which compute each row exactly as if it were alone. On a GPU they are no more than a window has audio
   * positions, which bounds the memory.
   */
  #prefillBatch(length: number): number {
    const { sourcePositions, targetPositions } = this.#parts.checkpoint.config;
    const tokens = this.#device.kind === 'cpu' ? cpuPrefillTokens : Math.max(sourcePositions, targetPositions);
    return Math.min(this.rows, 2 ** Math.floor(Math.log2(Math.max(1, tokens / length))));
  }

  /** Prefills sequences of one padded length, after `writes`. */
  #prefill(sequences: readonly RunningSequence[], length: number, writes: readonly Write[]): Promise<Work> {
    const size = sizeFor(sequences.length, this.rows);
    const { rows, startRows, logits, noSpeech, program } = this.programs.prefill(size, length);
    const entries = new Int32Array(size).fill(-1);
    const starts = new Int32Array(size);
    sequences.forEach((sequence, i) => {
      entries[i] = sequence.rows.first;
      starts[i] = sequence.search.startIndex;
    });
    this.#entries = null;
    const vocabulary = logits.shape[1];
    const withLogits = sequences.flatMap((sequence, i) => (sequence.search.startLogits ? [i] : []));
    const { done } = program.submit({
      writes: [...writes, [rows, entries], [startRows, starts]],
      reads: [[noSpeech], ...withLogits.map((i) => [logits, i * vocabulary, vocabulary] as const)],
    });
    return done.then(({ elapsed, reads: [silences, ...startLogits] }) => {
      sequences.forEach((sequence, i) => {
        const logits = startLogits[withLogits.indexOf(i)] as Float32Array | undefined;
        this.#prefilled.set(sequence, { noSpeechProbability: silences[i], startLogits: logits });
      });
      return { elapsed };
    });
  }

  step(
    sequences: readonly RunningSequence[],
    { times, shown }: { times: number; shown: readonly RunningSequence[] },
  ): StepRun<Search> {
    const { pool } = this.programs;
    const count = sequences.reduce((sum, { rows }) => sum + rows.count, 0);
    const some = (condition: (search: Search) => boolean) => sequences.some(({ search }) => condition(search));
    const parts: StepParts = {
      beams: some(({ beams }) => beams > 1),
      words: some(({ words }) => words),
      top: some(({ top }) => top > 0),
    };
    const size = sizeFor(count, this.rows);
    const { rows, leaders, program } = this.programs.step(size, parts);
    const run = this.#submitting(() =>
      program.submit({
        times,
        // All rows of a sequence end in one step. The flags of sequences that ended in the run before may still be set.
        until: { flags: pool.state.finished, when: 'another', most: count },
        writes: [...this.#clears(), ...this.#entryWrites(sequences, size, rows, leaders)],
        reads: shown.flatMap((sequence) => pool.writtenReads(sequence)),
        rows: parts.beams ? pool.beamResults : pool.results,
      }),
    );
    const done = run.done.then(({ elapsed, times: steps, reads, rows: found }) => {
      const ended = this.#keepEnded(sequences, new Map(found.map(([row, ...data]) => [row, data])));
      const written = shown.map((sequence, i) => {
        const { noSpeechProbability, startLogits } = this.#prefilled.get(sequence)!;
        return { ...pool.written(sequence, reads.slice(3 * i, 3 * i + 3)), noSpeechProbability, startLogits };
      });
      return { elapsed, steps, ended, written };
    });
    return { done, stop: run.stop };
  }

  /** Stores the texts of sequences that have ended. Returns those that ended in this run. */
  #keepEnded(sequences: readonly RunningSequence[], found: ReadonlyMap<number, ReadData[]>): RunningSequence[] {
    const { pool, endToken } = this.programs;
    return sequences.filter((sequence) => {
      const { first, count } = sequence.rows;
      if (!found.has(first) || this.#results.has(sequence)) return false;
      const rows = Array.from({ length: count }, (_, beam) => found.get(first + beam)!);
      const candidates = pool.candidates(sequence, pool.joined(rows), endToken);
      this.#results.set(sequence, likeliest(candidates, sequence.search.lengthPenalty));
      return true;
    });
  }

  /**
   * Returns the writes that clear the flags of rows that are no longer decoded: a run ends when one more flag is set.
   */
  #clears(): Write[] {
    return this.#flags.take().map((row) => this.programs.pool.clear(row));
  }

  /**
   * Returns the writes of the row of each entry of a step's batch (`rows`, -1 for none), and of `leaders`: the number
   * of beams for the first beam of a search, -1 for its others, 0 for a plain sequence. None if both are unchanged.
   */
  #entryWrites(sequences: readonly RunningSequence[], size: number, rows: Tensor, leaders: Tensor): Write[] {
    const entries = new Int32Array(2 * size).fill(-1, 0, size);
    let entry = 0;
    for (const { rows: range } of sequences) {
      for (let beam = 0; beam < range.count; ++beam, ++entry) {
        entries[entry] = range.first + beam;
        entries[size + entry] = range.count === 1 ? 0 : beam === 0 ? range.count : -1;
      }
    }
    const last = this.#entries;
    if (last?.length === entries.length && last.every((row, i) => row === entries[i])) return [];
    this.#entries = entries;
    return [
      [rows, entries.subarray(0, size)],
      [leaders, entries.subarray(size)],
    ];
  }

  collect(sequence: RunningSequence): Submitted<SearchResult> {
    const { pool, alignment, attention } = this.programs;
    const { search, slot } = sequence;
    const candidate = this.#results.get(sequence)!;
    this.#flags.left(sequence);
    const likely = search.top > 0 ? pool.topReads(search, candidate) : undefined;
    const ranked = likely && handled(this.#device.transfer({ reads: likely }));
    const times = search.words ? alignment?.run(search, candidate, slot.positions) : undefined;
    if (times) handled(times.data);
    const attended = search.words ? attention?.read(search, candidate, slot.positions) : undefined;
    const { rows: _, ...text } = candidate;
    return submitted(Promise.all([ranked, times?.data, attended?.data]), ([top, alignedFrames, pieces]) => ({
      ...text,
      ...this.#prefilled.get(sequence)!,
      ...(top && { top: pool.ranked(top) }),
      ...(times && { times: times.finish(alignedFrames!) }),
      ...(attended && { attention: attended.finish(pieces!) }),
    }));
  }

  release(sequences: readonly RunningSequence[]): void {
    this.#flags.left(...sequences);
  }

  /** Computes the logits of every position of `tokens` into `output`, float32 [1, length, vocabulary]. */
  logits({ first }: Rows, slot: Slot, tokens: readonly number[], output: Tensor): Submitted<void> {
    const { pool } = this.programs;
    const { rows, program } = this.programs.logits(tokens.length, output);
    this.#entries = null;
    try {
      const { done } = program.submit({
        writes: [
          [pool.state.tokens, Int32Array.from(tokens), first * pool.capacity],
          [pool.audio.begin, Int32Array.of(slot.begin), first],
          [pool.audio.count, Int32Array.of(slot.positions), first],
          [pool.scoreRow, Int32Array.of(-1), first],
          [rows, Int32Array.of(first)],
        ],
      });
      return submitted(done, () => {});
    } finally {
      // Its memory is freed when it has run.
      program.dispose();
    }
  }

  /** The highest log10 power of one window's samples, or `peak` if that is higher. */
  async measurePeak(samples: Float32Array, peak: number): Promise<number> {
    const { samples: input, peaks, program } = this.programs.features();
    this.#encoder.samples.filled(samples.length);
    const { reads } = await program.submit({
      writes: [
        [input, samples],
        [peaks, Float32Array.of(peak)],
      ],
      reads: [[peaks, 0, 1]],
    }).done;
    return reads[0][0];
  }

  /**
   * Features of windows: float32 [windows, mels, frames]. `samplesOf` returns the `windowSamples` samples of a window;
   * it is called after the previous window is done. The caller disposes of the features.
   */
  features(windows: number, samplesOf: (index: number) => Float32Array, signal?: AbortSignal): Promise<Tensor> {
    const { size } = this.programs.features().samples;
    const written = (index: number) => {
      // For each window, since other windows are encoded between these.
      this.#encoder.samples.filled(size);
      return samplesOf(index);
    };
    return featuresOf(this.#device, this.programs, windows, written, signal);
  }

  /**
   * The encoder's output for features [windows, mels, frames]: [windows, positions, width] in the type of the encoder's
   * values. The caller disposes of it.
   */
  encodeFeatures(features: Tensor, signal?: AbortSignal): Promise<Tensor> {
    return encodedOf(this.#parts, this.programs, features, signal);
  }

  dispose(): void {
    this.programs.dispose();
  }
}
