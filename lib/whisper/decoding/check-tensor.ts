/** Checks a caller's tensor before it is used in a job, whose failure would affect other requests. */
import { refuse } from '../../checks.js';
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
  const fits =
    tensor instanceof Tensor &&
    tensor.shape.length === shape.length + 1 &&
    tensor.shape[0] >= 1 &&
    shape.every((size, i) => size === tensor.shape[i + 1]);
  if (!fits) {
    const received = tensor instanceof Tensor ? tensor.shape : tensor;
    refuse(name, `[windows, ${shape.join(', ')}]`, received, { code: 'INVALID_SHAPE' });
  }
  if (tensor.disposed) {
    const message = `The tensor ${name} has been disposed; dispose of it only after its last use.`;
    throw new OneheadError('DISPOSED', message, { argument: name });
  }
  if (!device.owns(tensor)) {
    const message = `${name} is a tensor of another device; pass a tensor of this model's \`device\`.`;
    const expected = "a tensor of this model's `device`";
    throw new OneheadError('INVALID_ARGUMENT', message, {
      argument: name,
      expected,
      received: 'one of another device',
    });
  }
  if (tensor.dtype !== dtype) refuse(name, `'${dtype}'`, tensor.dtype, { code: 'INVALID_DTYPE' });
  return tensor.shape[0];
}
