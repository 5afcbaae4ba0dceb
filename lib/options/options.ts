/**
 * Declarations of options: name, documentation (the comment before it), type, default, and names in other programs.
 * TypeScript types, checks, the command line's flags and docs/options.md are derived from them.
 */
import * as v from 'valibot';
import { described, refuse } from '../checks.js';
import { OneheadError } from '../errors.js';
import type { OtherNames } from './elsewhere.js';
import { factsOf, type Kind, type KindFacts } from './kinds.js';
import { apiNames, type NamedOptions, type NameStyle, suggestion } from './names.js';

export interface OptionSettings<T> {
  /** The default value. The comment states it too, after @default. */
  default?: T;
  /** The flag's name if it differs from the option's; null if there is no flag. */
  flag?: string | null;
  /** Override those of the type. */
  placeholder?: string;
  expectedText?: string;
  others?: OtherNames;
}

export interface Option<T, Checked = T | undefined> extends v.GenericSchema<T | null | undefined, Checked> {
  readonly facts: KindFacts & OptionSettings<T>;
  /** Present if the value is an object of options. */
  readonly group?: OptionGroup;
}

export type Entries = Record<string, Option<unknown, unknown>>;

export interface OptionGroup<E extends Entries = Entries> {
  /** The function or thing that the options belong to, for messages, such as 'transcribe'. */
  readonly name: string;
  readonly entries: E;
}

/** Options as given by the caller: all are optional, and null counts as absent. */
export type Given<G extends OptionGroup> = {
  -readonly [Name in keyof G['entries']]?: v.InferInput<G['entries'][Name]>;
};
/** Options after `check`: with defaults, without null. */
export type Checked<G extends OptionGroup> = {
  -readonly [Name in keyof G['entries']]: v.InferOutput<G['entries'][Name]>;
};

export function option<T>(kind: Kind<T>, settings: OptionSettings<NoInfer<T>> & { default: NoInfer<T> }): Option<T, T>;
export function option<T>(kind: Kind<T>, settings?: OptionSettings<NoInfer<T>>): Option<T>;
export function option<T>(kind: Kind<T>, settings: OptionSettings<NoInfer<T>> = {}): Option<T> {
  const schema = v.nullish(kind, () => settings.default as never);
  return Object.assign(schema, { facts: { ...factsOf(kind), ...settings } }) as unknown as Option<T>;
}

/**
 * An option whose value is an object of options, true for all their defaults, or false. `Named` is the type of the
 * object in declarations.
 */
export function nested<G extends OptionGroup, Named = Given<G>>(
  group: G,
  settings: OptionSettings<boolean> = {},
): Option<boolean | Named, boolean | Checked<G> | undefined> {
  const inner = v.pipe(
    v.custom<boolean | Given<G>>((value) => typeof value === 'boolean' || isRecord(value)),
    v.transform((value) => (typeof value === 'boolean' ? value : check(group, value, { within: `${group.name}.` }))),
  );
  const facts = { expected: `true, false or an object of options of ${group.name}`, placeholder: '', ...settings };
  return Object.assign(
    v.nullish(inner, () => undefined as never),
    { facts, group },
  ) as unknown as Option<boolean | Named, boolean | Checked<G> | undefined>;
}

/** All declared groups. */
export const optionGroups: OptionGroup[] = [];

/** Declares a group of options. The comment before each is its documentation. */
export function options<const E extends Entries>(name: string, entries: E): OptionGroup<E> {
  const group = { name, entries };
  optionGroups.push(group);
  return group;
}

const isRecord = (value: unknown): value is Record<string, unknown> =>
  Object.prototype.toString.call(value) === '[object Object]';

export interface CheckSettings {
  /** Prefix of the names in messages. */
  within?: string;
}

/**
 * Checked default values, except objects. They save time: a request has dozens of options, most of which have their
 * defaults.
 */
const defaults = new Map<Option<unknown, unknown>, unknown>();

/** Checks options and adds defaults. Throws OneheadError INVALID_ARGUMENT for an unknown option or an invalid value. */
export function check<G extends OptionGroup>(
  group: G,
  given: unknown,
  { within = '' }: CheckSettings = {},
): Checked<G> {
  const absent = given === undefined || given === null;
  if (!absent && !isRecord(given)) refuse('options', `an object of options of ${group.name}`, given);
  const values = absent ? {} : (given as Record<string, unknown>);
  for (const name in values) if (!Object.hasOwn(group.entries, name)) refuseUnknown(group, name);
  const checked: Record<string, unknown> = {};
  for (const name in group.entries) {
    const entry = group.entries[name];
    const value = values[name];
    if (defaults.has(entry) && (value === undefined || value === defaults.get(entry))) {
      checked[name] = defaults.get(entry);
      continue;
    }
    const result = v.safeParse(entry, value, { abortEarly: true });
    if (!result.success) refuse(`${within}${name}`, entry.facts.expected, value);
    checked[name] = result.output;
    if (value === undefined && typeof result.output !== 'object') defaults.set(entry, result.output);
  }
  return checked as Checked<G>;
}

/** Selects the values that are options of a group. */
export function pick<G extends OptionGroup>(group: G, values: Given<G>): Given<G> {
  const names = Object.keys(group.entries).filter((name) => Object.hasOwn(values, name));
  return Object.fromEntries(names.map((name) => [name, values[name as keyof Given<G>]])) as Given<G>;
}

/** The message for an unknown option. `shownName` is its name as the message quotes it. */
export function unknownOptionMessage(
  given: string,
  shownName: string,
  group: NamedOptions,
  groups: readonly NamedOptions[],
  style: NameStyle,
): string {
  return `There is no option ${shownName} of ${group.name}${suggestion(given, group, groups, style)}.`;
}

function refuseUnknown(group: OptionGroup, name: string): never {
  const message = unknownOptionMessage(name, described(name), group, optionGroups, apiNames);
  throw new OneheadError('INVALID_ARGUMENT', message, {
    argument: name.slice(0, 100),
    expected: 'an option',
    received: described(name),
  });
}
