/**
 * Trace files for chrome://tracing and ui.perfetto.dev: a track for each program, with its operations in sequence.
 */

import { listOf } from '../../checks.js';
import type { OperationTime } from '../../device/program.js';
import { writeNamed } from '../../whole-file.js';
import { requirePath } from '../io-model/arguments.js';

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

/** Collects operations of programs as events of the Trace Event Format. */
export class TraceFile {
  readonly #events: TraceEvent[] = [];
  #tracks = 0;

  /** Adds a track of operations, a result of `Program.trace`; each begins where the previous one ends. */
  add(track: string, operations: readonly OperationTime[]): void {
    listOf('operations', operations);
    const tid = ++this.#tracks;
    const ids = { pid: 1, tid };
    this.#events.push({ name: 'thread_name', ph: 'M', ...ids, args: { name: track } });
    this.#events.push({ name: 'thread_sort_index', ph: 'M', ...ids, args: { sort_index: tid } });
    let ts = 0;
    for (const { name, label, microseconds, parts } of operations) {
      this.#events.push({ name, cat: 'operation', ph: 'X', ...ids, ts, dur: microseconds, args: { label } });
      let begin = ts;
      for (const part of parts ?? []) {
        this.#events.push({ name: part.name, cat: 'stage', ph: 'X', ...ids, ts: begin, dur: part.microseconds });
        begin += part.microseconds;
      }
      ts += microseconds;
    }
  }

  toJSON(): { displayTimeUnit: string; traceEvents: TraceEvent[] } {
    return { displayTimeUnit: 'ns', traceEvents: this.#events };
  }

  /** Writes the file. Throws OneheadError INVALID_ARGUMENT if that fails. */
  async write(file: string): Promise<void> {
    requirePath('file', file);
    await writeNamed(file, JSON.stringify(this));
  }
}
