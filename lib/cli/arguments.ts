/** Parses a command's arguments; refuses unknown flags with a suggestion. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { described } from '../checks.js';
import { shown } from '../errors.js';
import { unknownOptionMessage } from '../options/options.js';
import { type Flag, flagNames, type Values } from './flags.js';
import { UsageError } from './usage.js';

type Config = NonNullable<ParseArgsConfig['options']>;

/**
 * Prepares arguments for parseArgs with `config`: joins a negative number to the flag before it, and refuses what
 * parseArgs would misread or report unclearly. `flags` are those of `config` that come from options. Throws UsageError.
 */
export function prepareArguments(
  command: string,
  args: readonly string[],
  config: Config,
  flags: readonly Flag[] = [],
): string[] {
  const configEntries = Object.keys(config).map((name) => [name, { facts: {} }] as const);
  const entries = Object.fromEntries([...configEntries, ...flags.map(({ name, entry }) => [name, entry] as const)]);
  const group = { name: `onehead ${command}`, entries };
  const prepared: string[] = [];
  for (let i = 0; i < args.length; ++i) {
    const arg = args[i];
    if (arg === '--') return [...prepared, ...args.slice(i)];
    if (!arg.startsWith('-') || arg === '-') {
      prepared.push(arg);
      continue;
    }
    const given = arg.split('=', 1)[0];
    const name = given.slice(2);
    if (!given.startsWith('--') || !Object.hasOwn(config, name)) {
      const message = unknownOptionMessage(given, shown(given), group, [], flagNames(flags));
      throw new UsageError(message.replace(/\.$/, ' (see onehead --help).'));
    }
    const next = args[i + 1];
    if (config[name].type === 'boolean') {
      const value = arg.includes('=') ? arg.slice(given.length + 1) : /^(true|false)$/i.test(next ?? '') ? next : null;
      if (value !== null) {
        throw new UsageError(
          `${given} takes no value, so remove ${described(value)}; to disable the option, remove ${given} as well.`,
        );
      }
      prepared.push(arg);
    } else if (!arg.includes('=') && /^-\.?\d/.test(next ?? '')) {
      prepared.push(`${arg}=${next}`);
      i += 1;
    } else if (!arg.includes('=') && next !== undefined) {
      // The flag's value. If it begins with a dash, parseArgs refuses it.
      prepared.push(arg, next);
      i += 1;
    } else prepared.push(arg);
  }
  return prepared;
}

/** Parses arguments with flags that come from options. Throws UsageError, or an error of parseArgs. */
export function readArguments(
  command: string,
  args: readonly string[],
  flags: readonly Flag[],
): { values: Values; positionals: string[] } {
  const options: Config = Object.fromEntries(
    flags.map(({ name, placeholder, entry }) => [
      name,
      { type: placeholder === '' ? 'boolean' : 'string', multiple: entry.facts.repeats ?? false } as const,
    ]),
  );
  const { values, positionals } = parseArgs({
    args: prepareArguments(command, args, options, flags),
    allowPositionals: true,
    options,
  });
  const joined = Object.entries(values).map(([name, value]) => [name, Array.isArray(value) ? value.join(',') : value]);
  return { values: Object.fromEntries(joined), positionals };
}
