/** The types of options: a check, a description for messages, and a parser for the command line. */
import * as v from 'valibot';
import { longestDelay } from '../timers.js';

export interface KindFacts {
  /** For messages, such as 'a whole number from 1 to 16'. */
  expected: string;
  /** The same for values on the command line, if their syntax differs. */
  expectedText?: string;
  /**
   * The placeholder of the value in the command line's help, such as N; '' if the flag takes no value. Absent if the
   * option cannot be given on a command line.
   */
  placeholder?: string;
  /** Parses a value of the command line. Returns invalid text unchanged, which the check then refuses. */
  read?: (text: string) => unknown;
  /** True if the flag may be repeated; then the lists are joined. */
  repeats?: boolean;
  /** The factor by which the flag's number is multiplied, if its unit differs from the option's. */
  flagScale?: number;
}

/** A schema of values of type T. */
export type Kind<T> = v.GenericSchema<T, T>;

function kind<T>(schema: v.GenericSchema<T, T>, facts: KindFacts): Kind<T> {
  return v.pipe(schema, v.metadata(facts as unknown as Record<string, unknown>)) as Kind<T>;
}

export function factsOf(schema: v.GenericSchema): KindFacts {
  return v.getMetadata(schema) as unknown as KindFacts;
}

const readNumber = (text: string): unknown => {
  const number = Number(text);
  return text.trim() === '' || Number.isNaN(number) ? text : number;
};

function rangeText(min: number, max: number, above: boolean): string {
  if (max === Number.POSITIVE_INFINITY) return `a number ${above ? 'above' : 'of at least'} ${min}`;
  return above ? `a number above ${min}, at most ${max}` : `a number from ${min} to ${max}`;
}

/** A number in a range that includes both ends; with `above`, it excludes the lower end. */
export function number(
  min: number,
  max = Number.POSITIVE_INFINITY,
  { above = false, placeholder = 'X' } = {},
): Kind<number> {
  const lowerBound = above ? v.gtValue<number, number>(min) : v.minValue<number, number>(min);
  return kind(v.pipe(v.number(), lowerBound, v.maxValue(max)), {
    expected: rangeText(min, max, above),
    placeholder,
    read: readNumber,
  });
}

/** A duration in milliseconds, which a timer can wait; flags take seconds. */
export function milliseconds(min = 0, { above = false, max = longestDelay } = {}): Kind<number> {
  const lowerBound = above ? v.gtValue<number, number>(min) : v.minValue<number, number>(min);
  const range = (unit: number) => rangeText(min / unit, max / unit, above).replace(/^a number/, '');
  return kind(v.pipe(v.number(), lowerBound, v.maxValue(max)), {
    expected: `milliseconds${range(1)}`,
    expectedText: `seconds${range(1000)}`,
    placeholder: 'SECONDS',
    read: readNumber,
    flagScale: 1000,
  });
}

/** A whole number; the default of `max` is the largest safe integer. */
export function integer(min: number, max = Number.MAX_SAFE_INTEGER): Kind<number> {
  return kind(v.pipe(v.number(), v.safeInteger(), v.minValue(min), v.maxValue(max)), {
    expected:
      max === Number.MAX_SAFE_INTEGER ? `a whole number of at least ${min}` : `a whole number from ${min} to ${max}`,
    placeholder: 'N',
    // Only digits, since 1e3 and 0x10 are probably mistakes.
    read: (text) => (/^\d+$/.test(text) ? Number(text) : text),
  });
}

export function flag(): Kind<boolean> {
  return kind(v.boolean(), { expected: 'true or false', placeholder: '' });
}

/** A string; with `notBlank`, one with other characters than spaces. */
export function text(placeholder = 'TEXT', expected = 'a string', { notBlank = false } = {}): Kind<string> {
  return kind(
    v.pipe(
      v.string(),
      v.check((given) => !notBlank || given.trim() !== ''),
    ),
    { expected, placeholder, read: (given) => given },
  );
}

/** One of several names. On the command line, `aliases` are accepted too. */
export function oneOf<const T extends string>(
  names: readonly T[],
  placeholder = 'NAME',
  aliases: Readonly<Record<string, T>> = {},
): Kind<T> {
  return kind(v.picklist(names) as v.GenericSchema<T, T>, {
    expected: quoted(names),
    placeholder,
    read: (given) => (Object.hasOwn(aliases, given) ? aliases[given] : given),
  });
}

/** Formats names as 'a', 'b' or 'c'. */
export function quoted(names: readonly string[]): string {
  const items = names.map((name) => `'${name}'`);
  return items.length < 2 ? items.join('') : `${items.slice(0, -1).join(', ')} or ${items.at(-1)}`;
}

/** A list with at least `minLength` items. On the command line they are separated by commas. */
export function list<T>(item: Kind<T>, expected: string, minLength = 0): Kind<readonly T[]> {
  const { read, placeholder } = factsOf(item);
  return kind(v.pipe(v.array(item), v.minLength(minLength)) as v.GenericSchema<readonly T[], readonly T[]>, {
    expected,
    ...(read && {
      repeats: true,
      placeholder: `${placeholder},...`,
      read: (given) => (given === '' ? [] : given.split(',').map((part) => read(part))),
    }),
  });
}

/** One of two types. On the command line, a value is parsed as the second if that accepts it, else as the first. */
export function either<A, B>(first: Kind<A>, second: Kind<B>, expected?: string): Kind<A | B> {
  const [firstFacts, secondFacts] = [factsOf(first), factsOf(second)];
  return kind(v.union([first, second]) as unknown as v.GenericSchema<A | B, A | B>, {
    expected: expected ?? `${firstFacts.expected} or ${secondFacts.expected}`,
    placeholder: firstFacts.placeholder,
    ...(firstFacts.read && {
      read: (given) => {
        const value = secondFacts.read?.(given);
        return secondFacts.read && v.is(second, value) ? value : firstFacts.read!(given);
      },
    }),
  });
}

/** A function. */
export function callback<T extends (...given: never[]) => unknown>(): Kind<T> {
  return kind(v.function() as unknown as v.GenericSchema<T, T>, { expected: 'a function' });
}

export function signal(): Kind<AbortSignal> {
  return kind(v.instance(AbortSignal), { expected: 'an AbortSignal' });
}

/** Any value that `accepts` returns true for. */
export function custom<T>(accepts: (value: unknown) => boolean, facts: KindFacts): Kind<T> {
  return kind(v.custom<T>(accepts), facts);
}

/** Token ids. Whether the vocabulary contains them is checked later. */
export function tokens(): Kind<readonly number[]> {
  const isId = (id: unknown) => Number.isInteger(id) && (id as number) >= 0;
  return custom((value) => Array.isArray(value) && value.every(isId), { expected: 'a list of token ids' });
}

/** A string, or token ids. */
export function textOrTokens(): Kind<string | readonly number[]> {
  return either(text(), tokens(), 'a string or a list of token ids');
}
