/** A model on a device: its tensors and programs. It has no queue and makes no choices; the engine does. */
import type { Device } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import type { ReadData } from '../../device/transfer.js';
import type { Rows, Runtime, Sequence, Slot, StepRun } from '../../engine/runtime.js';
import { prefillLength, type RuntimeParts, RuntimePrograms, type StepParts, sizeFor } from './programs.js';
import type { Write } from './rows.js';
import { type SearchResult, likeliest, type ModelWindow, type Search } from './search.js';
import { verify } from './verify.js';
import { WrittenSamples } from './written-samples.js';

/** Rows of a product that the CPU's kernels of a step take (native/operations/linear/cpu_steps.cc, `fewRows`). */
const cpuPrefillTokens = 16;

type Running = Sequence<Search>;

/** The results of a sequence's prefill. */
type Start = Pick<SearchResult, 'noSpeechProbability' | 'startLogits' | 'accepted'>;

const total = (all: readonly { elapsed: number }[]): number => all.reduce((sum, { elapsed }) => sum + elapsed, 0);

export class WhisperRuntime implements Runtime<ModelWindow, Search, SearchResult> {
  readonly positions: number;
  readonly rows: number;
  readonly encodeBatch: number;
  readonly #parts: RuntimeParts;
  readonly #device: Device;
  readonly #programs: RuntimePrograms;
  readonly #starts = new WeakMap<Running, Start>();
  /** Data of sequences that have ended. */
  readonly #results = new WeakMap<Running, ReadData[]>();
  /** Rows whose flags say that they have ended, or may, and that are no longer decoded. */
  readonly #ended: Rows[] = [];
  /** The content of the entries' tensors, which are written only when the batch changes. */
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
   * Lays out the weights and takes the memory of the largest programs: the first request is then as fast as the next,
   * and takes none.
   */
  async prepare(): Promise<void> {
    const { sourcePositions } = this.#parts.checkpoint.config;
    const everything = { beams: true, words: true, top: true };
    const plain = { beams: false, words: false, top: false };
    // The steps first: they want the weights row by row, and the others then take them as they are.
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

  /** The host decides how much of a draft is accepted. */
  waitsForStart({ draft }: Search): boolean {
    return draft !== undefined;
  }

  async encode(windows: readonly { window: ModelWindow; slot: Slot }[]): Promise<{ elapsed: number }> {
    const done: Promise<{ elapsed: number }>[] = [];
    for (let at = 0; at < windows.length; ) {
      const { window, slot } = windows[at];
      if ('encoded' in window) {
        done.push(this.#project(window, slot));
        at += 1;
        continue;
      }
      // Sizes are powers of two, so that few programs serve all; a padded one would cost as much as a window more.
      const left = windows.slice(at).findIndex((one) => 'encoded' in one.window);
      const together = left < 0 ? windows.length - at : left;
      const size = 2 ** Math.floor(Math.log2(Math.min(together, this.encodeBatch)));
      done.push(this.#encodeSamples(windows.slice(at, at + size), slot.positions));
      at += size;
    }
    return { elapsed: total(await Promise.all(done)) };
  }

  #encodeSamples(
    windows: readonly { window: ModelWindow; slot: Slot }[],
    positions: number,
  ): Promise<{ elapsed: number }> {
    const { samples, peaks, begins, program } = this.#programs.encode(windows.length, positions);
    const length = samples.shape[1];
    const given = windows.map(({ window }) => window as Extract<ModelWindow, { samples: unknown }>);
    const written = this.#samples.needed(given, length);
    const { done } = program.submit({
      writes: [
        ...given.map((_, i) => [samples, written[i], i * length] as const),
        [peaks, Float32Array.from(given, ({ peak }) => peak)],
        [begins, Int32Array.from(windows, ({ slot }) => slot.begin)],
      ],
    });
    return done;
  }

  async #project({ encoded, index }: Extract<ModelWindow, { encoded: unknown }>, slot: Slot) {
    const { encoded: loose } = this.#programs.encoder(1);
    const { begins, program } = this.#programs.project(loose);
    const [, done] = await Promise.all([
      this.#device.copy(encoded, loose, { fromElement: index * loose.size, count: loose.size }),
      program.submit({ writes: [[begins, Int32Array.of(slot.begin)]] }).done,
    ]);
    return done;
  }

  async start(sequences: readonly Running[]): Promise<{ elapsed: number; ended: Running[] }> {
    const { pool } = this.#programs;
    // They go with the first prefill.
    let writes = [...this.#clears(), ...sequences.flatMap((sequence) => pool.writes(sequence))];
    const done: Promise<{ elapsed: number }>[] = [];
    const byLength = new Map<number, Running[]>();
    const drafted = sequences.filter(({ search }) => search.draft);
    for (const sequence of sequences) {
      if (sequence.search.draft) continue;
      const { prompt, prefix = [], startIndex } = sequence.search;
      const length = prefillLength(Math.max(prompt.length + prefix.length - 1, startIndex + 1), pool.capacity);
      byLength.set(length, [...(byLength.get(length) ?? []), sequence]);
    }
    for (const [length, group] of byLength) {
      const most = this.#prefillBatch(length);
      for (let at = 0; at < group.length; at += most) {
        done.push(this.#prefill(group.slice(at, at + most), length, writes));
        writes = [];
      }
    }
    const ended = new Set(sequences.filter(({ search }) => search.maximum === 0));
    if (drafted.length > 0) {
      if (writes.length > 0) done.push(this.#device.transfer({ writes }).then(() => ({ elapsed: 0 })));
      this.#entries = null;
      done.push(this.#verify(drafted, ended));
    }
    const elapsed = total(await Promise.all(done));
    return { elapsed, ended: [...ended] };
  }

  /** Adds those that the draft ends to `ended`. */
  async #verify(drafted: readonly Running[], ended: Set<Running>): Promise<{ elapsed: number }> {
    const { elapsed, verified } = await verify(this.#device, this.#programs, drafted);
    for (const { sequence, ended: done, ...start } of verified) {
      this.#starts.set(sequence, start);
      if (done) ended.add(sequence);
    }
    return { elapsed };
  }

  /**
   * Prompts that are read at once. On a CPU no more tokens than the kernels of a step take, which compute each row as
   * if it were alone; on a GPU no more than an encoder's window has positions, which bounds the memory.
   */
  #prefillBatch(length: number): number {
    const { sourcePositions, targetPositions } = this.#parts.checkpoint.config;
    const tokens = this.#device.kind === 'cpu' ? cpuPrefillTokens : Math.max(sourcePositions, targetPositions);
    return Math.min(this.rows, 2 ** Math.floor(Math.log2(Math.max(1, tokens / length))));
  }

  /** `writes` go before it. */
  async #prefill(
    sequences: readonly Running[],
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
    const wanting = sequences.flatMap((sequence, i) => (sequence.search.startLogits ? [i] : []));
    const { elapsed, reads } = await program.submit({
      writes: [...writes, [rows, entries], [startRows, starts]],
      reads: [[noSpeech], ...wanting.map((i) => [logits, i * vocabulary, vocabulary] as const)],
    }).done;
    const [silences, ...all] = reads;
    sequences.forEach((sequence, i) => {
      const startLogits = all[wanting.indexOf(i)] as Float32Array | undefined;
      this.#starts.set(sequence, { noSpeechProbability: silences[i], startLogits });
    });
    return { elapsed };
  }

  step(sequences: readonly Running[], { times, shown }: { times: number; shown: readonly Running[] }): StepRun<Search> {
    const { pool } = this.#programs;
    const count = sequences.reduce((sum, { rows }) => sum + rows.count, 0);
    const some = (wanted: (search: Search) => boolean) => sequences.some(({ search }) => wanted(search));
    const parts: StepParts = {
      beams: some(({ beams }) => beams > 1),
      words: some(({ words }) => words),
      top: some(({ top }) => top > 0),
    };
    const size = sizeFor(count, this.rows);
    const { rows, leaders, program } = this.#programs.step(size, parts);
    const run = program.submit({
      times,
      // All rows of a sequence end at once. Those that ended in the run before are cleared only when that was seen.
      until: { flags: pool.state.finished, when: 'another', most: count },
      writes: [...this.#clears(), ...this.#entryWrites(sequences, size, rows, leaders)],
      reads: shown.flatMap((sequence) => pool.writtenReads(sequence)),
      rows: parts.beams ? pool.beamResults : pool.results,
    });
    const done = run.done.then(({ elapsed, times: steps, reads, rows: found }) => {
      const ended = this.#keepEnded(sequences, new Map(found.map(([row, ...data]) => [row, data])));
      const written = shown.map((sequence, i) => {
        const { noSpeechProbability, startLogits } = this.#starts.get(sequence)!;
        return { ...pool.written(sequence, reads.slice(3 * i, 3 * i + 3)), noSpeechProbability, startLogits };
      });
      return { elapsed, steps, ended, written };
    });
    return { done, stop: run.stop };
  }

  /** Keeps what was read of the sequences that have ended, and gives those that are new among them. */
  #keepEnded(sequences: readonly Running[], found: ReadonlyMap<number, ReadData[]>): Running[] {
    return sequences.filter((sequence) => {
      const { first, count } = sequence.rows;
      if (!found.has(first) || this.#results.has(sequence)) return false;
      const rows = Array.from({ length: count }, (_, beam) => found.get(first + beam)!);
      this.#results.set(sequence, this.#programs.pool.joined(rows));
      this.#ended.push(sequence.rows);
      return true;
    });
  }

  /** Rows that are not decoded must not look ended, since a run of steps ends when one more has. */
  #clears(): Write[] {
    return this.#ended.splice(0).map((rows) => this.#programs.pool.clears(rows));
  }

  /** Says which rows the entries of a step are, where that has changed. */
  #entryWrites(sequences: readonly Running[], size: number, rows: Tensor, leaders: Tensor): Write[] {
    const entries = new Int32Array(2 * size).fill(-1, 0, size);
    let at = 0;
    for (const { rows: own } of sequences) {
      for (let beam = 0; beam < own.count; ++beam, ++at) {
        entries[at] = own.first + beam;
        entries[size + at] = own.count === 1 ? 0 : beam === 0 ? own.count : -1;
      }
    }
    const last = this.#entries;
    if (last?.length === entries.length && last.every((entry, i) => entry === entries[i])) return [];
    this.#entries = entries;
    return [
      [rows, entries.subarray(0, size)],
      [leaders, entries.subarray(size)],
    ];
  }

  async collect(sequence: Running): Promise<SearchResult> {
    const { pool, alignment, attention } = this.#programs;
    const { search, slot, rows } = sequence;
    let data = this.#results.get(sequence);
    if (!data) {
      // It ended before the first step.
      this.#ended.push(rows);
      data = await this.#device.transfer({ reads: pool.reads(rows) });
    }
    const { endToken } = this.#parts.checkpoint.generation;
    const candidate = likeliest(pool.candidates(sequence, data, endToken), search.lengthPenalty);
    // Asked for at once: the rows may be others' by the time that it is known.
    const [ranked, times, attended] = await Promise.all([
      search.top > 0 ? this.#device.transfer({ reads: pool.topReads(search, candidate) }) : undefined,
      search.words ? alignment?.run(search, candidate, slot.positions) : undefined,
      search.words ? attention?.read(search, candidate, slot.positions) : undefined,
    ]);
    const { rows: _, ...rest } = candidate;
    return {
      ...rest,
      ...this.#starts.get(sequence)!,
      ...(ranked && { top: pool.ranked(ranked) }),
      ...(times && { times }),
      ...(attended && { attention: attended }),
    };
  }

  release(sequences: readonly Running[]): void {
    this.#ended.push(...sequences.map(({ rows }) => rows));
  }

  /** Logits of every position of given tokens: writes them to `output`, float32 [1, length, vocabulary]. */
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

  /** The highest log10 power of one window's samples, and of what came before. */
  async measurePeak(samples: Float32Array, peak: number): Promise<number> {
    const { samples: into, peaks, program } = this.#programs.features();
    this.#samples.filled(samples.length);
    const { reads } = await program.submit({
      writes: [
        [into, samples],
        [peaks, Float32Array.of(peak)],
      ],
      reads: [[peaks, 0, 1]],
    }).done;
    return reads[0][0];
  }

  /** Features of windows, each of `windowSamples`: float32 [windows, mels, frames], the caller's own. */
  async features(windows: readonly Float32Array[], signal?: AbortSignal): Promise<Tensor> {
    const { samples, peaks, features, program } = this.#programs.features();
    this.#samples.filled(samples.size);
    const result = this.#device.tensor('float32', [windows.length, ...features.shape.slice(1)]);
    return this.#filled(result, windows.length, (index) => [
      this.#device.transfer({
        writes: [
          [samples, windows[index]],
          [peaks, Float32Array.of(Number.NEGATIVE_INFINITY)],
        ],
      }),
      program.run({ signal }),
      this.#device.copy(features, result, { toElement: index * features.size, count: features.size }),
    ]);
  }

  /**
   * The encoder's output for features [windows, mels, frames]: [windows, positions, width] in the type of the encoder's
   * values, the caller's own.
   */
  async encodeFeatures(given: Tensor, signal?: AbortSignal): Promise<Tensor> {
    const [count, ...shape] = given.shape;
    const { sourcePositions, width } = this.#parts.checkpoint.config;
    const result = this.#device.tensor(this.#parts.precision.encoder.values, [count, sourcePositions, width]);
    const featuresOfOne = shape.reduce((product, size) => product * size, 1);
    const encodedOfOne = sourcePositions * width;
    // As many at once as there are samples, in sizes that programs exist for.
    const begins: { at: number; size: number }[] = [];
    for (let at = 0; at < count; at += begins.at(-1)!.size) {
      begins.push({ at, size: 2 ** Math.floor(Math.log2(Math.min(this.encodeBatch, count - at))) });
    }
    return this.#filled(result, begins.length, (index) => {
      const { at, size } = begins[index];
      const { features, encoded, program } = this.#programs.encoder(size);
      return [
        this.#device.copy(given, features, { fromElement: at * featuresOfOne, count: features.size }),
        program.run({ signal }),
        this.#device.copy(encoded, result, { toElement: at * encodedOfOne, count: encoded.size }),
      ];
    });
  }

  async #filled(result: Tensor, count: number, work: (index: number) => Promise<unknown>[]): Promise<Tensor> {
    try {
      for (let index = 0; index < count; ++index) await Promise.all(work(index));
      return result;
    } catch (error) {
      result.dispose();
      throw error;
    }
  }

  dispose(): void {
    this.#programs.dispose();
  }
}
