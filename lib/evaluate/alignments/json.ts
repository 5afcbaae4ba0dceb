/**
 * Reads word times from JSON: a list, or the output of gentle, pocketsphinx, the Montreal Forced Aligner or onehead.
 */
import { shown } from '../../errors.js';
import { invalidAlignment, type TimedWord } from './timed-word.js';

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** True for a word that gentle did not find in the audio, and which therefore has no times. */
const isNotFound = (entry: Fields): boolean => typeof entry.case === 'string' && entry.case !== 'success';

function textOf(entry: unknown): string {
  try {
    return JSON.stringify(entry);
  } catch {
    return 'lists in lists'; // too many for the stack
  }
}

function timedWord(entry: unknown, index: number, name: string): TimedWord {
  if (isObject(entry)) {
    // pocketsphinx: text, beginning, duration.
    if (typeof entry.t === 'string' && typeof entry.b === 'number' && typeof entry.d === 'number') {
      return { word: entry.t, start: entry.b, end: entry.b + entry.d };
    }
    const text = entry.word ?? entry.text;
    if (typeof text === 'string' && typeof entry.start === 'number' && typeof entry.end === 'number') {
      return { word: text, start: entry.start, end: entry.end };
    }
  }
  // The Montreal Forced Aligner: [start, end, label].
  if (Array.isArray(entry)) {
    const [start, end, label] = entry as unknown[];
    if (typeof start === 'number' && typeof end === 'number' && typeof label === 'string') {
      return { word: label, start, end };
    }
  }
  const found = shown(textOf(entry), 80);
  throw invalidAlignment(`${name}, word ${index + 1}: expected {"word", "start", "end"} but found ${found}.`);
}

/** The fields of a word that WhisperX could not align. */
const untimedFields = new Set(['word', 'score', 'speaker']);

/** The words of segments. WhisperX gives no times to words, and no words to segments, that it could not align. */
function wordsOfSegments(segments: readonly unknown[]): unknown[] {
  const words = segments.flatMap((segment) => (isObject(segment) && Array.isArray(segment.words) ? segment.words : []));
  return words.filter((word) => !isObject(word) || Object.keys(word).some((key) => !untimedFields.has(key)));
}

/** The list of words in a file's value; null if there is none. */
function wordsOf(value: unknown): readonly unknown[] | null {
  if (Array.isArray(value)) {
    // Lines of pocketsphinx or segments with words are joined; other lists are lists of words.
    const lists = value.map((item) => (isObject(item) ? wordsOf(item) : null));
    return value.length > 0 && lists.every((list) => list !== null) ? lists.flat() : value;
  }
  if (!isObject(value)) return null;
  const { words, w, segments, tiers } = value;
  if (Array.isArray(words)) return words;
  if (Array.isArray(w)) return w;
  if (Array.isArray(segments)) return wordsOfSegments(segments);
  if (isObject(tiers)) {
    const wordTiers = Object.entries(tiers).filter(([key]) => /(^|[-_ ])words?$/i.test(key));
    return wordTiers.flatMap(([, tier]) => (isObject(tier) && Array.isArray(tier.entries) ? tier.entries : []));
  }
  return null;
}

export function readJson(text: string, name: string): TimedWord[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // pocketsphinx writes one object on each line.
    try {
      value = text
        .split(/\r?\n/)
        .filter((line) => line.trim() !== '')
        .map((line) => JSON.parse(line) as unknown);
    } catch {
      throw invalidAlignment(`${name} is not valid JSON; correct it, or use a .TextGrid or .ctm file.`);
    }
  }
  const entries = wordsOf(value) ?? [];
  return entries.flatMap((entry, index) =>
    isObject(entry) && isNotFound(entry) ? [] : [timedWord(entry, index, name)],
  );
}
