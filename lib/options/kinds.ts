/**
 * What an option can hold: each kind has its check, its words for sentences, and how it is read from a command line's
 * text.
 */
import * as v from 'valibot';

export interface KindFacts {
  /** For sentences, such as 'a whole number from 1 to 16'. */
  expected: string;
  /** The same for what a command line gives, where that looks different. */
  expectedText?: string;
  /**
   * What stands for it in a command line's help, such as N; '' where the flag alone says it. Absent: no command line
   * can give it.
   */
  placeholder?: string;
  /** The value that a text means; the text itself where it means none, which the check then refuses. */
  read?: (text: string) => unknown;
  /** True where a flag may be given several times, for all items together. */
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

/** A number in a range, both ends included unless `above` is set: then the lower one is not. */
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

/** A whole number; without `high` there is no limit but that of whole numbers. */
export function integer(low: number, high = Number.MAX_SAFE_INTEGER): Kind<number> {
  return kind(v.pipe(v.number(), v.safeInteger(), v.minValue(low), v.maxValue(high)), {
    expected:
      high === Number.MAX_SAFE_INTEGER ? `a whole number of at least ${low}` : `a whole number from ${low} to ${high}`,
    placeholder: 'N',
    // Digits alone: 1e3 and 0x10 are rather mistakes than numbers here.
    read: (text) => (/^\d+$/.test(text) ? Number(text) : text),
  });
}

export function flag(): Kind<boolean> {
  return kind(v.boolean(), { expected: 'true or false', placeholder: '' });
}

/** `filled`: more than blanks. */
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

/** A list; `least` items at least. A text holds them with commas between. */
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

/** One of two kinds. A text is read as the second where that takes it, else as the first. */
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

/** Whatever `fits`. */
export function custom<T>(fits: (value: unknown) => boolean, facts: KindFacts): Kind<T> {
  return kind(v.custom<T>(fits), facts);
}

/** Token ids. That the model has them is checked where they are used. */
export function tokens(): Kind<readonly number[]> {
  const isId = (id: unknown) => Number.isInteger(id) && (id as number) >= 0;
  return custom((value) => Array.isArray(value) && value.every(isId), { expected: 'a list of token ids' });
}

/** A text, or token ids. */
export function textOrTokens(): Kind<string | readonly number[]> {
  return either(text(), tokens(), 'a text or a list of token ids');
}
