/** Suggestions for unknown option names: names in other programs, spelling mistakes, options of other calls. */
import { elsewhere, type OtherNames } from './elsewhere.js';

export interface NamedOptions {
  name: string;
  entries: Record<string, { facts: { others?: OtherNames } }>;
}

/** Formats option names in messages: as names of the API, or as flags of the command line. */
export interface NameStyle {
  formatName(name: string): string;
  /** Formats the names in a text, which are in backticks. */
  formatText(text: string): string;
}

export const apiNames: NameStyle = {
  formatName: (name) => `'${name}'`,
  formatText: (text) => text.replace(/`(\w+)`/g, "'$1'"),
};

/** Longer names are not spelling mistakes. */
const maxNameLength = 60;

/** Removes case, dashes and underscores. Short flags such as -bs stay unchanged: they are abbreviations, not words. */
function normalizeName(name: string): string {
  return /^-\w/.test(name) ? name : name.toLowerCase().replace(/[^a-z0-9]/g, '');
}

function splitNames(others: OtherNames = {}): string[] {
  return Object.values(others).flatMap((names: string) => names.split(/,\s*/));
}

/**
 * The Damerau-Levenshtein distance: insertions, deletions, substitutions, and transpositions of adjacent characters.
 */
export function editDistance(a: string, b: string): number {
  let [secondLast, last] = [[] as number[], Array.from({ length: b.length + 1 }, (_, j) => j)];
  for (let i = 1; i <= a.length; ++i) {
    const row = [i];
    for (let j = 1; j <= b.length; ++j) {
      row[j] = Math.min(last[j] + 1, row[j - 1] + 1, last[j - 1] + Number(a[i - 1] !== b[j - 1]));
      if (i > 1 && j > 1 && a[i - 1] === b[j - 2] && a[i - 2] === b[j - 1])
        row[j] = Math.min(row[j], secondLast[j - 2] + 1);
    }
    [secondLast, last] = [last, row];
  }
  return last[b.length];
}

interface KnownName {
  normalized: string;
  option: string;
  group: NamedOptions;
  /** True for the option's name in another program. */
  foreign: boolean;
}

/** All known names, beginning with those of `group`. */
function knownNames(group: NamedOptions, groups: readonly NamedOptions[]): KnownName[] {
  return [group, ...groups.filter((other) => other !== group)].flatMap((owner) =>
    Object.entries(owner.entries).flatMap(([option, { facts }]) => [
      { normalized: normalizeName(option), option, group: owner, foreign: false },
      ...splitNames(facts.others).map((name) => ({
        normalized: normalizeName(name),
        option,
        group: owner,
        foreign: true,
      })),
    ]),
  );
}

/** The end of the sentence "There is no option X of Y", with its punctuation; '' if there is no suggestion. */
export function suggestion(
  given: string,
  group: NamedOptions,
  groups: readonly NamedOptions[],
  { formatName, formatText }: NameStyle,
): string {
  if (given.length > maxNameLength) return '';
  const normalized = normalizeName(given);
  const known = knownNames(group, groups);
  const ownerText = ({ group: owner, option }: KnownName) =>
    Object.hasOwn(group.entries, option) || owner === group ? '' : `, an option of ${owner.name}`;
  const match = known.find((name) => name.normalized === normalized);
  if (match) {
    const name = formatName(match.option);
    if (match.foreign) return `; onehead’s name for it is ${name}${ownerText(match)}`;
    return normalizeName(match.option) === given.toLowerCase() && ownerText(match) !== ''
      ? `; ${name} is an option of ${match.group.name}`
      : `; perhaps ${name} is meant${ownerText(match)}`;
  }
  const isMatch = (name: string) => normalizeName(name) === normalized;
  const foreign = elsewhere.find(({ others }) => splitNames(others).some(isMatch));
  if (foreign) return `: ${formatText(foreign.advice)}`;
  // A name is a spelling mistake if up to a third of its characters differ, at most three.
  let nearest: KnownName | null = null;
  let minDistance = Math.min(3, Math.max(1, Math.floor(normalized.length / 3))) + 1;
  for (const name of known) {
    if (name.normalized.startsWith('-')) continue;
    const distance = editDistance(normalized, name.normalized);
    if (distance < minDistance) [nearest, minDistance] = [name, distance];
  }
  return nearest ? `; perhaps ${formatName(nearest.option)} is meant${ownerText(nearest)}` : '';
}
