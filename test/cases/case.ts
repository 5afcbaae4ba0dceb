/** What a case of an operation is, and what its operands are made of. test/cases/index.ts says how to add one. */
import type { Operations, QuantizedWeight } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import type { ElementType, FloatingType } from '../../lib/element-types.js';
import { quantizedRows, random, stored } from '../device/reference.js';

export type Values = Float32Array | Int32Array | Uint8Array | Int8Array;

/**
 * A tensor of a case. Its values are made when they are first asked for: those of timed cases are large and never are.
 */
export class Operand<V extends Values = Values> {
  readonly dtype: ElementType;
  readonly shape: readonly number[];
  /** A weight that never changes, which a device may lay out as it likes: timed as such. */
  constant = false;
  readonly #make: () => V;
  #values: V | undefined;
  constructor(dtype: ElementType, shape: readonly number[], make: () => V) {
    this.dtype = dtype;
    this.shape = shape;
    this.#make = make;
  }
  /** In row-major order; floating ones as the type keeps them. */
  get values(): V {
    this.#values ??= this.#make();
    return this.#values;
  }
  get size(): number {
    return this.shape.reduce((product, size) => product * size, 1);
  }
}

/** A product's weight [outputs, inputs] of 8 bits with a scale a row, whose `values` are what they stand for. */
export class QuantizedOperand extends Operand<Float32Array> {
  /** The numbers that it was made of. */
  readonly given: Operand<Float32Array>;
  constructor(given: Operand<Float32Array>) {
    super('int8', given.shape, () => quantizedRows(given.values, given.shape[1]).widened);
    this.given = given;
  }
}

/** Makes operands; random ones from seeds, so that they are the same in every run. */
export class Make {
  /** The storage type that the case is run in. */
  readonly dtype: FloatingType;
  #seed = 0;
  constructor(dtype: FloatingType) {
    this.dtype = dtype;
  }
  /** Random numbers from `mean` - `size` to `mean` + `size`, in the storage type unless another is given. */
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
  /** A weight of 8 bits. */
  quantized(shape: readonly [number, number]): QuantizedOperand {
    return new QuantizedOperand(this.random(shape, { dtype: 'float32' }));
  }
  /** These numbers, in the storage type unless another is given. */
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
  /** int32 numbers from `from` up to, without, `to`. */
  wholes(shape: readonly number[], from: number, to: number): Operand<Int32Array> {
    const seed = ++this.#seed;
    return new Operand('int32', shape, () =>
      Int32Array.from(wholeNumbers(sizeOf(shape), to - from, seed), (x) => x + from),
    );
  }
  bytes(values: ArrayLike<number>, shape: readonly number[] = [values.length]): Operand<Uint8Array> {
    return new Operand('uint8', shape, () => Uint8Array.from(values));
  }
  /** Numbers of 8 bits. */
  int8(shape: readonly number[]): Operand<Int8Array> {
    const seed = ++this.#seed;
    return new Operand('int8', shape, () => Int8Array.from(wholeNumbers(sizeOf(shape), 255, seed), (x) => x - 127));
  }
  /** float32 numbers from 0 to `size`, not 0 themselves: scales of numbers of 8 bits. */
  scales(shape: readonly number[], size: number): Operand<Float32Array> {
    const seed = ++this.#seed;
    const value = (x: number) => (size * (x + 1.01)) / 2.01;
    return new Operand('float32', shape, () => random(sizeOf(shape), seed).map(value));
  }
  /** Zeros that the operation may write to. */
  zeros(shape: readonly number[], dtype: FloatingType = 'float32'): Operand<Float32Array> {
    return new Operand(dtype, shape, () => new Float32Array(sizeOf(shape)));
  }
  /**
   * Memory that the operation writes, with what was there before: NaN (floating) or -77, which it must not leave where
   * it has something to say.
   */
  output(shape: readonly number[], dtype: ElementType = this.dtype): Operand {
    const count = sizeOf(shape);
    if (dtype === 'int32') return new Operand(dtype, shape, () => new Int32Array(count).fill(-77));
    if (dtype === 'int8') return new Operand(dtype, shape, () => new Int8Array(count).fill(-77));
    return new Operand(dtype, shape, () => new Float32Array(count).fill(Number.NaN));
  }
}

const sizeOf = (shape: readonly number[]) => shape.reduce((product, size) => product * size, 1);

/** `count` whole numbers from 0 up to, without, `limit`. */
export function wholeNumbers(count: number, limit: number, seed: number): number[] {
  return Array.from(random(count, seed), (x) => Math.min(limit - 1, Math.floor(((x + 1) / 2) * limit)));
}

/** Numbers for random cases: one choice after another from a seed. */
export class Choices {
  #state: number;
  constructor(seed: number) {
    this.#state = (Math.imul(seed, 0x9e3779b1) + 0x7f4a7c15) >>> 0;
  }
  /** From 0 up to, without, `limit`. */
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

/** What an operand must hold after the run. Operands that are not named must hold what they held before. */
export interface Expected {
  /** 'finite': any numbers; 'any': whatever, where nothing more is promised. */
  values: ArrayLike<number> | 'finite' | 'any';
  /**
   * The most that the norm of the difference may be of the norm of the values. Absent: each value must be exactly this
   * one (NaN for NaN).
   */
  tolerance?: (place: Place) => number;
  /**
   * Stands for the norm of the values where it is larger: an activation may leave nearly nothing of what was computed.
   */
  least?: number;
  /** What is 0 must be 0 exactly. */
  zeros?: boolean;
  /** The most by which any single value may be off, instead of `tolerance`. */
  most?: number;
}

/**
 * A tolerance: in float32, and in types of 16 bits. A GPU's products split float32 into three of tensor cores' and add
 * up in another order, and its 16 bits may be float16 or bfloat16: there it is 1e-5 and 1e-2 at least.
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

/** Where a case runs. */
export interface Place {
  /** As `Device` has it: 'cpu', 'cuda', 'cuda-emulated'. */
  device: string;
  dtype: FloatingType;
}

/** One operation with one shape: what goes in, what must come out, and what it costs. */
export interface Case<T extends Operands> {
  /** The operation as `Operations` names it. */
  operation: string;
  /** What tells the case from others of the operation. */
  name: string;
  /** Storage types that it is run in; all of the device's unless given. One that uses none gives 'float32' alone. */
  dtypes?: readonly FloatingType[];
  /** Whether it can be run there; it can be everywhere unless given. */
  supports?(place: Place): boolean;
  operands(make: Make): T;
  /** Records the operation, once. */
  record(operations: Operations, tensors: { [K in keyof T]: TensorOf<T[K]> }): void;
  /** What must be in the operands that it writes, in double precision. */
  expected(values: { [K in keyof T]: ValuesOf<T[K]> }, dtype: FloatingType): { [K in keyof T]?: Expected };
  /** Bytes of memory that it must read and write, where an element of the storage type has so many. */
  bytes?(element: number): number;
  /** Arithmetic operations; a multiply-add is two. */
  operations?: number;
}

/** A case of any operands. */
// biome-ignore lint/suspicious/noExplicitAny: cases of different operands stand in one list
export type OperationCase = Case<any>;

/** Without those that have the name of one before: random cases may come twice. */
export const distinct = (cases: readonly OperationCase[]): OperationCase[] => [
  ...new Map(cases.map((one) => [one.name, one])).values(),
];

/** Types a case by its operands. */
export const operationCase = <T extends Operands>(given: Case<T>): OperationCase => given;

/** What a file of cases has. */
export interface Family {
  /** Small and odd shapes, for `npm test`. */
  checked: readonly OperationCase[];
  /** Whisper's shapes at a batch size, for `npm run bench -- operations`. */
  timed(batch: number): readonly OperationCase[];
}
