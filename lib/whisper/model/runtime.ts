/** A model on a device: its tensors and programs. The engine decides what runs when. */
import type { Device } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import type { ReadData } from '../../device/transfer.js';
import type { Rows, Runtime, Sequence, Slot, StepRun } from '../../engine/runtime.js';
import { encodedOf, featuresOf } from './feature-tensors.js';
import { prefillLength, type RuntimeParts, RuntimePrograms, type StepParts, sizeFor } from './programs.js';
import type { Write } from './rows.js';
import { likeliest, type ModelWindow, type Search, type SearchResult } from './search.js';
import { verify } from './verify.js';
import { WrittenSamples } from './written-samples.js';

/**
 * The maximum number of rows of a product that the CPU computes with the kernels of a decode step (`fewRows` in
 * native/operations/linear/cpu_steps.cc).
 */
const cpuPrefillTokens = 16;

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
  readonly #programs: RuntimePrograms;
  readonly #prefilled = new WeakMap<RunningSequence, PrefillResult>();
  /** State of sequences that have ended, read from their rows. */
  readonly #results = new WeakMap<RunningSequence, ReadData[]>();
  /** Rows that are no longer decoded and whose `finished` flags may still be set. */
  readonly #left: Rows[] = [];
  /**
   * The rows and leaders last written to the step's tensors, which are written only if the batch changes. Null:
   * unknown.
   */
  #entries: Int32Array | null = null;
  readonly #samples = new WrittenSamples();

  constructor(parts: RuntimeParts) {
    this.#parts = parts;
    this.#device = parts.device;
    this.#programs = new RuntimePrograms(parts);
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
    await this.#programs.step(this.rows, everything).program.prepare();
    for (let size = 1; size < 2 * this.rows; size *= 2) {
      await this.#programs.step(sizeFor(size, this.rows), plain).program.prepare();
    }
    await this.#programs.alignment?.prepare();
    for (let size = this.encodeBatch; size >= 1; size >>= 1) {
      await this.#programs.encode(size, sourcePositions).program.prepare();
    }
    for (const count of [1, 2, 3, 4]) await this.#programs.prefill(1, count).program.prepare();
    await this.#programs.features().program.prepare();
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

  async encode(windows: readonly { window: ModelWindow; slot: Slot }[]): Promise<{ elapsed: number }> {
    const done: Promise<{ elapsed: number }>[] = [];
    for (let index = 0; index < windows.length; ) {
      const { window, slot } = windows[index];
      if ('encoded' in window) {
        done.push(this.#project(window, slot));
        index += 1;
        continue;
      }
      // Batches are powers of two, so that few programs suffice. A padded window would cost as much as a real one.
      const next = windows.slice(index).findIndex((other) => 'encoded' in other.window);
      const together = next < 0 ? windows.length - index : next;
      const size = 2 ** Math.floor(Math.log2(Math.min(together, this.encodeBatch)));
      done.push(this.#encodeSamples(windows.slice(index, index + size), slot.positions));
      index += size;
    }
    return { elapsed: totalTime(await Promise.all(done)) };
  }

  #encodeSamples(
    windows: readonly { window: ModelWindow; slot: Slot }[],
    positions: number,
  ): Promise<{ elapsed: number }> {
    const { samples, peaks, begins, program } = this.#programs.encode(windows.length, positions);
    const length = samples.shape[1];
    const inputs = windows.map(({ window }) => window as Extract<ModelWindow, { samples: unknown }>);
    const needed = this.#samples.needed(inputs, length);
    const { done } = program.submit({
      writes: [
        ...needed.map((part, i) => [samples, part, i * length] as const),
        [peaks, Float32Array.from(inputs, ({ peak }) => peak)],
        [begins, Int32Array.from(windows, ({ slot }) => slot.begin)],
      ],
    });
    return done;
  }

  async #project({ encoded, index }: Extract<ModelWindow, { encoded: unknown }>, slot: Slot) {
    const { encoded: input } = this.#programs.encoder(1);
    const { begins, program } = this.#programs.project(input);
    const [, done] = await Promise.all([
      this.#device.copy(encoded, input, { fromElement: index * input.size, count: input.size }),
      program.submit({ writes: [[begins, Int32Array.of(slot.begin)]] }).done,
    ]);
    return done;
  }

  async start(sequences: readonly RunningSequence[]): Promise<{ elapsed: number; ended: RunningSequence[] }> {
    const { pool } = this.#programs;
    // All state is written in the job of the first prefill.
    let writes = [...this.#clears(), ...sequences.flatMap((sequence) => pool.writes(sequence))];
    const done: Promise<{ elapsed: number }>[] = [];
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
    const ended = new Set(sequences.filter(({ search }) => search.maximum === 0));
    if (drafted.length > 0) {
      if (writes.length > 0) done.push(this.#device.transfer({ writes }).then(() => ({ elapsed: 0 })));
      this.#entries = null;
      done.push(this.#verify(drafted, ended));
    }
    const elapsed = totalTime(await Promise.all(done));
    return { elapsed, ended: [...ended] };
  }

  /** Decodes drafts. Adds the sequences that end within their draft to `ended`. */
  async #verify(drafted: readonly RunningSequence[], ended: Set<RunningSequence>): Promise<{ elapsed: number }> {
    const { elapsed, verified } = await verify(this.#device, this.#programs, drafted);
    for (const { sequence, ended: done, ...start } of verified) {
      this.#prefilled.set(sequence, start);
      if (done) ended.add(sequence);
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
  async #prefill(
    sequences: readonly RunningSequence[],
    length: number,
    writes: readonly Write[],
  ): Promise<{ elapsed: number }> {
    const size = sizeFor(sequences.length, this.rows);
    const { rows, startRows, logits, noSpeech, program } = this.#programs.prefill(size, length);
    const entries = new Int32Array(size).fill(-1);
    const starts = new Int32Array(size);
    sequences.forEach((sequence, i) => {
      entries[i] = sequence.rows.first;
      starts[i] = sequence.search.startIndex;
    });
    this.#entries = null;
    const vocabulary = logits.shape[1];
    const withLogits = sequences.flatMap((sequence, i) => (sequence.search.startLogits ? [i] : []));
    const { elapsed, reads } = await program.submit({
      writes: [...writes, [rows, entries], [startRows, starts]],
      reads: [[noSpeech], ...withLogits.map((i) => [logits, i * vocabulary, vocabulary] as const)],
    }).done;
    const [silences, ...startLogits] = reads;
    sequences.forEach((sequence, i) => {
      const logits = startLogits[withLogits.indexOf(i)] as Float32Array | undefined;
      this.#prefilled.set(sequence, { noSpeechProbability: silences[i], startLogits: logits });
    });
    return { elapsed };
  }

  step(
    sequences: readonly RunningSequence[],
    { times, shown }: { times: number; shown: readonly RunningSequence[] },
  ): StepRun<Search> {
    const { pool } = this.#programs;
    const count = sequences.reduce((sum, { rows }) => sum + rows.count, 0);
    const some = (condition: (search: Search) => boolean) => sequences.some(({ search }) => condition(search));
    const parts: StepParts = {
      beams: some(({ beams }) => beams > 1),
      words: some(({ words }) => words),
      top: some(({ top }) => top > 0),
    };
    const size = sizeFor(count, this.rows);
    const { rows, leaders, program } = this.#programs.step(size, parts);
    const run = program.submit({
      times,
      // All rows of a sequence end in one step. The flags of sequences that ended in the run before may still be set.
      until: { flags: pool.state.finished, when: 'another', most: count },
      writes: [...this.#clears(), ...this.#entryWrites(sequences, size, rows, leaders)],
      reads: shown.flatMap((sequence) => pool.writtenReads(sequence)),
      rows: parts.beams ? pool.beamResults : pool.results,
    });
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

  /** Stores the state of sequences that have ended. Returns those that ended in this run. */
  #keepEnded(sequences: readonly RunningSequence[], found: ReadonlyMap<number, ReadData[]>): RunningSequence[] {
    return sequences.filter((sequence) => {
      const { first, count } = sequence.rows;
      if (!found.has(first) || this.#results.has(sequence)) return false;
      const rows = Array.from({ length: count }, (_, beam) => found.get(first + beam)!);
      this.#results.set(sequence, this.#programs.pool.joined(rows));
      this.#left.push(sequence.rows);
      return true;
    });
  }

  /**
   * Returns the writes that clear the flags of rows that are no longer decoded: a run ends when one more flag is set.
   */
  #clears(): Write[] {
    return this.#left.splice(0).map((rows) => this.#programs.pool.clears(rows));
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

  async collect(sequence: RunningSequence): Promise<SearchResult> {
    const { pool, alignment, attention } = this.#programs;
    const { search, slot, rows } = sequence;
    let data = this.#results.get(sequence);
    if (!data) {
      // It ended before the first step.
      this.#left.push(rows);
      data = await this.#device.transfer({ reads: pool.reads(rows) });
    }
    const { endToken } = this.#parts.checkpoint.generation;
    const candidate = likeliest(pool.candidates(sequence, data, endToken), search.lengthPenalty);
    // All reads are submitted before the first await, since the engine may then reuse the rows.
    const [ranked, times, attended] = await Promise.all([
      search.top > 0 ? this.#device.transfer({ reads: pool.topReads(search, candidate) }) : undefined,
      search.words ? alignment?.run(search, candidate, slot.positions) : undefined,
      search.words ? attention?.read(search, candidate, slot.positions) : undefined,
    ]);
    const { rows: _, ...rest } = candidate;
    return {
      ...rest,
      ...this.#prefilled.get(sequence)!,
      ...(ranked && { top: pool.ranked(ranked) }),
      ...(times && { times }),
      ...(attended && { attention: attended }),
    };
  }

  release(sequences: readonly RunningSequence[]): void {
    this.#left.push(...sequences.map(({ rows }) => rows));
  }

  /** Computes the logits of every position of `tokens` into `output`, float32 [1, length, vocabulary]. */
  async logits({ first }: Rows, slot: Slot, tokens: readonly number[], output: Tensor): Promise<void> {
    const { pool } = this.#programs;
    const { rows, program } = this.#programs.logits(tokens.length, output);
    this.#entries = null;
    try {
      await program.submit({
        writes: [
          [pool.state.tokens, Int32Array.from(tokens), first * pool.capacity],
          [pool.audio.begin, Int32Array.of(slot.begin), first],
          [pool.audio.count, Int32Array.of(slot.positions), first],
          [pool.scoreRow, Int32Array.of(-1), first],
          [rows, Int32Array.of(first)],
        ],
      }).done;
    } finally {
      program.dispose();
    }
  }

  /** The highest log10 power of one window's samples, or `peak` if that is higher. */
  async measurePeak(samples: Float32Array, peak: number): Promise<number> {
    const { samples: input, peaks, program } = this.#programs.features();
    this.#samples.filled(samples.length);
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
    this.#samples.filled(this.#programs.features().samples.size);
    return featuresOf(this.#device, this.#programs, windows, samplesOf, signal);
  }

  /**
   * The encoder's output for features [windows, mels, frames]: [windows, positions, width] in the type of the encoder's
   * values. The caller disposes of it.
   */
  encodeFeatures(features: Tensor, signal?: AbortSignal): Promise<Tensor> {
    return encodedOf(this.#parts, this.#programs, features, signal);
  }

  dispose(): void {
    this.#programs.dispose();
  }
}
