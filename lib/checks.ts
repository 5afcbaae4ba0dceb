/** Argument checks. */
import { OneheadError, shown } from './errors.js';

/**
 * A value for messages: strings in quotation marks, lists by their items, objects by their class; one line, shortened.
 */
export function described(value: unknown): string {
  return shown(whole(value), 120);
}

function whole(value: unknown): string {
  if (typeof value === 'string') return `'${shown(value, 118)}'`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint' || typeof value === 'symbol') return `a ${typeof value}`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) {
    return value.length === 0 ? 'an empty list' : `[${value.slice(0, 20).map(item).join(', ')}]`;
  }
  const name = value.constructor?.name;
  return name && name !== 'Object' ? name : 'an object';
}

const item = (value: unknown): string => (Array.isArray(value) ? '[...]' : whole(value));

/** Throws OneheadError INVALID_ARGUMENT: "Expected ... to be ... but received ...". */
export function refuse(argument: string, expected: string, received: unknown): never {
  const told = described(received);
  throw new OneheadError('INVALID_ARGUMENT', `Expected ${argument} to be ${expected} but received ${told}.`, {
    argument,
    expected,
    received: told,
  });
}

export function integerIn(argument: string, value: unknown, low: number, high: number): number {
  const fits = Number.isInteger(value) && (value as number) >= low && (value as number) <= high;
  if (!fits) refuse(argument, `a whole number from ${low} to ${high}`, value);
  return value as number;
}

/** Returns a signal; null counts as absent. */
export function checkSignal(signal: unknown): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined;
  if (!(signal instanceof AbortSignal)) refuse('signal', 'an AbortSignal', signal);
  return signal;
}
