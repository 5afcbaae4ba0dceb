/** The check of a caller's tensor, before any other request can be affected by it. */
import { Tensor } from '../../device/tensor.js';
import type { ElementType } from '../../element-types.js';
import { OneheadError } from '../../errors.js';

/**
 * Checks that a tensor is [windows, ...shape] of that type. Returns the number of windows. Throws OneheadError
 * INVALID_SHAPE, INVALID_DTYPE or DISPOSED.
 */
export function checkTensor(given: Tensor, shape: readonly number[], dtype: ElementType, name: string): number {
  const refuse = (code: 'INVALID_SHAPE' | 'INVALID_DTYPE', expected: string, received: string) => {
    const sentence = `Expected ${name} to be ${expected} but received ${received}.`;
    throw new OneheadError(code, sentence, { argument: name, expected, received });
  };
  const fits =
    given instanceof Tensor &&
    given.shape.length === shape.length + 1 &&
    given.shape[0] >= 1 &&
    shape.every((size, i) => size === given.shape[i + 1]);
  if (!fits) {
    const received = given instanceof Tensor ? `[${given.shape.join(', ')}]` : typeof given;
    refuse('INVALID_SHAPE', `[windows, ${shape.join(', ')}]`, received);
  }
  if (given.disposed) {
    const sentence = `The tensor that was given as ${name} has been disposed; use it before dispose().`;
    throw new OneheadError('DISPOSED', sentence, { argument: name });
  }
  if (given.dtype !== dtype) refuse('INVALID_DTYPE', dtype, given.dtype);
  return given.shape[0];
}
