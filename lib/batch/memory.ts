/** A queue in memory, for a single process. After a restart, the stored results show which recordings are done. */
import {
  type BatchProgress,
  type Chosen,
  type Claim,
  type Counts,
  type Done,
  type Failure,
  isChosen,
  type Queue,
  type Recording,
  retryDelay,
  type Summary,
} from './queue.js';

type State = 'waiting' | 'delayed' | 'active' | 'done' | 'failed' | 'cancelled';

interface Entry {
  recording: Recording;
  state: State;
  failures: number;
  attempt: number;
  reason: string;
  progress: BatchProgress | null;
  done: Done | null;
  /** When it may be claimed, on the clock of `performance.now()`: the time of day may be set while it waits. */
  readyAt: number;
}

export interface MemoryQueueOptions {
  /** Failures after which a recording is set aside. */
  attempts?: number;
  /** Milliseconds before the next attempt, by the number of failures. */
  pause?: (failures: number) => number;
  /** Milliseconds for which `claim` waits for work. */
  wait?: number;
}

export class MemoryQueue implements Queue {
  readonly isShared = false;
  readonly #entries = new Map<string, Entry>();
  /** Waiting entries, the longest last. Some may be cancelled. */
  #waiting: Entry[] = [];
  #sorted = true;
  /** Failed entries that wait for a retry. */
  readonly #delayed = new Set<Entry>();
  readonly #agreed = new Map<string, string>();
  readonly #attempts: number;
  readonly #pause: (failures: number) => number;
  readonly #wait: number;
  #wake: (() => void) | null = null;

  constructor({ attempts = 5, pause = retryDelay, wait = 1000 }: MemoryQueueOptions = {}) {
    this.#attempts = attempts;
    this.#pause = pause;
    this.#wait = wait;
  }

  async add(recordings: readonly Recording[]): Promise<{ added: number; known: number; setAside: number }> {
    let added = 0;
    let setAside = 0;
    for (const recording of recordings) {
      const existing = this.#entries.get(recording.id);
      if (existing && existing.state !== 'cancelled') {
        if (existing.state === 'failed') setAside += 1;
        continue;
      }
      const initial = { failures: 0, attempt: 0, reason: '', progress: null, done: null, readyAt: 0 };
      const entry: Entry = { recording, state: 'waiting', ...initial };
      this.#entries.set(recording.id, entry);
      this.#enqueue(entry);
      added += 1;
    }
    this.#wake?.();
    return { added, known: recordings.length - added, setAside };
  }

  #enqueue(entry: Entry): void {
    entry.state = 'waiting';
    this.#waiting.push(entry);
    this.#sorted = false;
  }

  /** The longest waiting entry that may be claimed now. */
  #dequeue(): Entry | null {
    const now = performance.now();
    for (const entry of this.#delayed) {
      if (entry.state !== 'delayed' || entry.readyAt <= now) this.#delayed.delete(entry);
      if (entry.state === 'delayed' && entry.readyAt <= now) this.#enqueue(entry);
    }
    if (!this.#sorted) this.#waiting.sort((a, b) => a.recording.bytes - b.recording.bytes);
    this.#sorted = true;
    for (;;) {
      const entry = this.#waiting.pop();
      if (entry === undefined) return null;
      if (entry.state === 'waiting') return entry;
    }
  }

  async claim(): Promise<Claim | null> {
    const deadline = performance.now() + this.#wait;
    for (;;) {
      const entry = this.#dequeue();
      if (entry) return this.#claimOf(entry);
      const remaining = deadline - performance.now();
      if (remaining <= 0) return null;
      await new Promise<void>((resolve) => {
        this.#wake = resolve;
        setTimeout(resolve, Math.min(remaining, 200));
      });
    }
  }

  #claimOf(entry: Entry): Claim {
    entry.state = 'active';
    entry.attempt += 1;
    entry.progress = null;
    const { attempt } = entry;
    /** Ends the claim with a change. False if the entry was cancelled meanwhile. */
    const endClaim = async (change: () => void) => {
      if (entry.state !== 'active' || entry.attempt !== attempt) return false;
      change();
      this.#wake?.();
      return true;
    };
    const setAside = (reason: string) => Object.assign(entry, { state: 'failed', reason });
    return {
      recording: entry.recording,
      attempt,
      lock: 30_000,
      extend: async (progress) => {
        if (entry.state === 'cancelled') return 'cancelled';
        entry.progress = progress ?? entry.progress;
        return 'held';
      },
      acknowledge: (summary: Summary) =>
        endClaim(() => Object.assign(entry, { state: 'done', done: { at: Date.now(), summary } })),
      fail: (reason) =>
        endClaim(() => {
          entry.failures += 1;
          if (entry.failures >= this.#attempts) setAside(reason);
          else {
            Object.assign(entry, {
              state: 'delayed',
              reason,
              readyAt: performance.now() + this.#pause(entry.failures),
            });
            this.#delayed.add(entry);
          }
        }),
      setAside: (reason) =>
        endClaim(() => {
          entry.failures += 1;
          setAside(reason);
        }),
      release: () => endClaim(() => this.#enqueue(entry)),
    };
  }

  #in(state: State): Entry[] {
    return [...this.#entries.values()].filter((entry) => entry.state === state);
  }

  async counts(): Promise<Counts> {
    const counts = { waiting: 0, delayed: 0, active: 0, done: 0, failed: 0 };
    for (const { state } of this.#entries.values()) if (state !== 'cancelled') counts[state] += 1;
    return counts;
  }

  async failures(limit = 1000): Promise<Failure[]> {
    return this.#in('failed')
      .slice(-limit)
      .reverse()
      .map(({ recording: { id, source, name }, reason, failures }) => ({
        id,
        source,
        name,
        reason,
        attempts: failures,
      }));
  }

  async done(limit = 1000): Promise<Done[]> {
    const done = this.#in('done').map((entry) => entry.done!);
    return done.sort((a, b) => b.at - a.at).slice(0, limit);
  }

  async active(): Promise<{ recording: Recording; progress: BatchProgress | null }[]> {
    return this.#in('active').map(({ recording, progress }) => ({ recording, progress }));
  }

  async retry(chosen: Chosen): Promise<number> {
    const selected = this.#in('failed').filter(({ recording }) => isChosen(chosen, recording));
    for (const entry of selected) {
      entry.failures = 0;
      this.#enqueue(entry);
    }
    this.#wake?.();
    return selected.length;
  }

  async cancel(chosen: Chosen): Promise<number> {
    const selected = [...this.#in('waiting'), ...this.#in('delayed'), ...this.#in('active')].filter(({ recording }) =>
      isChosen(chosen, recording),
    );
    for (const entry of selected) entry.state = 'cancelled';
    return selected.length;
  }

  async agree(name: string, value: string): Promise<string> {
    if (!this.#agreed.has(name)) this.#agreed.set(name, value);
    return this.#agreed.get(name)!;
  }

  async close(): Promise<void> {}
}
