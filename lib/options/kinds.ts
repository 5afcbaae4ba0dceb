/** The types of options, each with a check, a description for messages, and a parser for the command line. */
import * as v from 'valibot';

export interface KindFacts {
  /** For messages, such as 'a whole number from 1 to 16'. */
  expected: string;
  /** The same for values on the command line, if they look different. */
  expectedText?: string;
  /**
   * The placeholder of the value in the command line's help, such as N; '' if the flag takes no value. Absent if the
   * option cannot be given on a command line.
   */
  placeholder?: string;
  /** Parses a text; returns the text itself if it is invalid, which the check then refuses. */
  read?: (text: string) => unknown;
  /** True if the flag may be given several times, with the items of all together. */
  repeats?: boolean;
}

/** A schema of values of type T. */
export type Kind<T> = v.GenericSchema<T, T>;

function kind<T>(schema: v.GenericSchema<T, T>, facts: KindFacts): Kind<T> {
  return v.pipe(schema, v.metadata(facts as unknown as Record<string, unknown>)) as Kind<T>;
}

export function factsOf(one: v.GenericSchema): KindFacts {
  return v.getMetadata(one) as unknown as KindFacts;
}

const readNumber = (text: string): unknown => {
  const number = Number(text);
  return text.trim() === '' || Number.isNaN(number) ? text : number;
};

/** A number in a range, including both ends; with `above`, excluding the lower end. */
export function number(
  low: number,
  high = Number.POSITIVE_INFINITY,
  { above = false, placeholder = 'X' } = {},
): Kind<number> {
  const least = above ? v.gtValue<number, number>(low) : v.minValue<number, number>(low);
  return kind(v.pipe(v.number(), least, v.maxValue(high)), {
    expected: `a number ${above ? 'above' : 'from'} ${low}${high === Number.POSITIVE_INFINITY ? '' : `, ${high} at most`}`,
    placeholder,
    read: readNumber,
  });
}

/** A whole number; without `high`, up to the largest safe integer. */
export function integer(low: number, high = Number.MAX_SAFE_INTEGER): Kind<number> {
  return kind(v.pipe(v.number(), v.safeInteger(), v.minValue(low), v.maxValue(high)), {
    expected:
      high === Number.MAX_SAFE_INTEGER ? `a whole number of at least ${low}` : `a whole number from ${low} to ${high}`,
    placeholder: 'N',
    // Only digits: 1e3 and 0x10 are probably mistakes.
    read: (text) => (/^\d+$/.test(text) ? Number(text) : text),
  });
}

export function flag(): Kind<boolean> {
  return kind(v.boolean(), { expected: 'true or false', placeholder: '' });
}

/** `filled`: not only spaces. */
export function text(placeholder = 'TEXT', expected = 'a text', { filled = false } = {}): Kind<string> {
  return kind(
    v.pipe(
      v.string(),
      v.check((given) => !filled || given.trim() !== ''),
    ),
    { expected, placeholder, read: (given) => given },
  );
}

export function oneOf<const T extends string>(names: readonly T[], placeholder = 'NAME'): Kind<T> {
  return kind(v.picklist(names) as v.GenericSchema<T, T>, {
    expected: quoted(names),
    placeholder,
    read: (given) => given,
  });
}

/** 'a', 'b' or 'c'. */
export function quoted(names: readonly string[]): string {
  const all = names.map((name) => `'${name}'`);
  return all.length < 2 ? all.join('') : `${all.slice(0, -1).join(', ')} or ${all.at(-1)}`;
}

/** A list with at least `least` items. On the command line they are separated by commas. */
export function list<T>(one: Kind<T>, expected: string, least = 0): Kind<readonly T[]> {
  const { read, placeholder } = factsOf(one);
  return kind(v.pipe(v.array(one), v.minLength(least)) as v.GenericSchema<readonly T[], readonly T[]>, {
    expected,
    ...(read && {
      repeats: true,
      placeholder: `${placeholder},...`,
      read: (given) => (given === '' ? [] : given.split(',').map((part) => read(part))),
    }),
  });
}

/** One of two types. A text is parsed as the second if that accepts it, otherwise as the first. */
export function either<A, B>(first: Kind<A>, second: Kind<B>, expected?: string): Kind<A | B> {
  const [one, other] = [factsOf(first), factsOf(second)];
  return kind(v.union([first, second]) as unknown as v.GenericSchema<A | B, A | B>, {
    expected: expected ?? `${one.expected} or ${other.expected}`,
    placeholder: one.placeholder,
    ...(one.read && {
      read: (given) => {
        const value = other.read?.(given);
        return other.read && v.is(second, value) ? value : one.read!(given);
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

/** Any value that `fits` accepts. */
export function custom<T>(fits: (value: unknown) => boolean, facts: KindFacts): Kind<T> {
  return kind(v.custom<T>(fits), facts);
}

/** Token ids. Whether the model has them is checked where they are used. */
export function tokens(): Kind<readonly number[]> {
  const isId = (id: unknown) => Number.isInteger(id) && (id as number) >= 0;
  return custom((value) => Array.isArray(value) && value.every(isId), { expected: 'a list of token ids' });
}

/** A text, or token ids. */
export function textOrTokens(): Kind<string | readonly number[]> {
  return either(text(), tokens(), 'a text or a list of token ids');
}
