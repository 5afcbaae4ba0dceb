/** A model on a device: its tensors and programs. It has no queue and makes no choices; the engine does. */
import type { Device } from '../../device/device.js';
import type { Tensor } from '../../device/tensor.js';
import type { Rows, Runtime, Sequence, Slot, Written } from '../../engine/runtime.js';
import { prefillLength, type RuntimeParts, RuntimePrograms, type StepParts, sizeFor } from './programs.js';
import { type Candidate, type Found, likeliest, type ModelWindow, type Search } from './search.js';
import { verify } from './verify.js';

/** Rows of a product that the CPU's kernels of a step take (native/cpu/preparation.cc, `fewRows`). */
const cpuPrefillTokens = 16;

type Running = Sequence<Search>;

/** What the prefill of a sequence tells. */
type Start = Pick<Found, 'noSpeechProbability' | 'startLogits' | 'accepted'>;

export class WhisperRuntime implements Runtime<ModelWindow, Search, Found> {
  readonly positions: number;
  readonly rows: number;
  readonly encodeBatch: number;
  readonly #parts: RuntimeParts;
  readonly #device: Device;
  readonly #programs: RuntimePrograms;
  readonly #starts = new WeakMap<Running, Start>();
  /** What the entries' tensors hold, so that they are written only when the batch changes. */
  #entries: Int32Array | null = null;
  #encoded: Tensor | null = null;

  constructor(parts: RuntimeParts) {
    this.#parts = parts;
    this.#device = parts.device;
    this.#programs = new RuntimePrograms(parts);
    this.positions = parts.windows * parts.checkpoint.config.sourcePositions;
    this.rows = parts.rows;
    this.encodeBatch = parts.encodeBatch;
  }

  /** Lays out the weights and takes the memory of the largest programs: the first request is then as fast as the next, and takes none. */
  async prepare(): Promise<void> {
    const { sourcePositions } = this.#parts.checkpoint.config;
    const everything = { beams: true, words: true, top: true };
    const plain = { beams: false, words: false, top: false };
    // The steps first: they want the weights row by row, and the others then take them as they are.
    await this.#programs.step(this.rows, everything).program.prepare();
    for (let size = 1; size < 2 * this.rows; size *= 2) {
      await this.#programs.step(sizeFor(size, this.rows), plain).program.prepare();
    }
    await this.#programs.alignment.prepare();
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

  async encode(windows: readonly { window: ModelWindow; slot: Slot }[]): Promise<{ elapsed: number }> {
    let elapsed = 0;
    for (let at = 0; at < windows.length; ) {
      const { window, slot } = windows[at];
      if ('encoded' in window) {
        elapsed += await this.#project(window, slot);
        at += 1;
        continue;
      }
      // Sizes are powers of two, so that few programs serve all; a padded one would cost as much as a window more.
      const left = windows.slice(at).findIndex((one) => 'encoded' in one.window);
      const together = left < 0 ? windows.length - at : left;
      const size = 2 ** Math.floor(Math.log2(Math.min(together, this.encodeBatch)));
      elapsed += await this.#encodeSamples(windows.slice(at, at + size), slot.positions);
      at += size;
    }
    return { elapsed };
  }

  async #encodeSamples(windows: readonly { window: ModelWindow; slot: Slot }[], positions: number): Promise<number> {
    const { samples, peaks, begins, program } = this.#programs.encode(windows.length, positions);
    const length = samples.shape[1];
    const given = windows.map(({ window }) => window as Extract<ModelWindow, { samples: unknown }>);
    const [, { elapsed }] = await Promise.all([
      this.#device.transfer({
        writes: [
          ...given.map((window, i) => [samples, window.samples, i * length] as const),
          [peaks, Float32Array.from(given, ({ peak }) => peak)],
          [begins, Int32Array.from(windows, ({ slot }) => slot.begin)],
        ],
      }),
      program.replay(),
    ]);
    return elapsed;
  }

  async #project({ encoded, index }: Extract<ModelWindow, { encoded: unknown }>, slot: Slot): Promise<number> {
    const loose = this.#encodedTensor();
    const { begins, program } = this.#programs.project(loose);
    const [, , { elapsed }] = await Promise.all([
      this.#device.copy(encoded, loose, { fromElement: index * loose.size, count: loose.size }),
      begins.write(Int32Array.of(slot.begin)),
      program.replay(),
    ]);
    return elapsed;
  }

  async start(sequences: readonly Running[]): Promise<{ elapsed: number; ended: Running[] }> {
    const { capacity } = this.#programs.pool;
    const writes = sequences.flatMap((sequence) => this.#programs.pool.writes(sequence));
    const waiting: Promise<unknown>[] = [this.#device.transfer({ writes })];
    const byLength = new Map<number, Running[]>();
    const drafted = sequences.filter(({ search }) => search.draft);
    for (const sequence of sequences) {
      if (sequence.search.draft) continue;
      const { prompt, prefix = [], startIndex } = sequence.search;
      const length = prefillLength(Math.max(prompt.length + prefix.length - 1, startIndex + 1), capacity);
      byLength.set(length, [...(byLength.get(length) ?? []), sequence]);
    }
    let elapsed = 0;
    for (const [length, group] of byLength) {
      const most = this.#prefillBatch(length);
      for (let at = 0; at < group.length; at += most) {
        const prefilled = this.#prefill(group.slice(at, at + most), length);
        waiting.push(
          prefilled.then((one) => {
            elapsed += one;
          }),
        );
      }
    }
    await Promise.all(waiting);
    const ended = new Set(sequences.filter(({ search }) => search.maximum === 0));
    if (drafted.length > 0) {
      this.#entries = null;
      const found = await verify(this.#device, this.#programs, drafted);
      elapsed += found.elapsed;
      for (const { sequence, ended: done, ...start } of found.verified) {
        this.#starts.set(sequence, start);
        if (done) ended.add(sequence);
      }
    }
    return { elapsed, ended: [...ended] };
  }

  /**
   * Prompts that are read at once. On a CPU no more tokens than the kernels of a step take, which compute each row as if it were alone; on a
   * GPU no more than an encoder's window has positions, which bounds the memory.
   */
  #prefillBatch(length: number): number {
    const { sourcePositions, targetPositions } = this.#parts.checkpoint.config;
    const tokens = this.#device.kind === 'cpu' ? cpuPrefillTokens : Math.max(sourcePositions, targetPositions);
    return Math.min(this.rows, 2 ** Math.floor(Math.log2(Math.max(1, tokens / length))));
  }

  async #prefill(sequences: readonly Running[], length: number): Promise<number> {
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
    const [, { elapsed }, [silences, ...all]] = await Promise.all([
      this.#device.transfer({
        writes: [
          [rows, entries],
          [startRows, starts],
        ],
      }),
      program.replay(),
      this.#device.transfer({
        reads: [[noSpeech], ...wanting.map((i) => [logits, i * vocabulary, vocabulary] as const)],
      }),
    ]);
    sequences.forEach((sequence, i) => {
      const startLogits = all[wanting.indexOf(i)] as Float32Array | undefined;
      this.#starts.set(sequence, { noSpeechProbability: silences[i], startLogits });
    });
    return elapsed;
  }

  async step(
    sequences: readonly Running[],
    { times, stop }: { times: number; stop: AbortSignal },
  ): Promise<{ elapsed: number; steps: number; ended: Running[] }> {
    const count = sequences.reduce((sum, { rows }) => sum + rows.count, 0);
    const some = (wanted: (search: Search) => boolean) => sequences.some(({ search }) => wanted(search));
    const parts: StepParts = {
      beams: some(({ beams }) => beams > 1),
      words: some(({ words }) => words),
      top: some(({ top }) => top > 0),
    };
    const size = sizeFor(count, this.rows);
    const { rows, leaders, program } = this.#programs.step(size, parts);
    const { finished } = this.#programs.pool.state;
    const [, { times: steps, elapsed }, [flags]] = await Promise.all([
      this.#writeEntries(sequences, size, rows, leaders),
      program.replay({ times, until: { flags: finished, when: 'any' }, stop }),
      this.#device.transfer({ reads: [[finished]] }),
    ]);
    return { elapsed, steps, ended: sequences.filter((sequence) => flags[sequence.rows.first] !== 0) };
  }

  /** Says which rows the entries of a step are, where that has changed. */
  async #writeEntries(sequences: readonly Running[], size: number, rows: Tensor, leaders: Tensor): Promise<void> {
    const entries = new Int32Array(2 * size).fill(-1, 0, size);
    let at = 0;
    for (const { rows: own } of sequences) {
      for (let beam = 0; beam < own.count; ++beam, ++at) {
        entries[at] = own.first + beam;
        entries[size + at] = own.count === 1 ? 0 : beam === 0 ? own.count : -1;
      }
    }
    const last = this.#entries;
    if (last?.length === entries.length && last.every((entry, i) => entry === entries[i])) return;
    this.#entries = entries;
    await this.#device.transfer({
      writes: [
        [rows, entries.subarray(0, size)],
        [leaders, entries.subarray(size)],
      ],
    });
  }

  async written(sequences: readonly Running[]): Promise<Written[]> {
    const { state, capacity } = this.#programs.pool;
    const data = await this.#device.transfer({
      reads: sequences.flatMap(({ rows: { first } }) => [
        [state.tokens, first * capacity, capacity] as const,
        [state.logProbability, first * capacity, capacity] as const,
        [state.length, first, 1] as const,
      ]),
    });
    return sequences.map((sequence, i) => {
      const [tokens, logs, [length]] = data.slice(3 * i, 3 * i + 3);
      const { prompt, prefix = [] } = sequence.search;
      return {
        tokens: Array.from(tokens.subarray(prompt.length, length)),
        logProbabilities: Array.from(logs.subarray(prompt.length + prefix.length, length)),
        noSpeechProbability: this.#starts.get(sequence)!.noSpeechProbability,
      };
    });
  }

  async collect(sequences: readonly Running[]): Promise<Found[]> {
    const { pool } = this.#programs;
    const reads = sequences.map(({ rows }) => pool.reads(rows));
    const data = await this.#device.transfer({
      writes: sequences.map(({ rows }) => pool.clears(rows)),
      reads: reads.flat(),
    });
    const { endToken } = this.#parts.checkpoint.generation;
    const found: Found[] = [];
    let at = 0;
    for (const [index, sequence] of sequences.entries()) {
      const own = data.slice(at, at + reads[index].length);
      at += own.length;
      const { search } = sequence;
      found.push(
        await this.#found(sequence, likeliest(pool.candidates(sequence, own, endToken), search.lengthPenalty)),
      );
    }
    return found;
  }

  async #found(sequence: Running, candidate: Candidate): Promise<Found> {
    const { pool } = this.#programs;
    const { search, slot } = sequence;
    const { rows, ...rest } = candidate;
    const start = this.#starts.get(sequence)!;
    const found: Found = { ...rest, ...start };
    if (search.top > 0) {
      found.top = pool.ranked(await this.#device.transfer({ reads: pool.topReads(search, candidate) }));
    }
    if (search.words) found.times = await this.#programs.alignment.run(search, candidate, slot.positions);
    return found;
  }

  async release(sequences: readonly Running[]): Promise<void> {
    await this.#device.transfer({ writes: sequences.map(({ rows }) => this.#programs.pool.clears(rows)) });
  }

  /** Logits of every position of given tokens: writes them to `output`, float32 [1, length, vocabulary]. */
  async logits({ first }: Rows, slot: Slot, tokens: readonly number[], output: Tensor): Promise<void> {
    const { pool } = this.#programs;
    const { rows, program } = this.#programs.logits(tokens.length, output);
    this.#entries = null;
    try {
      await Promise.all([
        this.#device.transfer({
          writes: [
            [pool.state.tokens, Int32Array.from(tokens), first * pool.capacity],
            [pool.audio.begin, Int32Array.of(slot.begin), first],
            [pool.audio.count, Int32Array.of(slot.positions), first],
            [pool.scoreRow, Int32Array.of(-1), first],
            [rows, Int32Array.of(first)],
          ],
        }),
        program.run(),
      ]);
    } finally {
      program.dispose();
    }
  }

  /** The highest log10 power of one window's samples, and of what came before. */
  async measurePeak(samples: Float32Array, peak: number): Promise<number> {
    const { samples: into, peaks, program } = this.#programs.features();
    const [, , [found]] = await Promise.all([
      this.#device.transfer({
        writes: [
          [into, samples],
          [peaks, Float32Array.of(peak)],
        ],
      }),
      program.run(),
      this.#device.transfer({ reads: [[peaks, 0, 1]] }),
    ]);
    return found[0];
  }

  /** For one window that does not come from samples; made when it is first wanted. */
  #encodedTensor(): Tensor {
    const { sourcePositions, width } = this.#parts.checkpoint.config;
    this.#encoded ??= this.#device.tensor(this.#parts.dtype, [1, sourcePositions, width]);
    return this.#encoded;
  }

  /** Features of windows, each of `windowSamples`: float32 [windows, mels, frames], the caller's own. */
  async features(windows: readonly Float32Array[], signal?: AbortSignal): Promise<Tensor> {
    const { samples, peaks, features, program } = this.#programs.features();
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

  /** The encoder's output for features [windows, mels, frames]: [windows, positions, width] in the model's dtype, the caller's own. */
  async encodeFeatures(given: Tensor, signal?: AbortSignal): Promise<Tensor> {
    const { features } = this.#programs.features();
    const encoded = this.#encodedTensor();
    const program = this.#programs.encoder(encoded);
    const result = this.#device.tensor(encoded.dtype, [given.shape[0], ...encoded.shape.slice(1)]);
    return this.#filled(result, given.shape[0], (index) => [
      this.#device.copy(given, features, { fromElement: index * features.size, count: features.size }),
      program.run({ signal }),
      this.#device.copy(encoded, result, { toElement: index * encoded.size, count: encoded.size }),
    ]);
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
    this.#encoded?.dispose();
  }
}
