/**
 * Suggestions for unknown option names: an option of another program, a spelling mistake, an option of another call.
 */
import { elsewhere, type OtherNames } from './elsewhere.js';

export interface NamedOptions {
  name: string;
  entries: Record<string, { facts: { others?: OtherNames } }>;
}

/** How option names appear in messages. */
export interface Speech {
  /** An option's name. */
  call(name: string): string;
  /** A text with our option names in backticks. */
  words(text: string): string;
}

export const plainSpeech: Speech = {
  call: (name) => `'${name}'`,
  words: (text) => text.replace(/`(\w+)`/g, "'$1'"),
};

/** Longer names are not spelling mistakes. */
const maxNameLength = 60;

/** Normalizes case, dashes and underscores; short flags such as -bs keep their dash, since they are not words. */
export function plain(name: string): string {
  return /^-\w/.test(name) ? name : name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

export function namesOf(others: OtherNames = {}): string[] {
  return Object.values(others).flatMap((names: string) => names.split(/,\s*/));
}

/** Edit distance with insertions, deletions, replacements and swaps of neighbours. */
export function distance(a: string, b: string): number {
  let [before, last] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; ++i) {
    const row = [i];
    for (let j = 1; j <= b.length; ++j) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + Number(a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], before[j - 2] + 1);
    }
    [before, last] = [last, row];
  }
  return last[b.length];
}

interface Known {
  word: string;
  option: string;
  group: NamedOptions;
  /** True for another program's name. */
  other: boolean;
}

/** All known names, beginning with those of the given group. */
function knownNames(group: NamedOptions, groups: readonly NamedOptions[]): Known[] {
  return [group, ...groups.filter((one) => one !== group)].flatMap((one) =>
    Object.entries(one.entries).flatMap(([option, { facts }]) => [
      { word: plain(option), option, group: one, other: false },
      ...namesOf(facts.others).map((name) => ({ word: plain(name), option, group: one, other: true })),
    ]),
  );
}

/** The end of the sentence "There is no option X of Y", with its punctuation; empty if there is no suggestion. */
export function adviceOn(
  given: string,
  group: NamedOptions,
  groups: readonly NamedOptions[],
  { call, words }: Speech,
): string {
  if (given.length > maxNameLength) return '';
  const word = plain(given);
  const known = knownNames(group, groups);
  const place = ({ group: owner, option }: Known) =>
    Object.hasOwn(group.entries, option) || owner === group ? '' : `, an option of ${owner.name}`;
  const same = known.find((one) => one.word === word);
  if (same) {
    const name = call(same.option);
    if (same.other) return `; onehead’s name for it is ${name}${place(same)}`;
    return plain(same.option) === given.toLowerCase() && place(same) !== ''
      ? `; ${name} is an option of ${same.group.name}`
      : `; perhaps ${name} is meant${place(same)}`;
  }
  const instead = elsewhere.find(({ others }) => namesOf(others).some((name) => plain(name) === word));
  if (instead) return `: ${words(instead.answer)}`;
  let nearest: Known | null = null;
  let least = Math.min(3, Math.max(1, Math.floor(word.length / 3))) + 1;
  for (const one of known) {
    const far = one.word.startsWith('-') ? Number.POSITIVE_INFINITY : distance(word, one.word);
    if (far < least) [nearest, least] = [one, far];
  }
  return nearest ? `; perhaps ${call(nearest.option)} is meant${place(nearest)}` : '';
}
