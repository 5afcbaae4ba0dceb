import type { ElementType } from '../element-types.js';
import { OneheadError } from '../errors.js';
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
  /** CPU threads; by default the cores that this process may use. */
  threads?: number;
  /**
   * The CPU's instruction set by name ('portable', 'avx2', 'avx2-vnni', 'avx512', 'avx512-vnni', 'avx512-bf16'); by
   * default what ONEHEAD_CPU_KERNELS in the environment says, else the best.
   */
  kernels?: string;
  /** CUDA: large products by NVIDIA's cuBLASLt where it is found (the default), or always by onehead's own kernel. */
  cublasLt?: boolean;
}

/** A run of a constant's elements: from a file at a byte offset, or zeros. */
export interface Part {
  elements: number;
  file?: WeightsFile;
  offset?: number;
  dtype?: ElementType;
  /** In place of a dtype: fewer bits by the name that native/core/encoding.cc has for them, such as 'q5_0'. */
  encoding?: string;
  /**
   * Scales of int8 and int16: floating-point numbers from a byte offset on, one for each `each` elements. Integers are
   * divided by it, or multiplied if it is a `factor`.
   */
  scales?: { offset: number; dtype: string; each: number; factor?: boolean };
  /** The file's name in messages. */
  name?: string;
}

export interface RecordOptions {
  /**
   * Fills the temporaries with NaN before each run, so that a test sees what is read before it is written. On a CPU the
   * scratch memory of kernels too, and a run fails with code DEVICE_FAILED where one writes behind what it asked for.
   */
  poison?: boolean;
}

/** A file from which `Device.load` takes weights without a copy in JavaScript. */
export class WeightsFile {
  readonly path: string;
  readonly #native: NativeWeightsFile;
  /** Handles of other addons than the usual one that use this file. */
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

  /** Bytes. */
  get size(): number {
    return this.#native.size;
  }

  /** Weights that were loaded from the file, or wait to be, are not affected. */
  close(): void {
    for (const file of [this.#native, ...this.#others.values()]) file.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}

/** The first GPU where it can be used, else the CPU. */
function firstUsable<Opened>(open: (kind: string) => Opened): Opened {
  try {
    return open('cuda');
  } catch (error) {
    if ((error as OneheadError).code !== 'DEVICE_UNAVAILABLE') throw error;
    return open('cpu');
  }
}

/** A processor with its own thread: everything asked of it runs there, in order, and never on the event loop. */
export class Device {
  readonly kind: string;
  /** Threads that it was given; undefined for its own choice. */
  readonly threads: number | undefined;
  readonly #addon: NativeAddon;
  readonly #native: NativeDevice;
  readonly #kernels: string | undefined;

  /**
   * @param kind 'cpu', 'cuda' (the first GPU), 'cuda:<number>', or 'auto': a GPU that can be used, else the CPU. Throws
   *   OneheadError DEVICE_UNAVAILABLE, with what to do, when this machine has no such device.
   */
  constructor(kind = 'cpu', options: DeviceOptions = {}) {
    if (options.threads !== undefined && !(Number.isInteger(options.threads) && options.threads >= 1)) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Expected threads to be a whole number of at least 1 but received ${options.threads}.`,
        { argument: 'threads', expected: 'a whole number of at least 1', received: String(options.threads) },
      );
    }
    this.threads = options.threads;
    const kernels = options.kernels ?? (process.env.ONEHEAD_CPU_KERNELS || undefined);
    this.#kernels = kernels;
    const open = (name: string) => {
      const addon = nativeOf(name);
      return { kind: name, addon, native: new addon.Device(name, { ...options, kernels }) };
    };
    ({ kind: this.kind, addon: this.#addon, native: this.#native } = kind === 'auto' ? firstUsable(open) : open(kind));
  }

  /** Describes this machine as the addon sees it. It launches a kernel on every GPU, to know that it can. */
  static information(): Information {
    return native().information();
  }

  /** Describes the CPU alone, without access to any GPU: kernels in use, oneDNN's version, and cores. */
  static cpu(): { kernels: string; onednn: string; threads: number } {
    const addon = native();
    if (addon.cpuInformation) return addon.cpuInformation();
    const { cpu, onednn, threads } = addon.information(); // an addon that is older than the package
    return { kernels: cpu.kernels, onednn: onednn.version, threads };
  }

  /** The storage type that this device has instructions for: whether they are the fastest is not measured here. */
  get defaultDtype(): 'float32' | 'float16' | 'bfloat16' {
    if (this.kind !== 'cpu') return 'float16';
    const chosen = this.#kernels === undefined || this.#kernels.endsWith('bf16');
    return chosen && native().multipliesBfloat16() ? 'bfloat16' : 'float32';
  }

  /** A tensor of zeros, or of `data`. */
  tensor(dtype: ElementType, shape: readonly number[], data?: TensorData): Tensor {
    const tensor = new Tensor(this.#native.createTensor(dtype, shape));
    // Checked and copied before it returns; work submitted later finds the data there.
    if (data) tensor.write(data).catch(() => {}); // fails only when the device is closed, which whoever uses it is told
    return tensor;
  }

  /**
   * A constant made of parts of files and zeros, in order; the device lays it out as its programs want it. The files
   * are read when a program that uses the constant is first prepared: that fails with code MODEL_INVALID where one was
   * cut short, or an element is not finite.
   */
  async load(dtype: ElementType, shape: readonly number[], parts: readonly Part[]): Promise<Tensor> {
    const nativeParts: NativePart[] = parts.map((part) => ({ ...part, file: part.file?.of(this.#addon) }));
    return new Tensor(await this.#native.load(dtype, shape, nativeParts));
  }

  /**
   * A product's weight [outputs, inputs] of 8 bits, each row under a scale: its largest magnitude / 127. Parts are as
   * those of `load`, each of whole rows; int8 parts with a scale a row are taken as they are. The files are read now.
   * `error` is what rounding loses of usual elements (a step / sqrt(12) against a row's median magnitude as that of a
   * normal distribution, root mean square over rows); 0 where the parts were int8. Throws OneheadError MODEL_INVALID as
   * `load`, NOT_SUPPORTED where the device multiplies none.
   */
  async quantize(
    shape: readonly number[],
    parts: readonly Part[],
  ): Promise<{ weight: QuantizedWeight; error: number }> {
    const nativeParts: NativePart[] = parts.map((part) => ({ ...part, file: part.file?.of(this.#addon) }));
    const { data, scales, error } = await this.#native.quantize(shape, nativeParts);
    return { weight: { data: new Tensor(data), scales: new Tensor(scales), group: shape[1] }, error };
  }

  /** Records a program: `body` calls operations, which are checked at once and run only when the program does. */
  record(name: string, body: (operations: Operations) => void, { poison = false }: RecordOptions = {}): Program {
    const recorder = this.#native.createRecorder();
    body(new Operations(recorder));
    return new Program(name, recorder.finish(name, poison));
  }

  /** Copies `count` elements between tensors of one type, from an element of `from` to an element of `to`. */
  copy(
    from: Tensor,
    to: Tensor,
    { fromElement = 0, toElement = 0, count }: { fromElement?: number; toElement?: number; count?: number } = {},
  ): Promise<void> {
    const elements = count ?? from.size - fromElement;
    return this.#native.copy(from.native, fromElement, to.native, toElement, elements);
  }

  /**
   * One piece of work for many small pieces of memory: all writes in order, then all reads, whose elements it gives in
   * order, floating ones as float32. Arguments as those of `Tensor.write` and of its reads; an array may be changed as
   * soon as this returns.
   */
  transfer(pieces: TransferPieces): Promise<ReadData[]> {
    const { writes, reads } = nativePieces(pieces);
    return this.#native.transfer(writes, reads);
  }

  /** Use of the device's memory, and the number of allocations. */
  memory(): MemoryFigures {
    return this.#native.memory();
  }

  /** Ends the device's thread; what waits is rejected with code DISPOSED. Waits for the operation under way. */
  close(): void {
    this.#native.close();
  }

  [Symbol.dispose](): void {
    this.close();
  }
}
