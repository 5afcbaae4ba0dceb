/** The addon's exports, as native/addon defines them. The public classes wrap them. */
import type { ElementType } from '../element-types.js';
import { OneheadError } from '../errors.js';
import { loadAddon, loadEmulatedAddon } from './addon.js';

/** Elements in JavaScript. */
export type TensorData = Float32Array | Int32Array | Uint8Array | Uint16Array | Int8Array;

export interface NativeTensor {
  readonly dtype: ElementType;
  readonly shape: number[];
  readonly disposed: boolean;
  write(data: TensorData, element: number): Promise<void>;
  read(element: number, elements: number): Promise<Float32Array | Int32Array | Uint8Array | Int8Array>;
  columns(begin: number, count: number): NativeTensor;
  slice(index: number): NativeTensor;
  part(element: number, shape: readonly number[]): NativeTensor;
  reshape(shape: readonly number[]): NativeTensor;
  dispose(): void;
}

export interface NativeWeightsFile {
  readonly size: number;
  close(): void;
}

/** See `Part` in device.ts. */
export interface NativePart {
  elements: number;
  file?: NativeWeightsFile;
  offset?: number;
  dtype?: ElementType;
  encoding?: string;
  scales?: { offset: number; dtype: string; each: number; factor?: boolean };
  name?: string;
}

export type NativeWrite = readonly [tensor: NativeTensor, data: TensorData, element: number];
export type NativeRead = readonly [tensor: NativeTensor, element: number, elements: number];

export interface NativeRunOptions {
  times: number;
  until?: NativeTensor;
  when?: string;
  most?: number;
  trace: boolean;
  writes?: readonly NativeWrite[];
  reads?: readonly NativeRead[];
  rows?: readonly NativeTensor[];
}

export interface NativeRunResult {
  times: number;
  elapsed: number;
  reads: (Float32Array | Int32Array | Uint8Array)[];
  /** The index of each row whose flag is set, and its data. */
  rows?: (readonly [row: number, ...data: (Float32Array | Int32Array | Uint8Array)[]])[];
  microseconds?: Float64Array;
  parts?: { operation: number; name: string; microseconds: number }[];
}

export interface NativeProgram {
  readonly operations: { name: string; label: string }[];
  readonly arenaBytes: number;
  prepare(): Promise<void>;
  run(options: NativeRunOptions): {
    promise: Promise<NativeRunResult>;
    cancel(): void;
    stop(): void;
  };
  dispose(): void;
}

export interface NativeRecorder {
  operation(
    name: string,
    values: Record<string, NativeTensor | number | boolean | string | undefined>,
    label: string,
  ): NativeTensor;
  finish(name: string, poison: boolean, integerProducts?: boolean): NativeProgram;
}

/** Use of a device's memory. */
export interface MemoryFigures {
  /** Bytes that tensors, programs and weights hold now. */
  inUse: number;
  /** The maximum of `inUse` so far. */
  peak: number;
  /** Bytes of GPU memory that were free when the device was opened, minus `inUse`. Absent for a CPU. */
  available?: number;
  /** Number of allocations since the device was opened. */
  allocations: number;
}

export interface NativeDevice {
  createTensor(dtype: ElementType, shape: readonly number[]): NativeTensor;
  load(dtype: ElementType, shape: readonly number[], parts: NativePart[]): Promise<NativeTensor>;
  quantize(
    shape: readonly number[],
    parts: NativePart[],
  ): Promise<{ data: NativeTensor; scales: NativeTensor; error: number }>;
  createRecorder(): NativeRecorder;
  copy(from: NativeTensor, fromElement: number, to: NativeTensor, toElement: number, elements: number): Promise<void>;
  transfer(
    writes: readonly NativeWrite[],
    reads: readonly NativeRead[],
  ): Promise<(Float32Array | Int32Array | Uint8Array)[]>;
  memory(): MemoryFigures;
  close(): void;
}

/** Silero's voice detector. */
export interface NativeVoiceModel {
  /**
   * Processes complete frames of several recordings. Returns for each its new state and the probability of speech in
   * each frame.
   */
  run(
    streams: readonly (readonly [state: Float32Array, samples: Float32Array])[],
  ): Promise<[state: Float32Array, probabilities: Float32Array][]>;
}

/** Converts samples from one rate to another; see `Resampler` in lib/audio. */
export interface NativeResampler {
  /** Returns the number of outputs that these samples complete. */
  outputs(samples: Float32Array): number;
  /** Fills `output`, whose length is that of `outputs`. */
  push(samples: Float32Array, output: Float32Array): void;
  /** Returns the number of outputs that silence after the last sample completes. */
  remaining(): number;
  /** Fills `output`, whose length is that of `remaining`. Other calls are refused afterwards. */
  finish(output: Float32Array): void;
}

/** The addon's description of this machine. */
export interface Information {
  cpu: { kernels: string; available: string[]; multipliesBfloat16: boolean };
  onednn: { version: string };
  cuda: {
    compiled: boolean;
    available: boolean;
    reason: string;
    driverVersion: number;
    devices: { name: string; memory: number; computeCapability: string }[];
    cublasLt: string | null;
  };
  /** Cores that this process may use. */
  threads: number;
}

export interface NativeAddon {
  initialize(errorClass: typeof OneheadError): void;
  information(): Information;
  /** Whether the CPU has bfloat16 instructions. Does not access any GPU. */
  multipliesBfloat16(): boolean;
  /** Frees the memory of an array, which has no elements then. Absent from older addons. */
  detach?(array: TensorData): void;
  cpuInformation?(): { kernels: string; onednn: string; threads: number };
  /** Returns why an algorithm does not support a case. Counts must be positive integers. */
  attentionReasons(device: 'cpu' | 'cuda', algorithm: string, given: object): string[];
  /** The algorithm that 'auto' prefers. */
  preferredAttention(queries: number): string;
  Device: new (kind: string, options: { threads?: number; kernels?: string; cublasLt?: boolean }) => NativeDevice;
  WeightsFile: new (path: string) => NativeWeightsFile;
  VoiceModel: new (weights: Float32Array, kernels?: string) => NativeVoiceModel;
  Resampler: new (from: number, to: number, kernels?: string) => NativeResampler;
  /** These three are described in lib/audio/sample-functions.ts. Absent from older addons. */
  convertPcm?(
    bytes: Uint8Array,
    coding: string,
    bigEndian: boolean,
    table: Float32Array | undefined,
    channels: readonly Float32Array[],
    begin: number,
    kernels?: string,
  ): void;
  mixChannels?(
    channels: readonly Float32Array[],
    shares: Float64Array | null,
    mix: Float32Array,
    powers: Float64Array,
    kernels?: string,
  ): void;
  withinLevel?(samples: Float32Array, begin: number, end: number, level: number, kernels?: string): boolean;
}

function initialized(addon: unknown): NativeAddon {
  (addon as NativeAddon).initialize(OneheadError);
  return addon as NativeAddon;
}

let loaded: NativeAddon | null = null;

/** Returns the addon, loaded on first use. Throws OneheadError ADDON_UNAVAILABLE. */
export function native(): NativeAddon {
  loaded ??= initialized(loadAddon());
  return loaded;
}

/** The addon if this thread has loaded it. */
export const loadedNative = (): NativeAddon | null => loaded;

/** Returns a class of the addon. Throws OneheadError ADDON_UNAVAILABLE, also if the addon is older than the class. */
export function nativeClass<Name extends 'VoiceModel' | 'Resampler'>(name: Name, what: string): NativeAddon[Name] {
  const found = native()[name];
  if (found) return found;
  throw new OneheadError(
    'ADDON_UNAVAILABLE',
    `onehead's native addon is older than the package and has no ${what}; build it again with \`npm run build:native\`.`,
  );
}

let loadedEmulated: NativeAddon | null = null;

/**
 * Returns the addon with this kind of device, and on a CPU with these kernels. Throws OneheadError ADDON_UNAVAILABLE or
 * DEVICE_UNAVAILABLE.
 */
export function nativeOf(kind: string, kernels?: string): NativeAddon {
  if (!kind.startsWith('cuda-emulated') && !kernels?.endsWith('-emulated')) return native();
  loadedEmulated ??= initialized(loadEmulatedAddon());
  return loadedEmulated;
}
