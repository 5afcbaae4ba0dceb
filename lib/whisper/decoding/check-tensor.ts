/** Checks a caller's tensor before it is used in a job, whose failure would affect other requests. */
import type { Device } from '../../device/device.js';
import { Tensor } from '../../device/tensor.js';
import type { ElementType } from '../../element-types.js';
import { OneheadError } from '../../errors.js';

/**
 * Checks that a tensor has the shape [windows, ...shape] and the type `dtype`, and is on the device. Returns the number
 * of windows. Throws OneheadError INVALID_SHAPE, INVALID_DTYPE, INVALID_ARGUMENT or DISPOSED.
 */
export function checkTensor(
  tensor: Tensor,
  device: Device,
  shape: readonly number[],
  dtype: ElementType,
  name: string,
): number {
  const refuse = (code: 'INVALID_SHAPE' | 'INVALID_DTYPE' | 'INVALID_ARGUMENT', expected: string, received: string) => {
    const message = `Expected ${name} to be ${expected} but received ${received}.`;
    throw new OneheadError(code, message, { argument: name, expected, received });
  };
  const fits =
    tensor instanceof Tensor &&
    tensor.shape.length === shape.length + 1 &&
    tensor.shape[0] >= 1 &&
    shape.every((size, i) => size === tensor.shape[i + 1]);
  if (!fits) {
    const received = tensor instanceof Tensor ? `[${tensor.shape.join(', ')}]` : typeof tensor;
    refuse('INVALID_SHAPE', `[windows, ${shape.join(', ')}]`, received);
  }
  if (tensor.disposed) {
    const message = `The tensor ${name} has been disposed; dispose of it only after its last use.`;
    throw new OneheadError('DISPOSED', message, { argument: name });
  }
  if (!device.owns(tensor)) refuse('INVALID_ARGUMENT', "a tensor of this model's `device`", 'one of another device');
  if (tensor.dtype !== dtype) refuse('INVALID_DTYPE', dtype, tensor.dtype);
  return tensor.shape[0];
}
