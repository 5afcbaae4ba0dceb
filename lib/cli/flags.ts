/** The command line's flags, derived from options. */
import { OneheadError } from '../errors.js';
import { describe } from '../options/describe.js';
import type { Speech } from '../options/names.js';
import { check, type Given, type Option, type OptionGroup } from '../options/options.js';
import { UsageError } from './usage.js';

export interface Flag {
  /** Without dashes: 'beam-size'. */
  name: string;
  /** The option in its group: 'beamSize'. */
  option: string;
  entry: Option<unknown, unknown>;
  /** The placeholder of the value; '' if there is none. */
  placeholder: string;
  /** True for --no-NAME: the option is on unless the flag is given. */
  negative: boolean;
  /** The option that contains this one: 'vad'. */
  within?: string;
}

/** The values of a command line, by flag. */
export type Values = Record<string, string | boolean | undefined>;

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** Flags of all options that a command line can give. */
export function flagsOf(group: OptionGroup, within?: { option: string; prefix: string }): Flag[] {
  return Object.entries(group.entries).flatMap(([option, entry]): Flag[] => {
    const { placeholder, flag = kebab(option), default: usual } = entry.facts;
    if (placeholder === undefined || flag === null) return [];
    const negative = usual === true;
    const name = `${within?.prefix ?? ''}${negative ? 'no-' : ''}${flag}`;
    const own = { name, option, entry, placeholder, negative, ...(within && { within: within.option }) };
    return [own, ...(entry.group ? flagsOf(entry.group, { option, prefix: `${flag}-` }) : [])];
  });
}

/** How messages on the command line write option names; those `within` the same option come first. */
export function speechOf(flags: readonly Flag[], within?: string): Speech {
  const call = (name: string) => `--${name}`;
  const words = (text: string) =>
    text.replace(/`(\w+)`/g, (_, option: string) => {
      const named = flags.filter((one) => one.option === option);
      const flag = named.find((one) => one.within === within) ?? named[0];
      return flag ? call(flag.name) : option;
    });
  return { call, words };
}

function givenValue({ entry, negative }: Flag, value: string | boolean): unknown {
  if (typeof value === 'boolean') return negative ? !value : value;
  const { read, flagScale } = entry.facts;
  const given = read!(value);
  return flagScale !== undefined && typeof given === 'number' ? given * flagScale : given;
}

/** The group's options from the command line, checked. Throws UsageError with the names of flags. */
export function optionsFrom<G extends OptionGroup>(group: G, flags: readonly Flag[], values: Values): Given<G> {
  const own = flags.filter(({ name, option, entry, within }) => {
    const holder = within === undefined ? group.entries[option] === entry : Object.hasOwn(group.entries, within);
    return holder && values[name] !== undefined;
  });
  const given: Record<string, unknown> = {};
  for (const flag of own) {
    const value = givenValue(flag, values[flag.name]!);
    if (flag.within === undefined) given[flag.option] ??= value;
    else given[flag.within] = { ...(given[flag.within] as object | undefined), [flag.option]: value };
    refuseText(group, flag, given, values[flag.name]!);
  }
  return given as Given<G>;
}

/** Checks the parsed values, so that a message can quote the original text. */
function refuseText(
  group: OptionGroup,
  { name, entry }: Flag,
  given: Record<string, unknown>,
  text: string | boolean,
): void {
  try {
    check(group, given);
  } catch (error) {
    if (!(error instanceof OneheadError)) throw error;
    const expected = entry.facts.expectedText ?? error.expected;
    throw new UsageError(`Expected --${name} to be ${expected} but received '${String(text).slice(0, 100)}'.`);
  }
}

const [column, width] = [25, 120];

/** Lines of help: each flag, its description, and its default. */
export function flagsHelp(flags: readonly Flag[]): string {
  return flags
    .map((flag) => {
      const { about, usual } = describe(flag.option, flag.entry);
      const text = speechOf(flags, flag.within).words(about).replace(/\.$/, '');
      const head = `  --${flag.name}${flag.placeholder === '' ? '' : ` ${flag.placeholder}`}`;
      const told = flag.placeholder === '' || usual === '' ? '' : ` (default: ${usual.replace(/^'(.*)'$/, '$1')})`;
      return paragraph(head, `${flag.negative ? 'Switches off: ' : ''}${text}${told}`);
    })
    .join('\n');
}

/** A text after a heading, wrapped; below it if the heading is long. */
function paragraph(head: string, text: string): string {
  const lines: string[] = [];
  let line = head.length < column - 1 ? head.padEnd(column) : head;
  if (head.length >= column - 1) {
    lines.push(line);
    line = ' '.repeat(column);
  }
  for (const word of text.split(' ')) {
    const blank = line.length > column ? ' ' : '';
    if (line.length > column && line.length + word.length + 1 > width) {
      lines.push(line);
      line = ' '.repeat(column) + word;
    } else line += blank + word;
  }
  return [...lines, line].join('\n');
}
