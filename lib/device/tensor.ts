import type { ElementType } from '../element-types.js';
import type { NativeTensor, TensorData } from './native.js';

/**
 * Typed, shaped memory of a device, or a place in a program while it is recorded. Rows are contiguous, the last
 * dimension fastest. Free it with `dispose()` or `using`; memory that a program still uses lives until that program is
 * disposed.
 */
export class Tensor {
  /** @internal */
  readonly native: NativeTensor;
  readonly dtype: ElementType;
  readonly shape: readonly number[];

  /** @internal */
  constructor(native: NativeTensor) {
    this.native = native;
    this.dtype = native.dtype;
    this.shape = Object.freeze(native.shape);
  }

  /** Number of elements. */
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }

  get disposed(): boolean {
    return this.native.disposed;
  }

  /**
   * Writes elements in row-major order, from element `at` on. Float32Array is converted to the tensor's floating type;
   * Uint16Array holds the bits of a 16-bit float. The array may be changed as soon as this returns; the promise tells
   * when the device has them.
   */
  write(data: TensorData, at = 0): Promise<void> {
    return this.native.write(data, at);
  }

  /** All elements of a floating tensor, or `count` of them from element `at` on, as float32. */
  async toFloat32Array(at = 0, count = this.size - at): Promise<Float32Array> {
    const data = await this.native.read(at, count);
    return data instanceof Float32Array ? data : Float32Array.from(data);
  }

  /** The elements of an int32 tensor. */
  async toInt32Array(at = 0, count = this.size - at): Promise<Int32Array> {
    const data = await this.native.read(at, count);
    return data instanceof Int32Array ? data : Int32Array.from(data);
  }

  /** The elements of an int8 tensor, or of a weight of 8 bits, row by row. */
  async toInt8Array(at = 0, count = this.size - at): Promise<Int8Array> {
    const data = await this.native.read(at, count);
    return data instanceof Int8Array ? data : Int8Array.from(data);
  }

  /** A view of `count` columns of the last dimension, for attention's arguments. It shares this tensor's memory. */
  columns(begin: number, count: number): Tensor {
    return new Tensor(this.native.columns(begin, count));
  }

  /** A view of one element of the first dimension. It shares this tensor's memory. */
  slice(index: number): Tensor {
    return new Tensor(this.native.slice(index));
  }

  /**
   * A view of neighbouring elements, from element `at` on, under a shape of their own. It shares this tensor's memory.
   */
  part(at: number, shape: readonly number[]): Tensor {
    return new Tensor(this.native.part(at, shape));
  }

  /** A view of the same elements under another shape. */
  reshape(shape: readonly number[]): Tensor {
    return new Tensor(this.native.reshape(shape));
  }

  /** Frees the memory. Using the tensor afterwards is an error with code DISPOSED; disposing it again is not. */
  dispose(): void {
    this.native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
