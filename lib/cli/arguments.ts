/** Parses a command's arguments strictly: unknown flags are refused with a suggestion. */
import { type ParseArgsConfig, parseArgs } from 'node:util';
import { described } from '../checks.js';
import { shown } from '../errors.js';
import { noSuchOption } from '../options/options.js';
import { type Flag, speechOf, type Values } from './flags.js';
import { UsageError } from './usage.js';

type Config = NonNullable<ParseArgsConfig['options']>;

/**
 * Prepares the arguments for parseArgs with `config`. Refuses what it would misread or report unclearly, and joins a
 * negative number to the flag before it. Throws UsageError.
 */
export function strictly(
  command: string,
  args: readonly string[],
  config: Config,
  made: readonly Flag[] = [],
): string[] {
  const own = Object.keys(config).map((name) => [name, { facts: {} }] as const);
  const entries = Object.fromEntries([...own, ...made.map(({ name, entry }) => [name, entry] as const)]);
  const group = { name: `onehead ${command}`, entries };
  const ready: string[] = [];
  for (let i = 0; i < args.length; ++i) {
    const arg = args[i];
    if (arg === '--') return [...ready, ...args.slice(i)];
    if (!arg.startsWith('-') || arg === '-') {
      ready.push(arg);
      continue;
    }
    const given = arg.split('=', 1)[0];
    const name = given.slice(2);
    if (!given.startsWith('--') || !Object.hasOwn(config, name)) {
      const sentence = noSuchOption(given, shown(given), group, [], speechOf(made));
      throw new UsageError(sentence.replace(/\.$/, ' (see onehead --help).'));
    }
    const next = args[i + 1];
    if (config[name].type === 'boolean') {
      const value = arg.includes('=') ? arg.slice(given.length + 1) : /^(true|false)$/i.test(next ?? '') ? next : null;
      if (value !== null) {
        throw new UsageError(
          `${given} takes no value, so leave out ${described(value)}; to disable the option, leave out ${given} too.`,
        );
      }
      ready.push(arg);
    } else if (!arg.includes('=') && /^-\.?\d/.test(next ?? '')) {
      ready.push(`${arg}=${next}`);
      i += 1;
    } else if (!arg.includes('=') && next !== undefined) {
      // The flag's value, whatever it looks like; parseArgs still refuses one that looks like a flag.
      ready.push(arg, next);
      i += 1;
    } else ready.push(arg);
  }
  return ready;
}

/** Parses arguments with flags that come from options. Throws UsageError, or parseArgs's own errors. */
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
    args: strictly(command, args, options, flags),
    allowPositionals: true,
    options,
  });
  const joined = Object.entries(values).map(([name, value]) => [name, Array.isArray(value) ? value.join(',') : value]);
  return { values: Object.fromEntries(joined), positionals };
}
