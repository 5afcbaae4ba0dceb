/** Checks of arguments before they are passed to the addon, which checks tensors, numbers and names. */
import { described, refuse } from '../checks.js';
import { OneheadError } from '../errors.js';
import type { NativeTensor } from './native.js';
import { Tensor } from './tensor.js';

/** Throws OneheadError INVALID_ARGUMENT: "attention: expected keys to be an object but received 5." */
export function refuseOf(operation: string, argument: string, expected: string, value: unknown): never {
  const received = described(value);
  const message = `${operation}: expected ${argument} to be ${expected} but received ${received}.`;
  throw new OneheadError('INVALID_ARGUMENT', message, { operation, argument, expected, received });
}

/** True for an object with properties: neither a list, nor a tensor, nor data. */
function isOptions(value: unknown): value is object {
  const isObject = typeof value === 'object' && value !== null;
  return isObject && !Array.isArray(value) && !ArrayBuffer.isView(value) && !(value instanceof Tensor);
}

/** Returns an object of options. Throws OneheadError INVALID_ARGUMENT for other values. */
export function optionsOf<T extends object>(argument: string, value: T): T {
  if (!isOptions(value)) refuse(argument, 'an object', value);
  return value;
}

/** Returns an operation's object of options; none if it is undefined. */
export function argumentsOf<T extends object>(operation: string, argument: string, value: T | undefined): Partial<T> {
  if (value === undefined) return {};
  if (!isOptions(value)) refuseOf(operation, argument, 'an object', value);
  return value;
}

/** The same as arguments of the addon: those of `keys` are called 'keys.begin' and 'keys.count'. */
export function nestedArguments(operation: string, argument: string, value: object | undefined): Record<string, never> {
  const entries = Object.entries(argumentsOf(operation, argument, value));
  return Object.fromEntries(entries.map(([name, given]) => [`${argument}.${name}`, given as never]));
}

/** Returns the addon's tensor. Throws OneheadError INVALID_ARGUMENT if the value is not a tensor. */
export function nativeTensor(argument: string, value: Tensor, operation?: string): NativeTensor {
  if (value instanceof Tensor && value.native) return value.native;
  if (operation !== undefined) refuseOf(operation, argument, 'a Tensor', value);
  refuse(argument, 'a Tensor', value);
}
