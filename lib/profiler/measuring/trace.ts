/**
 * Traces that chrome://tracing and ui.perfetto.dev open: a track for each program, its operations one after another.
 */
import { writeFile } from 'node:fs/promises';
import type { OperationTime } from '../../device/program.js';
import { OneheadError } from '../../errors.js';

/** One event of the Trace Event Format. */
export interface TraceEvent {
  name: string;
  ph: 'X' | 'M';
  pid: number;
  tid: number;
  /** Microseconds. */
  ts?: number;
  dur?: number;
  cat?: string;
  args?: Record<string, string | number>;
}

/** Collects programs' operations as events of the Trace Event Format. */
export class TraceFile {
  readonly #events: TraceEvent[] = [];
  #tracks = 0;

  /** Operations as `Program.trace` gives them: each begins where the one before it ends. */
  add(track: string, operations: readonly OperationTime[]): void {
    const tid = ++this.#tracks;
    const place = { pid: 1, tid };
    this.#events.push({ name: 'thread_name', ph: 'M', ...place, args: { name: track } });
    this.#events.push({ name: 'thread_sort_index', ph: 'M', ...place, args: { sort_index: tid } });
    let ts = 0;
    for (const { name, label, microseconds, parts } of operations) {
      this.#events.push({ name, cat: 'operation', ph: 'X', ...place, ts, dur: microseconds, args: { label } });
      let begin = ts;
      for (const part of parts ?? []) {
        this.#events.push({ name: part.name, cat: 'stage', ph: 'X', ...place, ts: begin, dur: part.microseconds });
        begin += part.microseconds;
      }
      ts += microseconds;
    }
  }

  toJSON(): { displayTimeUnit: string; traceEvents: TraceEvent[] } {
    return { displayTimeUnit: 'ns', traceEvents: this.#events };
  }

  async write(file: string): Promise<void> {
    try {
      await writeFile(file, JSON.stringify(this));
    } catch (cause) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Cannot write ${file}: ${(cause as Error).message}; name another file.`,
        {
          cause,
        },
      );
    }
  }
}
