/** Times a case of an operation over enough copies of what it reads that no cache helps. */
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
  /** Bytes that it must read and write, and its arithmetic operations. */
  bytes: number;
  operations: number;
  /** Bytes a second of plain reads, which took turns with the operation. */
  readBytesPerSecond: number;
}

/** As many copies as make this, in bytes: several times the last cache. An emulated device gets one. */
const rotated = (kind: string) => (kind === 'cpu' ? 256e6 : kind === 'cuda-emulated' ? 0 : 512e6);
const mostCopies = 64;
/** What all copies may take, in bytes: an operation may read little of large operands, as an embedding does. */
const mostBytes = 1e9;
/** Launches in one program: so that starting it costs next to nothing of each. */
const leastLaunches = 16;
/** Where one run takes long enough, in operations, one is enough. */
const longOperations = 1e9;
/** Operands of more elements than this are filled with the same numbers again and again. */
const fewElements = 1 << 16;
const numbers = randomNumbers(fewElements);

type Tensors = Record<string, Tensor | QuantizedWeight>;
type Write = [tensor: Tensor, values: Values];

export class PreparedCase {
  readonly #tensors: Tensors[] = [];
  /**
   * Small numbers that say where and how much: written again before each sample, since the operation may change them.
   */
  readonly #state: Write[] = [];
  readonly #device: Device;
  readonly #one: OperationCase;
  readonly #dtype: FloatingType;
  readonly #weights: RandomWeights;

  constructor(device: Device, one: OperationCase, dtype: FloatingType, weights: RandomWeights) {
    this.#device = device;
    this.#one = one;
    this.#dtype = dtype;
    this.#weights = weights;
  }

  /** Elements of the largest weight of a case. */
  static largestWeight(one: OperationCase, dtype: FloatingType): number {
    const operands: (Operand | undefined)[] = Object.values(one.operands(new Make(dtype)));
    return Math.max(0, ...operands.map((operand) => (isWeight(operand) ? operand!.size : 0)));
  }

  /** How many copies to run over in turn. */
  get copies(): number {
    const element = elementBytes[this.#dtype];
    const read = this.#one.bytes?.(element) ?? 0;
    const operands: (Operand | undefined)[] = Object.values(this.#one.operands(new Make(this.#dtype)));
    const size = element * operands.reduce((sum, operand) => sum + (operand?.size ?? 0), 0);
    const wanted = Math.ceil(rotated(this.#device.kind) / Math.max(1, read));
    return Math.max(1, Math.min(mostCopies, wanted, Math.floor(mostBytes / Math.max(1, size))));
  }

  async prepare(copies: number): Promise<void> {
    const operands: Record<string, Operand | undefined> = this.#one.operands(new Make(this.#dtype));
    for (let copy = 0; copy < copies; ++copy) {
      const made: Tensors = {};
      this.#tensors.push(made);
      for (const [name, operand] of Object.entries(operands)) {
        if (operand) made[name] = await this.#tensor(operand, copy);
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
    if (operand.size <= fewElements) {
      // What an operation is to write begins as NaN in a check; here it is read by nobody.
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

  /** A program of so many launches, the copies in turn. */
  record(launches: number) {
    return this.#device.record(this.#one.operation, (ops) => {
      for (let i = 0; i < launches; ++i) this.#one.record(ops, this.#tensors[i % this.#tensors.length]);
    });
  }

  async reset(): Promise<void> {
    await this.#device.transfer({ writes: this.#state });
  }

  dispose(): void {
    for (const tensor of this.#tensors.flatMap((made) => Object.values(made))) {
      for (const part of 'data' in tensor ? [tensor.data, tensor.scales] : [tensor]) part.dispose();
    }
  }
}

const isWeight = (operand: Operand | undefined) => operand instanceof QuantizedOperand || operand?.constant === true;

/** The median of repeated runs, plain reads of memory taking turns with them. */
export async function timeCase(
  device: Device,
  one: OperationCase,
  dtype: FloatingType,
  { weights, read, effort }: { weights: RandomWeights; read: StreamingRead; effort: Effort },
): Promise<OperationTime> {
  const bytes = one.bytes?.(elementBytes[dtype]) ?? 0;
  const operations = one.operations ?? 0;
  const prepared = new PreparedCase(device, one, dtype, weights);
  const { copies } = prepared;
  const long = operations >= longOperations || device.kind === 'cuda-emulated';
  const launches = long ? copies : Math.max(copies, leastLaunches);
  try {
    await prepared.prepare(copies);
    using program = prepared.record(launches);
    const replays = device.kind.startsWith('cuda') && !long ? 5 : 1;
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
    return { operation: one.operation, name: one.name, dtype, time, bytes, operations, readBytesPerSecond };
  } finally {
    prepared.dispose();
  }
}

/** Runs a case once, for a profiler to watch. */
export async function launchCase(
  device: Device,
  one: OperationCase,
  dtype: FloatingType,
  weights: RandomWeights,
): Promise<void> {
  const prepared = new PreparedCase(device, one, dtype, weights);
  try {
    await prepared.prepare(1);
    using program = prepared.record(1);
    await program.run();
  } finally {
    prepared.dispose();
  }
}
