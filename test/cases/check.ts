/**
 * Runs a case on a device, with guards around operands and poisoned temporaries, and compares all of its memory with
 * the expected contents.
 */
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type Device, WeightsFile } from '../../lib/device/device.js';
import type { QuantizedWeight } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import type { ElementType, FloatingType } from '../../lib/element-types.js';
import { relativeError } from '../device/reference.js';
import {
  type Expected,
  type Family,
  Make,
  type Operand,
  type OperationCase,
  type Place,
  QuantizedOperand,
  type Values,
} from './case.js';

/**
 * Number of guard elements before and after each operand. They are NaN, so that reading one changes a sum, and writing
 * one is noticed.
 */
const guard = 64;

interface Stated {
  operands: [name: string, operand: Operand][];
  expected: Record<string, Expected | undefined>;
}
const known = new WeakMap<OperationCase, Map<FloatingType, Stated>>();

/** A case's operands in a storage type, and the expected results. Made once for all devices. */
function state(one: OperationCase, dtype: FloatingType): Stated {
  const all = known.get(one) ?? new Map<FloatingType, Stated>();
  known.set(one, all);
  let found = all.get(dtype);
  if (!found) {
    const given: Record<string, Operand | undefined> = one.operands(new Make(dtype));
    const operands = Object.entries(given).filter((entry): entry is [string, Operand] => entry[1] !== undefined);
    const values = Object.fromEntries(operands.map(([name, { values }]) => [name, values]));
    found = { operands, expected: one.expected(values, dtype) };
    all.set(dtype, found);
  }
  return found;
}

const filler = (dtype: ElementType) => (dtype === 'int32' || dtype === 'int8' || dtype === 'uint8' ? 77 : Number.NaN);

/** An operand's values between guards. */
function surrounded({ dtype, values }: Operand): Values {
  const size = guard + values.length + guard;
  const whole =
    values instanceof Float32Array
      ? new Float32Array(size)
      : values instanceof Int32Array
        ? new Int32Array(size)
        : values instanceof Int8Array
          ? new Int8Array(size)
          : new Uint8Array(size);
  whole.fill(filler(dtype));
  whole.set(values, guard);
  return whole;
}

/** An int8 weight, quantized by the device as at load. */
async function quantizedWeight(device: Device, { given, shape }: QuantizedOperand): Promise<QuantizedWeight> {
  const folder = await mkdtemp(join(tmpdir(), 'onehead-case-'));
  try {
    await writeFile(join(folder, 'weight'), new Uint8Array(given.values.buffer));
    const file = new WeightsFile(join(folder, 'weight'));
    try {
      const part = { file, offset: 0, dtype: 'float32' as const, elements: given.size, name: 'weight' };
      return (await device.quantize(shape, [part])).weight;
    } finally {
      file.close();
    }
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

const same = (actual: number, wanted: number) => actual === wanted || (Number.isNaN(actual) && Number.isNaN(wanted));

const bits = ({ buffer, byteOffset, byteLength }: Values) => new Uint8Array(buffer, byteOffset, byteLength);

/** The first index at which they differ by more than `tolerance`; -1 if none. */
function difference(actual: Values, wanted: ArrayLike<number>, tolerance = 0): number {
  if (tolerance === 0 && ArrayBuffer.isView(wanted) && wanted.constructor === actual.constructor) {
    if (Buffer.compare(bits(actual), bits(wanted as Values)) === 0) return -1;
  }
  return actual.findIndex((value, i) => !same(value, wanted[i]) && !(Math.abs(value - wanted[i]) <= tolerance));
}

/** Describes what is wrong with an operand's contents; null if nothing is. */
function fault(actual: Values, before: Values, expected: Expected | undefined, place: Place): string | null {
  const [begin, end] = [guard, actual.length - guard];
  for (const [from, to] of [
    [0, begin],
    [end, actual.length],
  ]) {
    const outside = difference(actual.subarray(from, to), before.subarray(from, to));
    if (outside >= 0) return `was written at element ${from + outside - guard} of ${end - begin}`;
  }
  const inside = actual.subarray(begin, end);
  const wanted = expected?.values ?? before.subarray(begin, end);
  if (wanted === 'any') return null;
  if (wanted === 'finite') return inside.every(Number.isFinite) ? null : 'holds what is not finite';
  if (wanted.length !== inside.length) return `has ${inside.length} elements, ${wanted.length} are expected`;
  if (expected?.tolerance) {
    const error = relativeError(inside, wanted, expected.minimumNorm);
    const allowed = expected.tolerance(place);
    const zero = expected.zeros ? inside.findIndex((value, i) => value !== 0 && wanted[i] === 0) : -1;
    if (zero >= 0) return `holds ${inside[zero]} instead of 0 at element ${zero}`;
    return error <= allowed ? null : `is off by ${error.toExponential(2)}, allowed are ${allowed}`;
  }
  const wrong = difference(inside, wanted, expected?.maximumError);
  if (wrong < 0) return null;
  const what = expected ? 'holds' : 'was not to be touched, and holds';
  return `${what} ${inside[wrong]} instead of ${wanted[wrong]} at element ${wrong}`;
}

/** Runs a case and describes each operand with wrong contents. Throws the device's errors. */
export async function faults(device: Device, one: OperationCase, dtype: FloatingType): Promise<string[]> {
  const { operands, expected } = state(one, dtype);
  const tensors: Record<string, Tensor | QuantizedWeight> = {};
  const held: [name: string, whole: Tensor, before: Values][] = [];
  try {
    for (const [name, operand] of operands) {
      if (operand instanceof QuantizedOperand) {
        tensors[name] = await quantizedWeight(device, operand);
        continue;
      }
      const before = surrounded(operand);
      const whole = device.tensor(operand.dtype, [before.length]);
      tensors[name] = whole.part(guard, operand.shape);
      held.push([name, whole, before]);
    }
    using program = device.record(one.operation, (ops) => one.record(ops, tensors), { poison: true });
    const { reads } = await program.submit({
      writes: held.map(([, whole, before]) => [whole, before]),
      reads: held.map(([, whole]) => [whole]),
    }).done;
    return held.flatMap(([name, , before], i) => {
      const wrong = fault(reads[i], before, expected[name], { device: device.kind, dtype });
      return wrong === null ? [] : [`${name} ${wrong}`];
    });
  } finally {
    for (const [, whole] of held) whole.dispose();
    for (const tensor of Object.values(tensors)) {
      if ('data' in tensor) for (const part of [tensor.data, tensor.scales]) part.dispose();
    }
  }
}

/** Maximum operations and elements of a timed case that is also checked. */
const affordable = { operations: 1.5e6, elements: 1e6 };

function isAffordable(one: OperationCase): boolean {
  const operands: Record<string, Operand | undefined> = one.operands(new Make('float32'));
  const elements = Object.values(operands).reduce((sum, operand) => sum + (operand?.size ?? 0), 0);
  return (one.operations ?? 0) <= affordable.operations && elements <= affordable.elements;
}

/** The checked cases of a family: its small shapes, and those of Whisper's shapes whose reference is affordable. */
export const checkedCases = ({ checked, timed }: Family): OperationCase[] => [
  ...checked,
  ...timed(1).filter(isAffordable),
];
