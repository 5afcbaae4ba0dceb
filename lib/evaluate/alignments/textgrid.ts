/** Reads Praat's TextGrid files, in their long and short text forms. */
import { shown } from '../../errors.js';
import { type AlignmentOptions, invalidAlignment, type TimedWord } from './timed-word.js';

interface Tier {
  name: string;
  intervals: TimedWord[];
}

/**
 * The values in a Praat text file: texts in quotation marks (doubled inside a text), numbers, and flags such as
 * <exists>. Everything else is for human readers, including numbers in brackets and text after an exclamation mark.
 */
function* values(text: string): Generator<string | number> {
  const pattern = /"((?:[^"]|"")*)"|<(\w+)>|![^\n]*|\[[^\]\n]*\]|[^\s"<![]+/g;
  for (const [whole, label, flag] of text.matchAll(pattern)) {
    if (label !== undefined) yield label.replaceAll('""', '"');
    else if (flag !== undefined) yield `<${flag}>`;
    else if (/^[-+]?(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$/i.test(whole)) yield Number(whole);
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
        `${this.#name} is truncated: the TextGrid has fewer values than it announces; save it again.`,
      );
    return value;
  }
  text(what: string): string {
    const value = this.next();
    if (typeof value !== 'string') throw this.#wrong(what, value);
    return value;
  }
  number(what: string): number {
    const value = this.next();
    if (typeof value !== 'number') throw this.#wrong(what, value);
    return value;
  }
  count(what: string): number {
    const value = this.number(what);
    if (!Number.isSafeInteger(value) || value < 0) throw this.#wrong(what, value);
    return value;
  }
  #wrong(what: string, value: string | number) {
    return invalidAlignment(`${this.#name} is not a valid TextGrid: expected ${what} but found '${shown(value, 60)}'.`);
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
    for (let left = reader.count("a tier's size"); left > 0; --left) {
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

/** The words of the tier `wanted`; by default, of the tiers that are named "words", or of the only tier. */
export function readTextGrid(text: string, name: string, { tier: wanted }: AlignmentOptions): TimedWord[] {
  if (text.startsWith('ooBinaryFile')) {
    throw invalidAlignment(`${name} is a binary file of Praat; save it with "Save as text file".`);
  }
  const tiers = readTiers(text, name);
  const names = shown(tiers.map((one) => `'${one.name}'`).join(', '));
  // Aligners write a tier of words for each speaker: 'Ann - words'.
  const named = tiers.filter((one) =>
    wanted === undefined ? /(^|[-_ ])words?$/i.test(one.name.trim()) : one.name === wanted,
  );
  const chosen = named.length > 0 || wanted !== undefined ? named : tiers.length === 1 ? tiers : [];
  if (chosen.length === 0) {
    const missing = wanted === undefined ? 'words; name one with the option tier' : `'${shown(wanted, 60)}'`;
    throw invalidAlignment(`${name} has no tier ${missing}. Its tiers of intervals: ${names || 'none'}.`);
  }
  return chosen.flatMap((one) => one.intervals);
}
