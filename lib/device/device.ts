import { listOf, refuse } from '../checks.js';
import { threadsWithinQuota } from '../cpu-quota.js';
import type { ElementType } from '../element-types.js';
import { type OneheadError, shown } from '../errors.js';
import { nativeTensor, optionsOf } from './arguments.js';
import {
  type Information,
  type MemoryFigures,
  type NativeAddon,
  type NativeDevice,
  type NativePart,
  type NativeWeightsFile,
  native,
  nativeOf,
  type TensorData,
} from './native.js';
import { Operations, type QuantizedWeight } from './operations.js';
import { Program } from './program.js';
import { Tensor } from './tensor.js';
import { nativePieces, type ReadData, type TransferPieces } from './transfer.js';

export interface DeviceOptions {
  /** CPU threads; by default the cores that this process may use, also by its container's limit of CPU time. */
  threads?: number;
  /**
   * The CPU's instruction set ('portable', 'avx2', 'avx2-vnni', 'avx512', 'avx512-vnni', 'avx512-bf16', 'avx512-amx').
   * Default: the environment variable ONEHEAD_CPU_KERNELS, otherwise the best that the CPU has.
   */
  kernels?: string;
  /** CUDA: true (the default) uses NVIDIA's cuBLASLt for large products if it is found, false onehead's own kernel. */
  cublasLt?: boolean;
}

/** A sequence of a constant's elements, from a file; zeros if there is no file. */
export interface Part {
  elements: number;
  file?: WeightsFile;
  /** Position of the first element in the file, in bytes. */
  offset?: number;
  dtype?: ElementType;
  /** Quantized encoding instead of a dtype, by its name in native/core/encoding.cc, such as 'q5_0'. */
  encoding?: string;
  /**
   * Scales of int8 and int16 elements: floating-point numbers from the byte `offset` on, one for each `each` elements.
   * Elements are divided by their scale, or multiplied if `factor` is true.
   */
  scales?: { offset: number; dtype: string; each: number; factor?: boolean };
  /** The tensor's name in error messages. */
  name?: string;
}

export interface RecordOptions {
  /**
   * For tests: fills temporaries with NaN before each run, so that reads of unwritten memory show. On a CPU also the
   * scratch memory of kernels, and a run fails with code DEVICE_FAILED if a kernel writes beyond its scratch memory.
   */
  poison?: boolean;
  /** Instead of the device's. @internal */
  integerProducts?: boolean;
}

/** A file from which `Device.load` reads weights without a copy in JavaScript. */
export class WeightsFile {
  readonly path: string;
  readonly #native: NativeWeightsFile;
  /** Handles of the file in other addons, which the emulated device has. */
  readonly #others = new Map<NativeAddon, NativeWeightsFile>();

  constructor(path: string) {
    this.path = path;
    this.#native = new (native().WeightsFile)(path);
  }

  /** @internal */
  of(addon: NativeAddon): NativeWeightsFile {
    if (addon === native()) return this.#native;
    let file = this.#others.get(addon);
    if (!file) {
      file = new addon.WeightsFile(this.path);
      this.#others.set(addon, file);
    }
    return file;
  }

  /** The size in bytes. */
  get size(): number {
    return this.#native.size;
  }

  /** Closes the file. Weights that were loaded from it, or are still to be read, are not affected. */
  close(): void {
    for (const file of [this.#native, ...this.#others.values()]) file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** Opens the first GPU if it is usable, otherwise the CPU. */
function openFirstUsable<Opened>(open: (kind: string) => Opened): Opened {
  try {
    return open('cuda');
  } catch (error) {
    if ((error as OneheadError).code !== 'DEVICE_UNAVAILABLE') throw error;
    return open('cpu');
  }
}

/** Whether the CPU kernels of this name multiply bfloat16 natively. @internal */
export const haveBfloat16Products = (kernels: string): boolean => /bf16|amx/.test(kernels);

/** A CPU or GPU with its own thread, which runs all its jobs in order and outside the event loop. */
export class Device {
  /** Its name, such as 'cpu' or 'cuda:1'; 'auto' is resolved. */
  readonly kind: string;
  /** The option `threads`; undefined for the default. */
  readonly threads: number | undefined;
  readonly #addon: NativeAddon;
  readonly #native: NativeDevice;
  readonly #kernels: string | undefined;
  #closed = false;
  /**
   * CPU: whether programs that are recorded from now on compute products of many rows with bfloat16 weights in 16-bit
   * integers (true), or by oneDNN. By default in integers if the kernels have no products of bfloat16. @internal
   */
  integerProducts: boolean | undefined;

  /**
   * @param kind 'cpu', 'cuda' (the first GPU), 'cuda:<number>', or 'auto': the first GPU if it is usable, otherwise the
   *   CPU. Throws OneheadError DEVICE_UNAVAILABLE if this machine has no such device; the message says what to do.
   */
  constructor(kind = 'cpu', options: DeviceOptions = {}) {
    if (typeof kind !== 'string') refuse('device', "'cpu', 'cuda', 'cuda:<number>' or 'auto'", kind);
    optionsOf('options', options);
    if (options.threads !== undefined && !(Number.isInteger(options.threads) && options.threads >= 1)) {
      refuse('threads', 'a whole number of at least 1', options.threads);
    }
    this.threads = options.threads;
    const kernels = options.kernels ?? (process.env.ONEHEAD_CPU_KERNELS || undefined);
    this.#kernels = kernels;
    const open = (name: string) => {
      const addon = nativeOf(name, kernels);
      const threads = options.threads ?? (name === 'cpu' ? Device.cpu().threads : undefined);
      // The addon quotes a wrong name in its error; `shown` limits its length.
      return { kind: name, addon, native: new addon.Device(shown(name), { ...options, threads, kernels }) };
    };
    const opened = kind === 'auto' ? openFirstUsable(open) : open(kind);
    ({ kind: this.kind, addon: this.#addon, native: this.#native } = opened);
  }

  /** Describes this machine. Launches a kernel on every GPU to test it. Throws OneheadError ADDON_UNAVAILABLE. */
  static information(): Information {
    const information = native().information();
    return { ...information, threads: threadsWithinQuota(information.threads) };
  }

  /** Describes the CPU without accessing any GPU: kernels in use, oneDNN's version, and available cores. */
  static cpu(): { kernels: string; onednn: string; threads: number } {
    const addon = native();
    const found = addon.cpuInformation?.();
    if (found) return { ...found, threads: threadsWithinQuota(found.threads) };
    const { cpu, onednn, threads } = Device.information(); // an addon that is older than the package
    return { kernels: cpu.kernels, onednn: onednn.version, threads };
  }

  /**
   * The smallest floating type that the device can multiply directly: float16 on a GPU; bfloat16 on a CPU with
   * instructions for it, otherwise float32. It is not necessarily the fastest.
   */
  get defaultDtype(): 'float32' | 'float16' | 'bfloat16' {
    if (this.kind !== 'cpu') return 'float16';
    const chosen = this.#kernels === undefined || haveBfloat16Products(this.#kernels);
    return chosen && native().multipliesBfloat16() ? 'bfloat16' : 'float32';
  }

  /** Allocates a tensor of zeros, or of `data`. Throws OneheadError OUT_OF_MEMORY or INVALID_ARGUMENT. */
  tensor(dtype: ElementType, shape: readonly number[], data?: TensorData): Tensor {
    const tensor = new Tensor(this.#native.createTensor(dtype, shape), this.#native);
    // The write is checked and the data copied before `write` returns, and later jobs run after it. The promise rejects
    // only if the device is closed; then any use of the tensor fails too.
    if (data) tensor.write(data).catch(() => {});
    return tensor;
  }

  /**
   * Creates a constant from concatenated parts. Its files are read, and its memory layout is chosen, when a program
   * that uses it is first prepared. That fails with code MODEL_INVALID if a file is too short or an element is not
   * finite.
   */
  async load(dtype: ElementType, shape: readonly number[], parts: readonly Part[]): Promise<Tensor> {
    return new Tensor(await this.#native.load(dtype, shape, this.#partsOf(parts)), this.#native);
  }

  /**
   * Quantizes a weight [outputs, inputs] to 8 bits, with one scale for each row: its largest magnitude / 127. Parts are
   * those of `load` and must be complete rows; int8 parts with one scale for each row are used unchanged. The files are
   * read now.
   *
   * `error` is the root mean square over the rows of the relative rounding error: a step / sqrt(12), divided by the
   * typical element (the median magnitude, scaled as for a normal distribution). It is 0 for int8 parts. Throws
   * OneheadError MODEL_INVALID as `load` does, and NOT_SUPPORTED if the device has no products with 8-bit weights.
   */
  async quantize(
    shape: readonly number[],
    parts: readonly Part[],
  ): Promise<{ weight: QuantizedWeight; error: number }> {
    const { data, scales, error } = await this.#native.quantize(shape, this.#partsOf(parts));
    const [weight, rowScales] = [data, scales].map((tensor) => new Tensor(tensor, this.#native));
    return { weight: { data: weight, scales: rowScales, group: shape[1] }, error };
  }

  #partsOf(parts: readonly Part[]): NativePart[] {
    return listOf('parts', parts).map((part) => {
      const { file } = optionsOf('part', part);
      if (file !== undefined && !(file instanceof WeightsFile)) refuse('part.file', 'a WeightsFile', file);
      return { ...part, file: file?.of(this.#addon) };
    });
  }

  /** Records the operations that `body` calls. They are checked when they are called, and run when the program runs. */
  record(name: string, body: (operations: Operations) => void, options: RecordOptions = {}): Program {
    if (typeof name !== 'string') refuse('name', 'a string', name);
    if (typeof body !== 'function') refuse('body', 'a function', body);
    const { poison = false, integerProducts = this.integerProducts } = optionsOf('options', options);
    const recorder = this.#native.createRecorder();
    const result: unknown = body(new Operations(recorder));
    if (result instanceof Promise) {
      result.catch(() => {}); // what it records later is refused
      refuse('the result of body', 'nothing', result, { advice: 'record all operations before it returns' });
    }
    return new Program(name, recorder.finish(name, poison, integerProducts));
  }

  /**
   * Copies `count` elements between tensors of the same type. By default all elements of `from` after `fromElement`.
   */
  copy(
    from: Tensor,
    to: Tensor,
    options: { fromElement?: number; toElement?: number; count?: number } = {},
  ): Promise<void> {
    const { fromElement = 0, toElement = 0, count } = optionsOf('options', options);
    const [source, target] = [nativeTensor('from', from, 'copy'), nativeTensor('to', to, 'copy')];
    return this.#native.copy(source, fromElement, target, toElement, count ?? from.size - fromElement);
  }

  /**
   * Does many small writes and then many small reads in one job. Returns the data of the reads in order. Data to write
   * is copied before this returns. See `Tensor.write` for the types.
   */
  transfer(pieces: TransferPieces): Promise<ReadData[]> {
    const { writes, reads } = nativePieces(pieces);
    return this.#native.transfer(writes, reads);
  }

  /** Use of the device's memory, and the number of allocations. */
  memory(): MemoryFigures {
    return this.#native.memory();
  }

  /** True if a tensor is in this device's memory. */
  owns(tensor: Tensor): boolean {
    nativeTensor('tensor', tensor);
    return tensor.owner === this.#native;
  }

  /** True after `close`. */
  get closed(): boolean {
    return this.#closed;
  }

  /** Ends the device's thread after the current operation. Waiting jobs are rejected with code DISPOSED. */
  close(): void {
    this.#closed = true;
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
