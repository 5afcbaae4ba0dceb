/**
 * Reads words with times from JSON: a list, or the forms of gentle, pocketsphinx, the Montreal Forced Aligner and
 * transcriptions.
 */
import { shown } from '../../errors.js';
import { invalidAlignment, type TimedWord } from './timed-word.js';

type Fields = Record<string, unknown>;

const isObject = (value: unknown): value is Fields =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** gentle gives no times to words that it did not find in the audio. */
const unheard = (one: Fields): boolean => typeof one.case === 'string' && one.case !== 'success';

function word(one: unknown, index: number, name: string): TimedWord {
  if (isObject(one)) {
    // pocketsphinx: text, beginning, duration.
    if (typeof one.t === 'string' && typeof one.b === 'number' && typeof one.d === 'number') {
      return { word: one.t, start: one.b, end: one.b + one.d };
    }
    const text = one.word ?? one.text;
    if (typeof text === 'string' && typeof one.start === 'number' && typeof one.end === 'number') {
      return { word: text, start: one.start, end: one.end };
    }
  }
  // The Montreal Forced Aligner: [start, end, label].
  if (Array.isArray(one) && typeof one[0] === 'number' && typeof one[1] === 'number' && typeof one[2] === 'string') {
    return { word: one[2], start: one[0], end: one[1] };
  }
  const found = shown(JSON.stringify(one), 80);
  throw invalidAlignment(`${name}, word ${index + 1}: expected {"word", "start", "end"} but found ${found}.`);
}

/** The list of words in a file's value, or null. */
function wordsOf(value: unknown): readonly unknown[] | null {
  if (Array.isArray(value)) {
    // Lines of pocketsphinx, or segments with words: joined in order.
    const within = value.map((one) => (isObject(one) ? wordsOf(one) : null));
    return value.length > 0 && within.every((one) => one !== null) ? within.flat() : value;
  }
  if (!isObject(value)) return null;
  const { words, w, segments, tiers } = value;
  if (Array.isArray(words)) return words;
  if (Array.isArray(w)) return w;
  if (Array.isArray(segments))
    return segments.some((one) => isObject(one) && 'words' in one) ? wordsOf(segments) : null;
  if (isObject(tiers)) {
    const named = Object.entries(tiers).filter(([key]) => /(^|[-_ ])words?$/i.test(key));
    return named.flatMap(([, tier]) => (isObject(tier) && Array.isArray(tier.entries) ? tier.entries : []));
  }
  return null;
}

export function readJson(text: string, name: string): TimedWord[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    // One object on each line, as pocketsphinx writes them.
    try {
      value = text
        .split(/\r?\n/)
        .filter((line) => line.trim() !== '')
        .map((line) => JSON.parse(line) as unknown);
    } catch {
      throw invalidAlignment(`${name} is not JSON; save it as JSON, or give a .TextGrid or .ctm file.`);
    }
  }
  const words = wordsOf(value);
  return (words ?? []).flatMap((one, index) => (isObject(one) && unheard(one) ? [] : [word(one, index, name)]));
}
