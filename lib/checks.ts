/** Checks of arguments, each with one sentence. */
import { OneheadError, shown } from './errors.js';

export function refuse(argument: string, expected: string, received: unknown): never {
  throw new OneheadError(
    'INVALID_ARGUMENT',
    `Expected ${argument} to be ${expected} but received ${shown(received)}.`,
    {
      argument,
      expected,
      received: String(received),
    },
  );
}

/** A number in a range, both ends included unless `above` is set: then the lower one is not. */
export function numberIn(argument: string, value: unknown, low: number, high: number, above = false): number {
  const fits = typeof value === 'number' && value <= high && (above ? value > low : value >= low);
  if (!fits) refuse(argument, `a number ${above ? 'above' : 'from'} ${low}, ${high} at most`, value);
  return value;
}

export function integerIn(argument: string, value: unknown, low: number, high: number): number {
  const fits = Number.isInteger(value) && (value as number) >= low && (value as number) <= high;
  if (!fits) refuse(argument, `a whole number from ${low} to ${high}`, value);
  return value as number;
}
