/** Times a case of an operation, over so many copies of its operands that they do not fit into caches. */
import { type Device, WeightsFile } from '../../lib/device/device.js';
import type { QuantizedWeight } from '../../lib/device/operations.js';
import type { Tensor } from '../../lib/device/tensor.js';
import { elementBytes, type FloatingType } from '../../lib/element-types.js';
import type { StreamingRead } from '../../lib/profiler/measuring/ceilings.js';
import { type Effort, interleave } from '../../lib/profiler/measuring/measure.js';
import { type RandomWeights, randomNumbers } from '../../lib/profiler/measuring/random-weights.js';
import type { Statistics } from '../../lib/profiler/measuring/statistics.js';
import { Make, type Operand, type OperationCase, QuantizedOperand, type Values } from '../../test/cases/case.js';

export interface OperationTime {
  operation: string;
  name: string;
  dtype: FloatingType;
  /** Microseconds of one run of the operation. */
  time: Statistics;
  /** The minimum of bytes that it reads and writes, and its arithmetic operations. */
  bytes: number;
  operations: number;
  /** The bandwidth of plain reads, measured in turns with the operation. */
  readBytesPerSecond: number;
}

/** Bytes that all copies together should read: several times the last-level cache. An emulated device has one copy. */
const rotatedBytes = (kind: string) => (kind === 'cpu' ? 256e6 : kind === 'cuda-emulated' ? 0 : 512e6);
const maxCopies = 64;
/** Maximum bytes of all copies. An operation may read only a small part of its operands, such as an embedding. */
const maxBytes = 1e9;
/** Launches in a program, so that the cost of starting it is negligible. */
const minLaunches = 16;
/** Arithmetic operations of a launch above which a single launch takes long enough. */
const longOperations = 1e9;
/** Larger operands are filled by repeating random numbers of this count. */
const randomCount = 1 << 16;
const numbers = randomNumbers(randomCount);

type Tensors = Record<string, Tensor | QuantizedWeight>;
type Write = [tensor: Tensor, values: Values];

export class PreparedCase {
  readonly #tensors: Tensors[] = [];
  /** Integer operands, such as positions. They are reset before each sample, since the operation may change them. */
  readonly #state: Write[] = [];
  readonly #device: Device;
  readonly #case: OperationCase;
  readonly #dtype: FloatingType;
  readonly #weights: RandomWeights;

  constructor(device: Device, operationCase: OperationCase, dtype: FloatingType, weights: RandomWeights) {
    this.#device = device;
    this.#case = operationCase;
    this.#dtype = dtype;
    this.#weights = weights;
  }

  /** The number of elements of a case's largest weight. */
  static largestWeight(operationCase: OperationCase, dtype: FloatingType): number {
    const operands: (Operand | undefined)[] = Object.values(operationCase.operands(new Make(dtype)));
    return Math.max(0, ...operands.map((operand) => (isWeight(operand) ? operand!.size : 0)));
  }

  /** The number of copies of the operands, which launches use in turns. */
  get copies(): number {
    const element = elementBytes[this.#dtype];
    const read = this.#case.bytes?.(element) ?? 0;
    const operands: (Operand | undefined)[] = Object.values(this.#case.operands(new Make(this.#dtype)));
    const size = element * operands.reduce((sum, operand) => sum + (operand?.size ?? 0), 0);
    const needed = Math.ceil(rotatedBytes(this.#device.kind) / Math.max(1, read));
    return Math.max(1, Math.min(maxCopies, needed, Math.floor(maxBytes / Math.max(1, size))));
  }

  async prepare(copies: number): Promise<void> {
    const operands: Record<string, Operand | undefined> = this.#case.operands(new Make(this.#dtype));
    for (let copy = 0; copy < copies; ++copy) {
      const tensors: Tensors = {};
      this.#tensors.push(tensors);
      for (const [name, operand] of Object.entries(operands)) {
        if (operand) tensors[name] = await this.#tensor(operand, copy);
      }
    }
  }

  async #tensor(operand: Operand, copy: number): Promise<Tensor | QuantizedWeight> {
    const device = this.#device;
    const shape = [...operand.shape];
    if (operand instanceof QuantizedOperand) {
      using file = new WeightsFile(this.#weights.path);
      const offset = this.#weights.offset(copy);
      const part = { file, offset, dtype: 'bfloat16' as const, elements: operand.size, name: 'weight' };
      return (await device.quantize(shape, [part])).weight;
    }
    const { dtype } = operand;
    if (operand.constant) return this.#weights.load(device, dtype as FloatingType, shape, { number: copy });
    const tensor = device.tensor(dtype, shape);
    if (dtype === 'int32') this.#state.push([tensor, operand.values]);
    if (operand.size <= randomCount) {
      // In checks, outputs are initialized with NaN; that makes no difference here.
      await tensor.write(operand.values);
    } else if (dtype === 'int8') {
      const bytes = Int8Array.from(numbers, (value) => Math.round(3000 * value));
      for (let at = 0; at < tensor.size; at += bytes.length) {
        await tensor.write(bytes.subarray(0, Math.min(bytes.length, tensor.size - at)), at);
      }
    } else if (dtype !== 'int32' && dtype !== 'uint8') {
      for (let at = 0; at < tensor.size; at += numbers.length) {
        await tensor.write(numbers.subarray(0, Math.min(numbers.length, tensor.size - at)), at);
      }
    } else {
      await tensor.write(operand.values);
    }
    return tensor;
  }

  /** Records a program that launches the operation repeatedly, on each copy in turns. */
  record(launches: number) {
    return this.#device.record(this.#case.operation, (ops) => {
      for (let i = 0; i < launches; ++i) this.#case.record(ops, this.#tensors[i % this.#tensors.length]);
    });
  }

  async reset(): Promise<void> {
    await this.#device.transfer({ writes: this.#state });
  }

  dispose(): void {
    for (const tensor of this.#tensors.flatMap((tensors) => Object.values(tensors))) {
      for (const part of 'data' in tensor ? [tensor.data, tensor.scales] : [tensor]) part.dispose();
    }
  }
}

const isWeight = (operand: Operand | undefined) => operand instanceof QuantizedOperand || operand?.constant === true;

/** Measures a case in turns with plain reads of memory. */
export async function timeCase(
  device: Device,
  operationCase: OperationCase,
  dtype: FloatingType,
  { weights, read, effort }: { weights: RandomWeights; read: StreamingRead; effort: Effort },
): Promise<OperationTime> {
  const bytes = operationCase.bytes?.(elementBytes[dtype]) ?? 0;
  const operations = operationCase.operations ?? 0;
  const prepared = new PreparedCase(device, operationCase, dtype, weights);
  const { copies } = prepared;
  const isLong = operations >= longOperations || device.kind === 'cuda-emulated';
  const launches = isLong ? copies : Math.max(copies, minLaunches);
  try {
    await prepared.prepare(copies);
    using program = prepared.record(launches);
    const replays = device.kind.startsWith('cuda') && !isLong ? 5 : 1;
    const measured = await interleave(
      [
        {
          name: 'operation',
          async sample() {
            await prepared.reset();
            return { time: (await program.time(replays)) / launches };
          },
        },
        { name: 'read', sample: async () => ({ time: await read.time() }) },
      ],
      effort,
    );
    const time = measured.get('operation')!.time;
    const readBytesPerSecond = read.rate(measured.get('read')!.time.median);
    return {
      operation: operationCase.operation,
      name: operationCase.name,
      dtype,
      time,
      bytes,
      operations,
      readBytesPerSecond,
    };
  } finally {
    prepared.dispose();
  }
}

/** Runs a case once, for use with a profiler. */
export async function launchCase(
  device: Device,
  operationCase: OperationCase,
  dtype: FloatingType,
  weights: RandomWeights,
): Promise<void> {
  const prepared = new PreparedCase(device, operationCase, dtype, weights);
  try {
    await prepared.prepare(1);
    using program = prepared.record(1);
    await program.run();
  } finally {
    prepared.dispose();
  }
}
