/** Reads words with times from Praat's TextGrid, NIST's CTM, and the JSON of several aligners and of transcriptions. */
import { readFile } from 'node:fs/promises';
import { basename, extname } from 'node:path';
import { reasonOf, shown } from '../errors.js';
import { readCtm } from './alignments/ctm.js';
import { readJson } from './alignments/json.js';
import { readTextGrid } from './alignments/textgrid.js';
import { type AlignmentOptions, invalidAlignment, type TimedWord } from './alignments/timed-word.js';

/** Endings of the files that `readAlignment` can read, in the order in which they are looked for. */
export const alignmentEndings = ['.TextGrid', '.textgrid', '.ctm', '.json'];

const silences = new Set(['', 'sil', 'sp', 'spn', 'silence', 'pause', '#', '-']);

/**
 * The word of an aligner's label; null for silence and for noise in brackets. The number of a pronunciation, as in
 * and(2), is removed.
 */
function spoken(label: string): string | null {
  const word = label
    .trim()
    .replace(/\(\d+\)$/, '')
    .trim();
  return silences.has(word.toLowerCase()) || /^(<.*>|\[.*\]|\{.*\}|\(.*\))$/s.test(word) ? null : word;
}

/** Decodes UTF-8, or UTF-16 as Praat writes it, with or without a byte order mark. */
function decodeText(bytes: Uint8Array, name: string): string {
  const [first, second] = bytes;
  const swapped = (first === 0xfe && second === 0xff) || (first === 0 && second !== 0);
  const wide = (first === 0xff && second === 0xfe) || (second === 0 && first !== 0);
  const encoding = swapped ? 'utf-16be' : wide ? 'utf-16le' : 'utf-8';
  try {
    return new TextDecoder(encoding, { fatal: true }).decode(bytes);
  } catch {
    throw invalidAlignment(`${shown(name)} is not text in UTF-8 or UTF-16; save it in one of these.`);
  }
}

/**
 * The words in a file's bytes, in order of time. The ending of `name` gives the format; messages name it. Silences and
 * labels of several words are left out, so a file of phrases only has no words. Throws OneheadError INVALID_ARGUMENT.
 */
export function parseAlignment(name: string, bytes: Uint8Array, options: AlignmentOptions = {}): TimedWord[] {
  const ending = extname(name).toLowerCase();
  const readers = { '.textgrid': readTextGrid, '.ctm': readCtm, '.json': readJson };
  if (!Object.hasOwn(readers, ending)) {
    throw invalidAlignment(
      `${shown(name)} is not in a format of word times that can be read; give a .TextGrid, .ctm or .json file.`,
    );
  }
  const text = decodeText(bytes, name);
  const labels = readers[ending as keyof typeof readers](text, shown(name), options);
  const words = labels.flatMap((one): TimedWord[] => {
    const word = spoken(one.word);
    if (word === null || /\s/.test(word)) return [];
    const { start, end } = one;
    if (!(Number.isFinite(start) && Number.isFinite(end) && start >= 0 && end >= start)) {
      throw invalidAlignment(
        `${shown(name)}: the word '${shown(word, 60)}' lasts from ${shown(start, 30)} to ${shown(end, 30)} s; give times in seconds, with each end after its start.`,
      );
    }
    return [{ word, start, end }];
  });
  return words.sort((a, b) => a.start - b.start || a.end - b.end);
}

/** The words in a file, like `parseAlignment`. Throws OneheadError INVALID_ARGUMENT. */
export async function readAlignment(path: string, options: AlignmentOptions = {}): Promise<TimedWord[]> {
  const bytes = await readFile(path).catch((cause: unknown) => {
    throw invalidAlignment(`Cannot read the word times in ${shown(basename(path))}: ${reasonOf(cause)}.`);
  });
  return parseAlignment(path, bytes, options);
}

export type { AlignmentOptions, TimedWord } from './alignments/timed-word.js';
