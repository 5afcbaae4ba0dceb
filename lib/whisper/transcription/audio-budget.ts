/**
 * Bounds the decoded audio that a model's transcriptions hold. A long recording is read ten minutes ahead, so many open
 * calls would hold far more than those that the device can work on. A call beyond the budget waits for others to end
 * before it reads on; its text does not depend on that. What less urgent calls hold does not count: a recording of
 * hours holds its part until it ends, and those of a backlog would keep all others waiting.
 */
import { totalmem } from 'node:os';
import type { Source } from '../../audio/index.js';
import { type Priority, priorities } from '../../engine/request.js';
import { onAbort } from '../../signals.js';
import type { WhisperModel } from '../decoding/whisper-model.js';

interface Waiting {
  size: number;
  admit(): void;
}

/** A number of samples that is shared among calls. */
export class AudioBudget {
  /** The samples of all calls of a priority and of more urgent ones together. */
  total: number;
  /** By priority. */
  readonly #used = priorities.map(() => 0);
  /** By priority, and within one in order of arrival. */
  readonly #waiting: Waiting[][] = priorities.map(() => []);

  constructor(total: number) {
    this.total = total;
  }

  /**
   * Reserves samples, and returns a function that gives them back. A call that needs more than all waits until no call
   * of its priority or a more urgent one holds any. No call overtakes an earlier one of its priority. Rejects with the
   * signal's reason.
   */
  async reserve(samples: number, priority: Priority, signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    const size = Math.min(samples, this.total);
    const index = priorities.indexOf(priority);
    const queue = this.#waiting[index];
    await new Promise<void>((resolve, reject) => {
      const entry: Waiting = { size, admit };
      function admit() {
        stopListening();
        resolve();
      }
      const stopListening = onAbort(signal, () => {
        queue.splice(queue.indexOf(entry), 1);
        reject(signal.reason);
        this.#admit(); // those behind it may be smaller
      });
      queue.push(entry);
      this.#admit();
    });
    let isHeld = true;
    return () => {
      if (!isHeld) return;
      isHeld = false;
      this.#used[index] -= size;
      this.#admit();
    };
  }

  #admit(): void {
    for (;;) {
      const index = this.#waiting.findIndex(({ length }) => length > 0);
      if (index < 0) return;
      const used = this.#used.slice(0, index + 1).reduce((sum, each) => sum + each, 0);
      const [first] = this.#waiting[index];
      if (used + first.size > this.total) return;
      this.#waiting[index].shift();
      this.#used[index] += first.size;
      first.admit();
    }
  }
}

/** Seconds of audio that each call reads without a reservation. */
const freeSeconds = 30;

const budgets = new WeakMap<WhisperModel, AudioBudget>();

/** A quarter of the memory that this process may use, in samples of float32. */
function quarterOfMemory(): number {
  const limit = process.constrainedMemory?.() || Number.POSITIVE_INFINITY; // of the container; 0 where none is known
  return Math.floor(Math.min(totalmem(), limit) / 4 / Float32Array.BYTES_PER_ELEMENT);
}

/**
 * The budget of a model: a quarter of the memory, so that a recording of a minute rarely waits for those of hours, but
 * at least as many recordings of any length as the model holds windows, and two more that are being read. `seconds` are
 * those of one recording.
 */
export function budgetOf(model: WhisperModel, seconds: number): AudioBudget {
  let budget = budgets.get(model);
  if (!budget) {
    const needed = (model.windows + 2) * seconds * model.checkpoint.preprocessor.sampleRate;
    budget = new AudioBudget(Math.max(needed, quarterOfMemory()));
    budgets.set(model, budget);
  }
  return budget;
}

/** The samples of a chunk, of one channel or of several. */
const sizeOf = (chunk: Float32Array | Float32Array[]): number =>
  Array.isArray(chunk) ? chunk.length * (chunk[0]?.length ?? 0) : chunk.length;

/**
 * The same recording, of which no more than `freeSeconds` are read before the budget has room for `seconds` of each
 * channel, whatever length the recording states. `wait` runs the wait, and may end it by a signal. The reservation ends
 * when the recording is closed.
 */
export function withBudget<T extends Float32Array | Float32Array[]>(
  source: Source<T>,
  budget: AudioBudget,
  seconds: number,
  sampleRate: number,
  {
    priority = 'interactive',
    signal,
    wait,
  }: {
    priority?: Priority;
    signal?: AbortSignal;
    wait<Result>(work: (late: AbortSignal) => Promise<Result>): Promise<Result>;
  },
): Source<T> {
  const closed = new AbortController();
  let giveBack = () => {};
  async function* chunks() {
    let read = 0;
    let isReserved = false;
    for await (const chunk of source.chunks()) {
      read += sizeOf(chunk);
      if (!isReserved && read > freeSeconds * sampleRate) {
        isReserved = true;
        const channels = Array.isArray(chunk) ? chunk.length : 1;
        const signals = signal ? [signal, closed.signal] : [closed.signal];
        giveBack = await wait((late) =>
          budget.reserve(seconds * sampleRate * channels, priority, AbortSignal.any([...signals, late])),
        );
        if (closed.signal.aborted) giveBack();
      }
      yield chunk;
    }
  }
  return {
    chunks,
    duration: source.duration,
    ownsChunks: source.ownsChunks,
    get warnings() {
      return source.warnings;
    },
    get incomplete() {
      return source.incomplete;
    },
    get tracks() {
      return source.tracks;
    },
    get startTime() {
      return source.startTime;
    },
    async close() {
      closed.abort();
      giveBack();
      await source.close();
    },
  };
}
