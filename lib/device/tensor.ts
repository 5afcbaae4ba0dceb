import { requireMemory } from '../checks.js';
import type { ElementType } from '../element-types.js';
import type { NativeDevice, NativeTensor, TensorData } from './native.js';

/**
 * Memory of a device with a type and a shape, in row-major order; or a temporary of a program that is being recorded.
 * Free it with `dispose()` or `using`. Memory that a program uses is freed with that program.
 */
export class Tensor {
  /** @internal */
  readonly native: NativeTensor;
  /** The addon's device; undefined for a temporary of a program. @internal */
  readonly owner: NativeDevice | undefined;
  readonly dtype: ElementType;
  readonly shape: readonly number[];

  /** @internal */
  constructor(native: NativeTensor, owner?: NativeDevice) {
    this.native = native;
    this.owner = owner;
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
   * Writes elements in row-major order, beginning at element `first`. A Float32Array is converted to the tensor's
   * floating type; a Uint16Array contains the bits of 16-bit floats. The data is copied before this returns; the
   * promise resolves when it is on the device.
   */
  write(data: TensorData, first = 0): Promise<void> {
    if (ArrayBuffer.isView(data)) requireMemory('data', data);
    return this.native.write(data, first);
  }

  /** Reads the elements of a floating tensor as float32: all, or `count` of them from element `first` on. */
  async toFloat32Array(first = 0, count = this.size - first): Promise<Float32Array> {
    const data = await this.native.read(first, count);
    return data instanceof Float32Array ? data : Float32Array.from(data);
  }

  /** Reads the elements of an int32 tensor: all, or `count` of them from element `first` on. */
  async toInt32Array(first = 0, count = this.size - first): Promise<Int32Array> {
    const data = await this.native.read(first, count);
    return data instanceof Int32Array ? data : Int32Array.from(data);
  }

  /** Reads the elements of an int8 tensor, such as an 8-bit weight: all, or `count` of them from element `first` on. */
  async toInt8Array(first = 0, count = this.size - first): Promise<Int8Array> {
    const data = await this.native.read(first, count);
    return data instanceof Int8Array ? data : Int8Array.from(data);
  }

  /** A view of `count` columns of the last dimension, for arguments that allow one. It shares this tensor's memory. */
  columns(begin: number, count: number): Tensor {
    return new Tensor(this.native.columns(begin, count), this.owner);
  }

  /** A view of one element of the first dimension. It shares this tensor's memory. */
  slice(index: number): Tensor {
    return new Tensor(this.native.slice(index), this.owner);
  }

  /** A view of contiguous elements, beginning at element `first`, with a new shape. It shares this tensor's memory. */
  part(first: number, shape: readonly number[]): Tensor {
    return new Tensor(this.native.part(first, shape), this.owner);
  }

  /** A view of all elements with a new shape. It shares this tensor's memory. */
  reshape(shape: readonly number[]): Tensor {
    return new Tensor(this.native.reshape(shape), this.owner);
  }

  /** Frees the memory. Using the tensor afterwards throws OneheadError DISPOSED; disposing of it again does nothing. */
  dispose(): void {
    this.native.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
