/** Declares cases of operations, and makes their operands. test/cases/index.ts explains how to add a case. */
import type { Operations, QuantizedWeight } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import type { ElementType, FloatingType } from '../../lib/element-types.js';
import { quantizedRows, random, stored } from '../device/reference.js';

export type Values = Float32Array | Int32Array | Uint8Array | Int8Array;

/**
 * A tensor of a case. Its values are made on first use, since timed cases are large and do not need them.
 */
export class Operand<V extends Values = Values> {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  /** A weight that never changes, which a device may store in its own layout; timed that way. */
  constant = false;
  readonly #make: () => V;
  #values: V | undefined;
  constructor(dtype: ElementType, shape: readonly number[], make: () => V) {
    this.dtype = dtype;
    this.shape = shape;
    this.#make = make;
  }
  /** In row-major order; floating-point values rounded to the type. */
  get values(): V {
    this.#values ??= this.#make();
    return this.#values;
  }
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }
}

/** An int8 weight [outputs, inputs] of a product, with one scale for each row. `values` are the dequantized numbers. */
export class QuantizedOperand extends Operand<Float32Array> {
  /** The numbers from which it was quantized. */
  readonly given: Operand<Float32Array>;
  constructor(given: Operand<Float32Array>) {
    super('int8', given.shape, () => quantizedRows(given.values, given.shape[1]).widened);
    this.given = given;
  }
}

/** Makes operands. Random ones are the same in every run. */
export class Make {
  /** The storage type with which the case runs. */
  readonly dtype: FloatingType;
  #seed = 0;
  constructor(dtype: FloatingType) {
    this.dtype = dtype;
  }
  /** Random numbers from `mean` - `size` to `mean` + `size`. Default type: the storage type. */
  random(
    shape: readonly number[],
    { dtype = this.dtype, size = 1, mean = 0 }: { dtype?: FloatingType; size?: number; mean?: number } = {},
  ): Operand<Float32Array> {
    const seed = ++this.#seed;
    const make = (count: number) => random(count, seed).map((value) => size * value + mean);
    return new Operand(dtype, shape, () => stored(make(sizeOf(shape)), dtype));
  }
  /** A weight in the storage type. */
  weight(shape: readonly number[]): Operand<Float32Array> {
    const weight = this.random(shape);
    weight.constant = true;
    return weight;
  }
  /** An int8 weight. */
  quantized(shape: readonly [number, number]): QuantizedOperand {
    return new QuantizedOperand(this.random(shape, { dtype: 'float32' }));
  }
  /** The given numbers. Default type: the storage type. */
  floats(
    shape: readonly number[],
    values: ArrayLike<number> | (() => ArrayLike<number>),
    dtype: FloatingType = this.dtype,
  ): Operand<Float32Array> {
    const make = typeof values === 'function' ? values : () => values;
    return new Operand(dtype, shape, () => stored(Float32Array.from(make()), dtype));
  }
  integers(values: ArrayLike<number>, shape: readonly number[] = [values.length]): Operand<Int32Array> {
    return new Operand('int32', shape, () => Int32Array.from(values));
  }
  /** int32 numbers from `from` to `to` - 1. */
  wholes(shape: readonly number[], from: number, to: number): Operand<Int32Array> {
    const seed = ++this.#seed;
    return new Operand('int32', shape, () =>
      Int32Array.from(wholeNumbers(sizeOf(shape), to - from, seed), (x) => x + from),
    );
  }
  bytes(values: ArrayLike<number>, shape: readonly number[] = [values.length]): Operand<Uint8Array> {
    return new Operand('uint8', shape, () => Uint8Array.from(values));
  }
  /** int8 numbers. */
  int8(shape: readonly number[]): Operand<Int8Array> {
    const seed = ++this.#seed;
    return new Operand('int8', shape, () => Int8Array.from(wholeNumbers(sizeOf(shape), 255, seed), (x) => x - 127));
  }
  /** float32 numbers above 0, up to `size`: scales of int8 numbers. */
  scales(shape: readonly number[], size: number): Operand<Float32Array> {
    const seed = ++this.#seed;
    const value = (x: number) => (size * (x + 1.01)) / 2.01;
    return new Operand('float32', shape, () => random(sizeOf(shape), seed).map(value));
  }
  /** Zeros that the operation may overwrite. */
  zeros(shape: readonly number[], dtype: FloatingType = 'float32'): Operand<Float32Array> {
    return new Operand(dtype, shape, () => new Float32Array(sizeOf(shape)));
  }
  /**
   * Memory that the operation writes. It first contains NaN (floating-point) or -77, which must not remain where a
   * result is expected.
   */
  output(shape: readonly number[], dtype: ElementType = this.dtype): Operand {
    const count = sizeOf(shape);
    if (dtype === 'int32') return new Operand(dtype, shape, () => new Int32Array(count).fill(-77));
    if (dtype === 'int8') return new Operand(dtype, shape, () => new Int8Array(count).fill(-77));
    return new Operand(dtype, shape, () => new Float32Array(count).fill(Number.NaN));
  }
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** `count` whole numbers from 0 to `limit` - 1. */
export function wholeNumbers(count: number, limit: number, seed: number): number[] {
  return Array.from(random(count, seed), (x) => Math.min(limit - 1, Math.floor(((x + 1) / 2) * limit)));
}

/** Random choices for cases, from a seed. */
export class Choices {
  #state: number;
  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) + 0x7f4a7c15) >>> 0;
  }
  /** From 0 to `limit` - 1. */
  below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * limit);
  }
  of<T>(values: readonly T[]): T {
    return values[this.below(values.length)];
  }
  chance(): boolean {
    return this.below(2) === 0;
  }
}

/** The expected contents of an operand after the run. All other operands must be unchanged. */
export interface Expected {
  /** 'finite': any finite numbers; 'any': any contents. */
  values: ArrayLike<number> | 'finite' | 'any';
  /**
   * Maximum norm of the difference, relative to the norm of the values. If absent, each value must be equal (NaN to
   * NaN).
   */
  tolerance?: (place: Place) => number;
  /** Replaces the norm of the values if that is smaller, since an activation may make almost all values zero. */
  minimumNorm?: number;
  /** Expected zeros must be exactly zero. */
  zeros?: boolean;
  /** Maximum error of each value, instead of `tolerance`. */
  maximumError?: number;
}

/**
 * A tolerance for float32, and one for 16-bit types. A GPU computes float32 products as three products of tensor cores
 * and sums in another order, and its 16-bit type may be float16 or bfloat16: its tolerances are at least 1e-5 and 1e-2.
 */
export const within =
  (float32: number, half: number) =>
  ({ device, dtype }: Place): number => {
    const [own, gpu] = dtype === 'float32' ? [float32, 1e-5] : [half, 1e-2];
    return device === 'cpu' ? own : Math.max(own, gpu);
  };

type Operands = Record<string, Operand | undefined>;
type ValuesOf<O> = O extends Operand<infer V> ? V : undefined;
type TensorOf<O> = O extends QuantizedOperand ? QuantizedWeight : O extends Operand ? Tensor : undefined;

/** A device with a storage type. */
export interface Place {
  /** The kind of the `Device`: 'cpu', 'cuda', 'cuda-emulated'. */
  device: string;
  dtype: FloatingType;
}

/** One operation with one shape: operands, expected results and costs. */
export interface Case<T extends Operands> {
  /** The operation's name in `Operations`. */
  operation: string;
  /** Distinguishes the case from others of the operation. */
  name: string;
  /**
   * Storage types with which it runs. Default: all of the device's. If the case does not use the storage type:
   * 'float32'.
   */
  dtypes?: readonly FloatingType[];
  /** Whether it can run there. Default: everywhere. */
  supports?(place: Place): boolean;
  operands(make: Make): T;
  /** Records the operation once. */
  record(operations: Operations, tensors: { [K in keyof T]: TensorOf<T[K]> }): void;
  /** The expected contents of the operands that it writes, computed in double precision. */
  expected(values: { [K in keyof T]: ValuesOf<T[K]> }, dtype: FloatingType): { [K in keyof T]?: Expected };
  /** Minimum number of bytes read and written, for a storage type of `element` bytes. */
  bytes?(element: number): number;
  /** Arithmetic operations; a multiply-add counts as two. */
  operations?: number;
}

/** A case with any operands. */
// biome-ignore lint/suspicious/noExplicitAny: one list has cases with different operands
export type OperationCase = Case<any>;

/** Removes cases with duplicate names, since random cases may repeat. */
export const distinct = (cases: readonly OperationCase[]): OperationCase[] => [
  ...new Map(cases.map((one) => [one.name, one])).values(),
];

/** Infers the types of a case from its operands. */
export const operationCase = <T extends Operands>(given: Case<T>): OperationCase => given;

/** The export of each file of cases. */
export interface Family {
  /** Small and odd shapes, for `npm test`. */
  checked: readonly OperationCase[];
  /** Whisper's shapes at a batch size, for `npm run bench -- operations`. */
  timed(batch: number): readonly OperationCase[];
}
