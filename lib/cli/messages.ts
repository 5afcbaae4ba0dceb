/** Messages of the library on the command line, where options have the names of flags. */
import { queueOptions, workerOptions } from '../batch/options.js';
import { formatOptions } from '../formats/options.js';
import type { OptionGroup } from '../options/options.js';
import { listenOptions } from '../server/listen-options.js';
import { serverOptions } from '../server/service/options.js';
import { loadOptions } from '../whisper/model/types.js';
import { transcribeOptions } from '../whisper/transcription/options.js';
import { type Flag, flagsOf } from './flags.js';

const isDistinctive = (name: string) => /[A-Z.]/.test(name);

const groups = [
  transcribeOptions,
  loadOptions,
  formatOptions,
  serverOptions,
  listenOptions,
  workerOptions,
  queueOptions,
];
/**
 * Flags by the name of their option. Those of an object by 'object.name', and by their name alone if it is no usual
 * word: the option model is not --vad-model.
 */
const flags = new Map<string, Flag>();
for (const group of groups) nameFlagsOf(group);

/** Adds the flags of a command's own options, which in messages of other commands would be arguments without a flag. */
export function nameFlagsOf(group: OptionGroup): void {
  for (const flag of flagsOf(group)) {
    const { option, within } = flag;
    if (within !== undefined) flags.set(`${within}.${option}`, flag);
    if (!flags.has(option) && (within === undefined || isDistinctive(option))) flags.set(option, flag);
  }
}

/** What to do instead of what a message says of an option that has no flag. */
const substitutes: [RegExp, string][] = [
  [/set batched to false/g, 'leave out --batched'],
  [/set alignmentHeads if you know better ones/g, 'correct alignment_heads in its generation_config.json'],
  [/\bprecision\.(\w+)/g, '--precision ($1)'],
  [/\bkeyValueHeads\b/g, '--kv-heads'],
  [/but language is set/g, 'but --language is set'],
];

/** A name that is no part of a path or of another name. */
const nameIn = (name: string) => `(?<![\\w/.-])${name.replace('.', '\\.')}(?![\\w/-]|\\.\\w)`;

/** The advice to set a flag that takes no value to true or false. */
const adviceFor = ({ name, negative }: Flag, value: string) =>
  (value === 'true') === negative ? `leave out --${name}` : `add --${name}`;

/**
 * Replaces the names of options in a message by those of flags. A name that is a usual word, such as language, is
 * replaced only if it is that of the `argument`, and where a value or a verb shows that it is meant as a name.
 */
export function withFlagNames(message: string, argument?: string): string {
  let text = substitutes.reduce((changed, [pattern, advice]) => changed.replace(pattern, advice), message);
  text = text.replace(/`(\w+): ([^`]+)`/g, (whole, name: string, value: string) => {
    const flag = flags.get(name);
    return flag ? `--${flag.name} ${value}` : whole;
  });
  const base = argument?.split(/[[.]/)[0]; // clips of 'clips[0].end'
  for (const [name, flag] of flags) {
    if (!text.includes(name)) continue;
    if (!isDistinctive(name) && name !== base && !text.startsWith(`Expected ${name} to be `)) continue;
    const named = nameIn(name);
    if (flag.placeholder === '') {
      const advice = new RegExp(`(?:set )?${named} to (true|false)`, 'g');
      text = text.replace(advice, (_, value: string) => adviceFor(flag, value));
    }
    const place = isDistinctive(name)
      ? new RegExp(named, 'g')
      : new RegExp(`(?<=^|Expected |set |use |give |leave out |raise )${named}|(?<!the )${named}(?= '|\\[)`, 'g');
    text = text.replace(place, `--${flag.name}`);
  }
  return text;
}

/** Prints a message of the library on standard error. */
export function printMessage(message: string, argument?: string): void {
  console.error(`onehead: ${withFlagNames(message, argument)}`);
}

/** Prints warnings as lines on standard error. `exitStatus` is 3 once a part of a recording was lost, else 0. */
export function warningPrinter() {
  let lost = false;
  return {
    onWarning: (warning: string, incomplete: boolean) => {
      printMessage(warning);
      lost ||= incomplete;
    },
    exitStatus: () => (lost ? 3 : 0),
  };
}
