/** Reads word times from Praat's TextGrid, NIST's CTM, and JSON of several aligners and of transcriptions. */
import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { reasonOf, shown } from '../errors.js';
import { readCtm } from './alignments/ctm.js';
import { readJson } from './alignments/json.js';
import { readTextGrid } from './alignments/textgrid.js';
import { type AlignmentOptions, invalidAlignment, type TimedWord } from './alignments/timed-word.js';

/** Extensions of files that `readAlignment` can read, in the order in which they are tried. */
export const alignmentExtensions = ['.TextGrid', '.textgrid', '.ctm', '.json'];

const silenceLabels = new Set(['', 'sil', 'sp', 'spn', 'silence', 'pause', '#', '-']);

/** The word of an aligner's label, without the number of a pronunciation as in and(2); null for silence and noise. */
function wordOfLabel(label: string): string | null {
  const word = label
    .trim()
    .replace(/\(\d+\)$/, '')
    .trim();
  return silenceLabels.has(word.toLowerCase()) || /^(<.*>|\[.*\]|\{.*\}|\(.*\))$/s.test(word) ? null : word;
}

/** Decodes UTF-8, or UTF-16 as Praat writes it, with or without a byte order mark. */
function decodeText(bytes: Uint8Array, name: string): string {
  const [first, second] = bytes;
  const bigEndian = (first === 0xfe && second === 0xff) || (first === 0 && second !== 0);
  const littleEndian = (first === 0xff && second === 0xfe) || (second === 0 && first !== 0);
  const encoding = bigEndian ? 'utf-16be' : littleEndian ? 'utf-16le' : 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw invalidAlignment(`${shown(name)} is not text in UTF-8 or UTF-16; save it in one of these.`);
  }
}

/**
 * Parses the words in a file, and sorts them by time. The extension of `name` determines the format. Labels of
 * silences, of noise and of several words are left out. Throws OneheadError INVALID_ARGUMENT.
 */
export function parseAlignment(name: string, bytes: Uint8Array, options: AlignmentOptions = {}): TimedWord[] {
  const extension = extname(name).toLowerCase();
  const readers = { '.textgrid': readTextGrid, '.ctm': readCtm, '.json': readJson };
  if (!Object.hasOwn(readers, extension)) {
    throw invalidAlignment(
      `The format of ${shown(name)} is not supported; word times can be read from .TextGrid, .ctm and .json files.`,
    );
  }
  const text = decodeText(bytes, name);
  const labels = readers[extension as keyof typeof readers](text, shown(name), options);
  const words = labels.flatMap(({ word: label, start, end }): TimedWord[] => {
    const word = wordOfLabel(label);
    if (word === null || /\s/.test(word)) return [];
    if (!(Number.isFinite(start) && Number.isFinite(end) && start >= 0 && end >= start)) {
      throw invalidAlignment(
        `${shown(name)}: the word '${shown(word, 60)}' lasts from ${shown(start, 30)} to ${shown(end, 30)} s; give times in seconds, with each end after its start.`,
      );
    }
    return [{ word, start, end }];
  });
  return words.sort((a, b) => a.start - b.start || a.end - b.end);
}

/** Reads the words in a file, like `parseAlignment`. Throws OneheadError INVALID_ARGUMENT. */
export async function readAlignment(path: string, options: AlignmentOptions = {}): Promise<TimedWord[]> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw invalidAlignment(`Cannot read the word times in ${shown(basename(path))}: ${reasonOf(cause)}.`);
  });
  return parseAlignment(path, bytes, options);
}

export type { AlignmentOptions, TimedWord } from './alignments/timed-word.js';
