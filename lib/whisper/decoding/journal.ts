/** The journal of a transcription: the results of its windows, from which an interrupted transcription continues. */

/**
 * Stores the results of windows. A transcription that is run again with the same audio, model and options uses stored
 * results instead of decoding, so its result is the same as without the interruption.
 */
export interface Journal {
  /** The stored result of a window, or undefined. */
  find(window: string): string | undefined;
  /** Stores the result of a window, a text of about 1 kB. */
  keep(window: string, result: string): void;
}

/** Returns the name of a window in a journal: a hash of everything that distinguishes windows of one transcription. */
export function journalName(...parts: readonly unknown[]): string {
  // Not imported: node:crypto takes 2 MiB of memory, and most processes have no journal.
  const { createHash } = process.getBuiltinModule('node:crypto');
  return createHash('sha256').update(JSON.stringify(parts)).digest('hex').slice(0, 24);
}

const numberPrefix = 'number:';

/**
 * Converts a result to JSON. Infinity (from log-probabilities of suppressed tokens), which JSON lacks, becomes a
 * string.
 */
export function writeEntry(value: unknown): string {
  return JSON.stringify(value, (_, item: unknown) =>
    typeof item === 'number' && !Number.isFinite(item) ? `${numberPrefix}${item}` : item,
  );
}

/** Parses the text of `writeEntry`. Returns undefined if it is incomplete. */
export function readEntry<T>(text: string): T | undefined {
  try {
    return JSON.parse(text, (_, item: unknown) =>
      typeof item === 'string' && item.startsWith(numberPrefix) ? Number(item.slice(numberPrefix.length)) : item,
    ) as T;
  } catch {
    return undefined;
  }
}

/** Returns a separate part of a journal, for one of several concurrent transcriptions. */
export function journalPart(journal: Journal, part: string): Journal {
  return {
    find: (window) => journal.find(`${part} ${window}`),
    keep: (window, result) => journal.keep(`${part} ${window}`, result),
  };
}
