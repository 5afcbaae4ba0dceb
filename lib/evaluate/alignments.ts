/** Files of words' times, as aligners write them: Praat's TextGrid (MFA), CTM, and the JSON of gentle, pocketsphinx and Whisper. */
import { readFile } from 'node:fs/promises';
import { extname } from 'node:path';
import { OneheadError } from '../errors.js';

/** A word and when it was said, in seconds from the recording's start. */
export interface TimedWord {
  word: string;
  start: number;
  end: number;
}

/** What aligners write where nobody speaks, or for what they do not know. */
const noWords = new Set(['', 'sp', 'sil', 'spn', '<eps>', '<sil>', '<s>', '</s>', '<unk>', '[noise]', '++noise++']);

/** Labels of one word that takes time. Whole sentences are left out: when their words were said is not known. */
function onlyWords(labels: readonly TimedWord[]): TimedWord[] {
  return labels
    .map(({ word, start, end }) => ({ word: word.trim(), start, end }))
    .filter(
      ({ word, start, end }) => !noWords.has(word.toLowerCase()) && !/\s/.test(word) && start >= 0 && end > start,
    );
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
const list = (value: unknown): Record<string, unknown>[] => (Array.isArray(value) ? value.filter(isRecord) : []);

/** gentle: {words: [{word, case, start, end}]}; Whisper: {segments: [{words}]} or {words}; pocketsphinx: {w: [{t, b, d}]}; or a plain list. */
function fromJson(content: unknown): TimedWord[] {
  const top = isRecord(content) ? content : {};
  if (Array.isArray(top.w)) {
    return list(top.w).map(({ t, b, d }) => ({
      word: String(t).replace(/\(\d+\)$/, ''), // the number of its pronunciation
      start: Number(b),
      end: Number(b) + Number(d),
    }));
  }
  const words = [content, top.words, ...list(top.segments).map((segment) => segment.words)].flatMap(list);
  return words
    .filter(({ start, end }) => start !== undefined && end !== undefined) // gentle: those that it did not find
    .map(({ word, text, start, end }) => ({ word: String(word ?? text), start: Number(start), end: Number(end) }));
}

/** Lines of a recording's name, a channel, a start, a duration and a word. */
function fromCtm(text: string): TimedWord[] {
  return text.split(/\r?\n/).flatMap((line): TimedWord[] => {
    const [, , start, duration, word] = line.trim().split(/\s+/);
    if (line.startsWith(';;') || word === undefined) return [];
    return [{ word, start: Number(start), end: Number(start) + Number(duration) }];
  });
}

/**
 * Praat's text files, long and short: both are strings and numbers in one order, with names between them that only the long form has.
 * The words are those of the tier whose name says so ('words', 'Anna - words'), else of the first.
 */
function fromTextGrid(text: string): TimedWord[] {
  const values = [...text.matchAll(/"((?:[^"]|"")*)"|<\w+>|(?<![\w[.])-?\d+(?:\.\d+)?(?:e-?\d+)?(?![\w\]])/gi)];
  const tokens = values.map(([whole, quoted]) => (quoted === undefined ? whole : quoted.replaceAll('""', '"')));
  const strings = values.map(([, quoted]) => quoted !== undefined);
  const tiers: { name: string; labels: TimedWord[] }[] = [];
  for (let at = 0; at < tokens.length; ++at) {
    if (!strings[at] || (tokens[at] !== 'IntervalTier' && tokens[at] !== 'TextTier')) continue;
    // Class, name, start, end, number of labels, then the labels: start, end and text; of a TextTier time and text.
    const [name, , , count] = tokens.slice(at + 1, at + 5);
    const labels: TimedWord[] = [];
    const width = tokens[at] === 'IntervalTier' ? 3 : 2;
    let place = at + 5;
    for (let i = 0; i < Number(count) && place + width <= tokens.length; ++i, place += width) {
      if (width === 2) continue;
      const [start, end, word] = tokens.slice(place, place + 3);
      labels.push({ word, start: Number(start), end: Number(end) });
    }
    at = place - 1;
    if (width === 3) tiers.push({ name, labels });
  }
  return (tiers.find(({ name }) => /\bwords?\b/i.test(name)) ?? tiers[0])?.labels ?? [];
}

/** Praat writes UTF-16 where a text has other letters than ASCII. */
function decode(bytes: Buffer): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  return new TextDecoder().decode(bytes);
}

/** The words of an alignment, in order of time; none where it only has longer pieces. Throws OneheadError INVALID_ARGUMENT. */
export function parseAlignment(name: string, bytes: Buffer): TimedWord[] {
  const text = decode(bytes);
  const kind = extname(name).toLowerCase();
  let words: TimedWord[];
  if (kind === '.textgrid') words = fromTextGrid(text);
  else if (kind === '.ctm') words = fromCtm(text);
  else if (kind === '.json') {
    try {
      words = fromJson(JSON.parse(text));
    } catch (cause) {
      throw new OneheadError('INVALID_ARGUMENT', `${name} is not JSON: ${(cause as Error).message.slice(0, 100)}.`, {
        cause,
      });
    }
  } else {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `${name} is no file of words' times that can be read; give a .TextGrid, .ctm or .json.`,
    );
  }
  return onlyWords(words).sort((a, b) => a.start - b.start);
}

/** Reads a file of words' times. Throws OneheadError INVALID_ARGUMENT. */
export async function readAlignment(file: string): Promise<TimedWord[]> {
  const bytes = await readFile(file).catch((cause: Error) => {
    throw new OneheadError('INVALID_ARGUMENT', `Cannot read the alignment ${file}: ${cause.message.slice(0, 100)}.`, {
      cause,
    });
  });
  return parseAlignment(file, bytes);
}
