import { expectedMessage } from '../checks.js';

/** An error in the arguments of a command. It is printed as a sentence; the exit status is 2. */
export class UsageError extends Error {}

/** Throws UsageError with `expectedMessage`. */
export function refuseFlag(flag: string, expected: string, received: unknown): never {
  throw new UsageError(expectedMessage(flag, expected, received));
}

/** Returns the value if it is allowed. Throws UsageError. */
export function oneOf<const T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const match = allowed.find((item) => item === value);
  if (!match) refuseFlag(option, allowed.join(', '), value);
  return match;
}

/** Parses a whole number of at least 1; undefined if the option is absent. Throws UsageError. */
export function positiveInteger(option: string, value: string | undefined): number | undefined {
  if (value === undefined) return undefined;
  const number = Number(value);
  if (!/^\d+$/.test(value) || number < 1 || !Number.isSafeInteger(number)) {
    refuseFlag(option, 'a whole number of at least 1', value);
  }
  return number;
}
