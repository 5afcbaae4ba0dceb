/** What the windows of a transcription gave, kept so that one that was broken off can go on where it was. */
import { createHash } from 'node:crypto';

/**
 * Where windows' results are kept. A transcription that is begun again with the same audio, model and options takes
 * what it finds there instead of decoding, so its result is that of one that was never broken off.
 */
export interface Journal {
  /** What was kept for a window, undefined where nothing was. */
  find(window: string): string | undefined;
  /** Keeps what a window gave: a text, about 1 kB of it. */
  keep(window: string, found: string): void;
}

/** A window's name in a journal: all that two windows of one transcription may differ in. */
export function journalName(...parts: readonly unknown[]): string {
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24);
}

const mark = 'number:';

/** JSON has no word for infinity, which a suppressed token's log-probability is. */
export function writeEntry(value: unknown): string {
  return JSON.stringify(value, (_, one) =>
    typeof one === 'number' && !Number.isFinite(one) ? `${mark}${one}` : (one as unknown),
  );
}

/** Undefined for a text that `writeEntry` did not write whole. */
export function readEntry<T>(text: string): T | undefined {
  try {
    return JSON.parse(text, (_, one) =>
      typeof one === 'string' && one.startsWith(mark) ? Number(one.slice(mark.length)) : (one as unknown),
    ) as T;
  } catch {
    return undefined;
  }
}

/** A part of a journal, for one of several that run side by side. */
export function journalWithin(journal: Journal, part: string): Journal {
  return {
    find: (window) => journal.find(`${part} ${window}`),
    keep: (window, found) => journal.keep(`${part} ${window}`, found),
  };
}
