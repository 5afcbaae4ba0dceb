/** The open files of a checkpoint's weights, for a device to read. */
import { type Device, type Part, WeightsFile } from '../../device/device.js';
import { isPlain, type TensorEntry } from '../files/tensors.js';

export class WeightFiles {
  readonly #files = new Map<string, WeightsFile>();

  /**
   * Converts a tensor's entry to an argument of `Device.load`, and opens its file if it is not open. `name` is for
   * messages. Throws OneheadError MODEL_INVALID if the file cannot be opened.
   */
  part(name: string, { file, offset, shape, dtype, scales }: TensorEntry): Part {
    let opened = this.#files.get(file);
    if (!opened) {
      opened = new WeightsFile(file);
      this.#files.set(file, opened);
    }
    const elements = shape.reduce((a, b) => a * b, 1);
    const type = isPlain(dtype) ? { dtype } : { encoding: dtype, ...(scales && { scales }) };
    return { file: opened, offset, elements, name, ...type };
  }

  close(): void {
    for (const file of this.#files.values()) file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Decodes a quantized tensor to the bytes of float32 numbers. Throws OneheadError MODEL_INVALID. */
export async function decoded(device: Device, name: string, entry: TensorEntry): Promise<Buffer> {
  using files = new WeightFiles();
  const part = files.part(name, entry);
  const tensor = await device.load('float32', [part.elements], [part]);
  try {
    const { buffer, byteOffset, byteLength } = await tensor.toFloat32Array();
    return Buffer.from(buffer, byteOffset, byteLength);
  } finally {
    tensor.dispose();
  }
}
