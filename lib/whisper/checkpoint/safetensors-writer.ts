/** Writes safetensors files from the tensors of other files. */
import { type FileHandle, open } from 'node:fs/promises';
import { Device } from '../../device/device.js';
import { encodings, type TensorEntry } from '../files/tensors.js';
import { readExactly } from './safetensors.js';
import { decoded } from './weight-files.js';

const storedTypes: Record<string, string> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** Writes a buffer completely: a single write is limited to 2 GiB and may be incomplete. */
async function writeAll(output: FileHandle, data: Buffer): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += (await output.write(data, done, Math.min(data.length - done, 1 << 30))).bytesWritten;
  }
}

/** Returns a tensor's entry in the new file: encodings that safetensors lacks become float32, without loss. */
export function storableEntry(entry: TensorEntry): TensorEntry {
  if (!encodings.has(entry.dtype)) return entry;
  return { ...entry, dtype: 'float32', bytes: 4 * entry.shape.reduce((a, b) => a * b, 1) };
}

/** A tensor to write. */
export interface WrittenTensor {
  name: string;
  /** The type's name in safetensors. */
  dtype: string;
  shape: readonly number[];
  bytes: number;
  data(): Promise<Buffer>;
}

/** Writes a file of tensors; only one tensor's data is in memory at a time. */
export async function writeTensors(
  file: string,
  tensors: readonly WrittenTensor[],
  signal?: AbortSignal,
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const { name, dtype, shape, bytes } of tensors) {
    header[name] = { dtype, shape, data_offsets: [offset, offset + bytes] };
    offset += bytes;
  }
  // Padded so that the data is aligned to 8 bytes, as the safetensors library does.
  const unpadded = JSON.stringify(header);
  const text = unpadded.padEnd(
    Math.ceil(Buffer.byteLength(unpadded) / 8) * 8 + unpadded.length - Buffer.byteLength(unpadded),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
  const output = await open(file, 'wx');
  try {
    await output.write(length);
    await output.write(text);
    for (const { data } of tensors) {
      signal?.throwIfAborted();
      await writeAll(output, await data());
    }
  } finally {
    await output.close();
  }
}

/** Reads the bytes of tensors from their files; encodings that safetensors lacks are decoded to float32. */
export class TensorReader {
  readonly #files = new Map<string, FileHandle>();
  #device: Device | null = null;

  async read(name: string, entry: TensorEntry): Promise<Buffer> {
    if (encodings.has(entry.dtype)) {
      this.#device ??= new Device('cpu');
      return decoded(this.#device, name, entry);
    }
    let input = this.#files.get(entry.file);
    if (!input) {
      input = await open(entry.file);
      this.#files.set(entry.file, input);
    }
    const data = Buffer.alloc(entry.bytes);
    await readExactly(input, data, entry.offset, entry.file);
    return data;
  }

  async close(): Promise<void> {
    for (const input of this.#files.values()) await input.close();
    this.#device?.close();
  }
}

/** Returns the name of a dtype in safetensors. */
export const storedType = (dtype: string): string => storedTypes[dtype] ?? dtype;

/**
 * Writes a file from the tensors of other files, one at a time. `rowsOf` returns the new first dimension of a tensor;
 * `convert` returns its new data, in the dtype of `entry`.
 */
export async function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  rowsOf: (name: string, entry: TensorEntry) => number,
  convert: (name: string, data: Buffer, entry: TensorEntry) => Buffer,
  signal?: AbortSignal,
): Promise<void> {
  const reader = new TensorReader();
  const written = [...tensors].map(([name, stored]): WrittenTensor => {
    const entry = storableEntry(stored);
    const { shape, bytes } = entry;
    const rows = rowsOf(name, entry);
    return {
      name,
      dtype: storedType(entry.dtype),
      shape: shape.length ? [rows, ...shape.slice(1)] : shape,
      bytes: shape.length ? (bytes / shape[0]) * rows : bytes,
      data: async () => convert(name, await reader.read(name, stored), entry),
    };
  });
  try {
    await writeTensors(file, written, signal);
  } finally {
    await reader.close();
  }
}
