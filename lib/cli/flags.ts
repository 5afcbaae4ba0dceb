/** Flags of the command line, derived from the declarations of options. */
import { OneheadError } from '../errors.js';
import { describe } from '../options/describe.js';
import type { NameStyle } from '../options/names.js';
import { check, type Given, type Option, type OptionGroup } from '../options/options.js';
import { refuseFlag } from './usage.js';

export interface Flag {
  /** The name without leading dashes, such as 'beam-size'. */
  name: string;
  /** The option's name, such as 'beamSize'. */
  option: string;
  entry: Option<unknown, unknown>;
  /** The placeholder of the value; '' if there is none. */
  placeholder: string;
  /** True for --no-NAME, which disables an option that is enabled by default. */
  negative: boolean;
  /** The name of the option whose object contains this one, such as 'vad'. */
  within?: string;
}

/** The values on a command line, by name of the flag. */
export type Values = Record<string, string | boolean | undefined>;

const kebab = (name: string): string => name.replace(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`);

/** The flags for all options of a group that can be given on a command line. */
export function flagsOf(group: OptionGroup, within?: { option: string; prefix: string }): Flag[] {
  return Object.entries(group.entries).flatMap(([option, entry]): Flag[] => {
    const { placeholder, flag = kebab(option), default: defaultValue } = entry.facts;
    if (placeholder === undefined || flag === null) return [];
    const negative = defaultValue === true;
    const name = `${within?.prefix ?? ''}${negative ? 'no-' : ''}${flag}`;
    const optionFlag = { name, option, entry, placeholder, negative, ...(within && { within: within.option }) };
    return [optionFlag, ...(entry.group ? flagsOf(entry.group, { option, prefix: `${flag}-` }) : [])];
  });
}

/** Formats option names as flags in messages. If several flags have an option's name, one of `within` is preferred. */
export function flagNames(flags: readonly Flag[], within?: string): NameStyle {
  const formatName = (name: string) => `--${name}`;
  const formatText = (text: string) =>
    text.replace(/`(\w+)`/g, (_, option: string) => {
      const candidates = flags.filter((flag) => flag.option === option);
      const flag = candidates.find((candidate) => candidate.within === within) ?? candidates[0];
      return flag ? formatName(flag.name) : option;
    });
  return { formatName, formatText };
}

function parseValue({ entry, negative }: Flag, value: string | boolean): unknown {
  if (typeof value === 'boolean') return negative ? !value : value;
  const { read, flagScale } = entry.facts;
  const parsed = read ? read(value) : value; // without `read`, no text is valid
  return flagScale !== undefined && typeof parsed === 'number' ? parsed * flagScale : parsed;
}

/** Parses and checks the options of a group from a command line. Throws UsageError with the names of flags. */
export function optionsFrom<G extends OptionGroup>(group: G, flags: readonly Flag[], values: Values): Given<G> {
  const givenFlags = flags.filter(({ name, option, entry, within }) => {
    const inGroup = within === undefined ? group.entries[option] === entry : Object.hasOwn(group.entries, within);
    return inGroup && values[name] !== undefined;
  });
  const given: Record<string, unknown> = {};
  for (const flag of givenFlags) {
    const value = parseValue(flag, values[flag.name]!);
    if (flag.within === undefined) given[flag.option] ??= value;
    else given[flag.within] = { ...(given[flag.within] as object | undefined), [flag.option]: value };
    checkGiven(group, flag, given, values[flag.name]!);
  }
  return given as Given<G>;
}

/** Checks the options after each flag, so that the message can name the flag and quote its original text. */
function checkGiven(
  group: OptionGroup,
  { name, entry }: Flag,
  given: Record<string, unknown>,
  text: string | boolean,
): void {
  try {
    check(group, given);
  } catch (error) {
    if (!(error instanceof OneheadError)) throw error;
    refuseFlag(`--${name}`, entry.facts.expectedText ?? error.expected!, text);
  }
}

/** The description of a flag, with the unit of the command line. */
function describeFlag({ option, entry }: Flag): { about: string; defaultText: string } {
  const { about, defaultText } = describe(option, entry);
  const scale = entry.facts.flagScale;
  if (scale === undefined) return { about, defaultText };
  const inSeconds = about.replace(/Milliseconds/g, 'Seconds').replace(/milliseconds/g, 'seconds');
  const number = Number(defaultText);
  return {
    about: inSeconds,
    defaultText: defaultText === '' || Number.isNaN(number) ? defaultText : String(number / scale),
  };
}

/** Replaces lists and objects of names in a text by what is typed: ['a', 'b'] by a,b and { a: 'b' } by a=b. */
const typedForm = (text: string): string =>
  text
    .replace(/\[('[^'\]]*'(?:, '[^'\]]*')*)\]/g, (_, list: string) => list.replace(/'|(?<=,) /g, ''))
    .replace(/\{ (\w+: '[^}]*') \}/g, (_, pairs: string) => pairs.replaceAll(': ', '=').replace(/'|(?<=,) /g, ''));

/** Columns at which descriptions begin, and at which lines are wrapped. */
const [column, width] = [25, 100];

/** The help for flags, with the description and default of each. */
export function flagsHelp(flags: readonly Flag[]): string {
  return flags
    .map((flag) => {
      const { about, defaultText } = describeFlag(flag);
      const description = flagNames(flags, flag.within).formatText(typedForm(about)).replace(/\.$/, '');
      const head = `  --${flag.name}${flag.placeholder === '' ? '' : ` ${flag.placeholder}`}`;
      const hasDefault = flag.placeholder !== '' && defaultText !== '';
      const ending = hasDefault ? ` (default: ${defaultText.replace(/^'(.*)'$/, '$1')})` : '';
      return paragraph(head, `${flag.negative ? 'Disables this default: ' : ''}${description}${ending}`);
    })
    .join('\n');
}

/** Formats a heading with a wrapped text to its right, or below it if the heading is long. */
function paragraph(head: string, text: string): string {
  const lines: string[] = [];
  let line = head.length < column - 1 ? head.padEnd(column) : head;
  if (head.length >= column - 1) {
    lines.push(line);
    line = ' '.repeat(column);
  }
  for (const word of text.split(' ')) {
    const separator = line.length > column ? ' ' : '';
    if (line.length > column && line.length + word.length + 1 > width) {
      lines.push(line);
      line = ' '.repeat(column) + word;
    } else line += separator + word;
  }
  return [...lines, line].join('\n');
}
