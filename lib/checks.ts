/** Argument checks. */
import { type ErrorCode, OneheadError, shown } from './errors.js';

/**
 * Describes a value for a message, shortened: a string in quotation marks, a list with its items, an object's class.
 */
export function described(value: unknown): string {
  return shown(describeValue(value), 120);
}

function describeValue(value: unknown): string {
  if (value === '') return 'an empty string';
  if (typeof value === 'string') return `'${shown(value, 118)}'`;
  if (typeof value === 'function') return 'a function';
  if (typeof value === 'bigint' || typeof value === 'symbol') return `a ${typeof value}`;
  if (typeof value !== 'object' || value === null) return String(value);
  if (Array.isArray(value)) {
    return value.length === 0 ? 'an empty list' : `[${value.slice(0, 20).map(describeItem).join(', ')}]`;
  }
  const name = value.constructor?.name;
  return name && name !== 'Object' ? name : 'an object';
}

const describeItem = (value: unknown): string => (Array.isArray(value) ? '[...]' : describeValue(value));

/**
 * The message for an invalid value: "Expected threads to be a whole number of at least 1 but received 0." `advice` is
 * added after a semicolon; it is for values where the rest does not say what to do.
 */
export function expectedMessage(argument: string, expected: string, received: unknown, advice?: string): string {
  const end = advice === undefined ? '' : `; ${advice}`;
  return `Expected ${argument} to be ${expected} but received ${described(received)}${end}.`;
}

/** Throws OneheadError with `expectedMessage`, and with code INVALID_ARGUMENT if no other one is given. */
export function refuse(
  argument: string,
  expected: string,
  received: unknown,
  { code = 'INVALID_ARGUMENT', advice }: { code?: ErrorCode; advice?: string } = {},
): never {
  const message = expectedMessage(argument, expected, received, advice);
  throw new OneheadError(code, message, { argument, expected, received: described(received) });
}

/** Refuses what is not an object with properties. */
export function requireObject(argument: string, value: unknown): asserts value is Record<string, unknown> {
  if (typeof value !== 'object' || value === null || Array.isArray(value)) refuse(argument, 'an object', value);
}

/** Returns a list. Throws OneheadError INVALID_ARGUMENT for other values. */
export function listOf<T>(argument: string, value: readonly T[]): readonly T[] {
  if (!Array.isArray(value)) refuse(argument, 'a list', value);
  return value;
}

const { keys } = Object.getPrototypeOf(Uint8Array.prototype) as Uint8Array;

/**
 * Refuses data whose buffer was transferred, to a worker for example, or resized to less than the data: its length is
 * 0, so it would count as no data.
 */
export function requireMemory(argument: string, data: ArrayBufferView | ArrayBufferLike): void {
  try {
    if (data.byteLength > 0) return;
    if (ArrayBuffer.isView(data)) data instanceof DataView ? data.byteLength : keys.call(data);
    else new Uint8Array(data);
  } catch {
    refuse(argument, 'data that is still in memory', data, {
      advice: 'its buffer was transferred or shrunk, so pass a copy',
    });
  }
}

/** Returns a whole number from `min` to `max`. Throws OneheadError INVALID_ARGUMENT for other values. */
export function integerIn(argument: string, value: unknown, min: number, max: number): number {
  const isValid = Number.isInteger(value) && (value as number) >= min && (value as number) <= max;
  if (!isValid) refuse(argument, `a whole number from ${min} to ${max}`, value);
  return value as number;
}

/** Returns a whole number of at least 1. Throws OneheadError INVALID_ARGUMENT for other values. */
export function countOf(argument: string, value: unknown): number {
  if (!Number.isSafeInteger(value) || (value as number) < 1) refuse(argument, 'a whole number of at least 1', value);
  return value as number;
}

/** Returns a signal; null counts as absent. Throws OneheadError INVALID_ARGUMENT for other values. */
export function checkSignal(signal: unknown, argument = 'signal'): AbortSignal | undefined {
  if (signal === undefined || signal === null) return undefined;
  if (!(signal instanceof AbortSignal)) refuse(argument, 'an AbortSignal', signal);
  return signal;
}
