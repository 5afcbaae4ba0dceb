/** Writes safetensors files from the tensors of others. */
import { type FileHandle, open } from 'node:fs/promises';
import { Device } from '../../device/device.js';
import { encodings, type TensorEntry } from '../files/tensors.js';
import { readExactly } from './safetensors.js';
import { decoded } from './weight-files.js';

const storedTypes: Record<string, string> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/** Node.js writes no more than 2 GiB at once, and may write less than it was given. */
async function writeAll(output: FileHandle, data: Buffer): Promise<void> {
  for (let done = 0; done < data.length; ) {
    done += (await output.write(data, done, Math.min(data.length - done, 1 << 30))).bytesWritten;
  }
}

/** The entry of a tensor in the file: types that safetensors does not have become float32, so that nothing is lost. */
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

/** Writes one file of tensors, one by one. */
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
  // Padded so that the data begins aligned, as the format's own writer does.
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

/** Reads tensors' bytes from their files, those of types that safetensors has not as float32. */
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

export const storedType = (dtype: string): string => storedTypes[dtype] ?? dtype;

/**
 * Writes one file of tensors taken from others, one by one. `rowsOf` tells each one's new first dimension, and
 * `convert` gives its data in the type that it had (float32 where safetensors has no such type).
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
