/** The journal of a transcription: the results of its windows, by which an interrupted transcription is resumed. */
import { createHash } from 'node:crypto';

/**
 * Stores the results of windows. A transcription that is run again with the same audio, model and options takes stored
 * results instead of decoding, so its result is that of an uninterrupted one.
 */
export interface Journal {
  /** The stored result of a window, or undefined. */
  find(window: string): string | undefined;
  /** Stores the result of a window: a text of about 1 kB. */
  keep(window: string, found: string): void;
}

/** The name of a window in a journal: a hash of everything in which two windows of one transcription may differ. */
export function journalName(...parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24);
}

const mark = 'number:';

/** Writes JSON, which has no infinity: the log-probability of a suppressed token. */
export function writeEntry(value: unknown): string {
  return JSON.stringify(value, (_, one) =>
    typeof one === 'number' && !Number.isFinite(one) ? `${mark}${one}` : (one as unknown),
  );
}

/** Returns undefined for a text that `writeEntry` did not write whole. */
export function readEntry<T>(text: string): T | undefined {
  try {
    return JSON.parse(text, (_, one) =>
      typeof one === 'string' && one.startsWith(mark) ? Number(one.slice(mark.length)) : (one as unknown),
    ) as T;
  } catch {
    return undefined;
  }
}

/** A separate part of a journal, for one of several transcriptions side by side. */
export function journalWithin(journal: Journal, part: string): Journal {
  return {
    find: (window) => journal.find(`${part} ${window}`),
    keep: (window, found) => journal.keep(`${part} ${window}`, found),
  };
}
