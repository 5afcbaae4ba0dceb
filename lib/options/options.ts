/**
 * Options are declared once: name, documentation (the comment before it), type, default, and names in other programs.
 * TypeScript types, checks, the command line's flags and the options page are derived from the declaration.
 */
import * as v from 'valibot';
import { described, refuse } from '../checks.js';
import { OneheadError } from '../errors.js';
import type { OtherNames } from './elsewhere.js';
import { factsOf, type Kind, type KindFacts } from './kinds.js';
import { adviceOn, type NamedOptions, plainSpeech, type Speech } from './names.js';

export interface OptionSettings<T> {
  /** The default value. The option's comment also states it, after @default. */
  default?: T;
  /** The command line's name if it differs; null if there is none. */
  flag?: string | null;
  /** The factor between the command line's unit and the option's. */
  flagScale?: number;
  /** The placeholder of the value in the command line's help, and the expected value in its messages. */
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
  /** The call that takes the options, for messages: 'transcribe'. */
  readonly name: string;
  readonly entries: E;
}

/** Options as given by the caller: all are optional, and null counts as absent. */
export type Given<G extends OptionGroup> = {
  -readonly [Name in keyof G['entries']]?: v.InferInput<G['entries'][Name]>;
};
/** Options after the check: without null, with defaults. */
export type Checked<G extends OptionGroup> = {
  -readonly [Name in keyof G['entries']]: v.InferOutput<G['entries'][Name]>;
};

export function option<T>(kind: Kind<T>, settings: OptionSettings<NoInfer<T>> & { default: NoInfer<T> }): Option<T, T>;
export function option<T>(kind: Kind<T>, settings?: OptionSettings<NoInfer<T>>): Option<T>;
export function option<T>(kind: Kind<T>, settings: OptionSettings<NoInfer<T>> = {}): Option<T> {
  const schema = v.nullish(kind, () => settings.default as never);
  return Object.assign(schema, { facts: { ...factsOf(kind), ...settings } }) as unknown as Option<T>;
}

/** Nested options (of type `Named` in the documentation), true for all their defaults, or false. */
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

/** Declares options; the comment before each is its documentation. */
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
  /** Formats the name of an invalid option for messages. */
  call?: (name: string) => string;
}

/**
 * Default values that are no objects, as they were checked. A request has dozens of options, most with their defaults,
 * which need no check.
 */
const defaults = new Map<Option<unknown, unknown>, unknown>();

/**
 * The checked options with their defaults. Throws OneheadError INVALID_ARGUMENT with the name of the invalid option.
 */
export function check<G extends OptionGroup>(
  group: G,
  given: unknown,
  { within = '', call = (name) => `${within}${name}` }: CheckSettings = {},
): Checked<G> {
  const absent = given === undefined || given === null;
  if (!absent && !isRecord(given)) refuse('options', `an object of options of ${group.name}`, given);
  const values = absent ? {} : (given as Record<string, unknown>);
  for (const name in values) if (!Object.hasOwn(group.entries, name)) refuseName(group, name);
  const checked: Record<string, unknown> = {};
  for (const name in group.entries) {
    const entry = group.entries[name];
    const value = values[name];
    if (defaults.has(entry) && (value === undefined || value === defaults.get(entry))) {
      checked[name] = defaults.get(entry);
      continue;
    }
    const result = v.safeParse(entry, value, { abortEarly: true });
    if (!result.success) refuse(call(name), entry.facts.expected, value);
    checked[name] = result.output;
    if (value === undefined && typeof result.output !== 'object') defaults.set(entry, result.output);
  }
  return checked as Checked<G>;
}

/** The values that are options of a group. */
export function pick<G extends OptionGroup>(group: G, values: Given<G>): Given<G> {
  const names = Object.keys(group.entries).filter((name) => Object.hasOwn(values, name));
  return Object.fromEntries(names.map((name) => [name, values[name as keyof Given<G>]])) as Given<G>;
}

/** The message for an unknown option. */
export function noSuchOption(
  given: string,
  said: string,
  group: NamedOptions,
  groups: readonly NamedOptions[],
  speech: Speech,
): string {
  const advice = adviceOn(given, group, groups, speech);
  return `There is no option ${said} of ${group.name}${advice}.`;
}

function refuseName(group: OptionGroup, name: string): never {
  throw new OneheadError('INVALID_ARGUMENT', noSuchOption(name, described(name), group, optionGroups, plainSpeech), {
    argument: name.slice(0, 100),
    expected: 'an option',
    received: described(name),
  });
}
