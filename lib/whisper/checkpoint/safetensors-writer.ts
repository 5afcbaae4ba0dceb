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

/** What the file will hold of a tensor: of types that safetensors has not, the numbers in float32, so that nothing is lost. */
function plainly(entry: TensorEntry): TensorEntry {
  if (!encodings.has(entry.dtype)) return entry;
  return { ...entry, dtype: 'float32', bytes: 4 * entry.shape.reduce((a, b) => a * b, 1) };
}

/**
 * Writes one file of tensors taken from others, one by one. `rowsOf` tells each one's new first dimension, and `convert` gives its data in the
 * type that it had (float32 where safetensors has no such type).
 */
export async function writeSafetensors(
  file: string,
  tensors: ReadonlyMap<string, TensorEntry>,
  rowsOf: (name: string, entry: TensorEntry) => number,
  convert: (name: string, data: Buffer, entry: TensorEntry) => Buffer,
  signal?: AbortSignal,
): Promise<void> {
  const header: Record<string, unknown> = { __metadata__: { format: 'pt' } };
  let offset = 0;
  for (const [name, stored] of tensors) {
    const entry = plainly(stored);
    const { shape, bytes } = entry;
    const rows = rowsOf(name, entry);
    const size = shape.length ? (bytes / shape[0]) * rows : bytes;
    header[name] = {
      dtype: storedTypes[entry.dtype] ?? entry.dtype,
      shape: shape.length ? [rows, ...shape.slice(1)] : shape,
      data_offsets: [offset, offset + size],
    };
    offset += size;
  }
  // Padded so that the data begins aligned, as the format's own writer does.
  const unpadded = JSON.stringify(header);
  const text = unpadded.padEnd(
    Math.ceil(Buffer.byteLength(unpadded) / 8) * 8 + unpadded.length - Buffer.byteLength(unpadded),
  );
  const length = Buffer.alloc(8);
  length.writeBigUInt64LE(BigInt(Buffer.byteLength(text)));
  const output = await open(file, 'wx');
  const inputs = new Map<string, Awaited<ReturnType<typeof open>>>();
  const device = [...tensors.values()].some(({ dtype }) => encodings.has(dtype)) ? new Device('cpu') : null;
  try {
    await output.write(length);
    await output.write(text);
    for (const [name, entry] of tensors) {
      signal?.throwIfAborted();
      if (device && encodings.has(entry.dtype)) {
        await writeAll(output, convert(name, await decoded(device, name, entry), plainly(entry)));
        continue;
      }
      let input = inputs.get(entry.file);
      if (!input) {
        input = await open(entry.file);
        inputs.set(entry.file, input);
      }
      const data = Buffer.alloc(entry.bytes);
      await readExactly(input, data, entry.offset, entry.file);
      await writeAll(output, convert(name, data, entry));
    }
  } finally {
    await output.close();
    for (const input of inputs.values()) await input.close();
    device?.close();
  }
}
