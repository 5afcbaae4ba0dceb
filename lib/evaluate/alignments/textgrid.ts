/** Reads Praat's TextGrid files, in the long and the short text format. */
import { shown } from '../../errors.js';
import { type AlignmentOptions, invalidAlignment, type TimedWord } from './timed-word.js';

interface Tier {
  name: string;
  intervals: TimedWord[];
}

/**
 * The values in a Praat text file: strings in quotation marks (doubled within a string), numbers, and flags such as
 * <exists>. Everything else is a comment, including numbers in brackets and text after an exclamation mark.
 */
function* values(text: string): Generator<string | number> {
  const pattern = /"((?:[^"]|"")*)"|<(\w+)>|![^\n]*|\[[^\]\n]*\]|[^\s"<![]+/g;
  for (const [match, label, flag] of text.matchAll(pattern)) {
    if (label !== undefined) yield label.replaceAll('""', '"');
    else if (flag !== undefined) yield `<${flag}>`;
    else if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(match)) yield Number(match);
  }
}

class Reader {
  readonly #values: Iterator<string | number>;
  readonly #name: string;

  constructor(text: string, name: string) {
    this.#values = values(text);
    this.#name = name;
  }
  next(): string | number {
    const { done, value } = this.#values.next();
    if (done)
      throw invalidAlignment(
        `${this.#name} is truncated: the TextGrid has fewer values than it declares; save it again.`,
      );
    return value;
  }
  text(expected: string): string {
    const value = this.next();
    if (typeof value !== 'string') throw this.#invalid(expected, value);
    return value;
  }
  number(expected: string): number {
    const value = this.next();
    if (typeof value !== 'number') throw this.#invalid(expected, value);
    return value;
  }
  count(expected: string): number {
    const value = this.number(expected);
    if (!Number.isSafeInteger(value) || value < 0) throw this.#invalid(expected, value);
    return value;
  }
  #invalid(expected: string, value: string | number) {
    return invalidAlignment(
      `${this.#name} is not a valid TextGrid: expected ${expected} but found '${shown(value, 60)}'.`,
    );
  }
}

function readTiers(text: string, name: string): Tier[] {
  const reader = new Reader(text, name);
  if (reader.text('the file type') !== 'ooTextFile' || reader.text('the object class') !== 'TextGrid') {
    throw invalidAlignment(`${name} is not a TextGrid; save it with Praat's "Save as text file".`);
  }
  reader.number('the beginning');
  reader.number('the end');
  if (reader.text('<exists>') !== '<exists>') return [];
  const tiers: Tier[] = [];
  for (let count = reader.count('the number of tiers'); count > 0; --count) {
    const kind = reader.text("a tier's class");
    const tier: Tier = { name: reader.text("a tier's name"), intervals: [] };
    reader.number("a tier's beginning");
    reader.number("a tier's end");
    for (let remaining = reader.count("a tier's size"); remaining > 0; --remaining) {
      const start = reader.number('a time');
      // Points have a single time, so they are not words.
      const end = kind === 'IntervalTier' ? reader.number('a time') : start;
      const word = reader.text('a label');
      if (kind === 'IntervalTier') tier.intervals.push({ word, start, end });
    }
    if (kind === 'IntervalTier') tiers.push(tier);
  }
  return tiers;
}

/** The words of a tier; by default, of the tiers that are named "words", or of the only tier. */
export function readTextGrid(text: string, name: string, { tier: tierName }: AlignmentOptions): TimedWord[] {
  if (text.startsWith('ooBinaryFile')) {
    throw invalidAlignment(`${name} is a binary file of Praat; save it with "Save as text file".`);
  }
  const tiers = readTiers(text, name);
  const names = shown(tiers.map((tier) => `'${tier.name}'`).join(', '));
  // Aligners write a tier of words for each speaker, such as 'Ann - words'.
  const matching = tiers.filter((tier) =>
    tierName === undefined ? /(^|[-_ ])words?$/i.test(tier.name.trim()) : tier.name === tierName,
  );
  const chosen = matching.length > 0 || tierName !== undefined ? matching : tiers.length === 1 ? tiers : [];
  if (chosen.length === 0) {
    const missing = tierName === undefined ? 'words; name one with the option tier' : `'${shown(tierName, 60)}'`;
    throw invalidAlignment(`${name} has no tier ${missing}. Its tiers of intervals: ${names || 'none'}.`);
  }
  return chosen.flatMap((tier) => tier.intervals);
}
