/** Writes safetensors files from the tensors of others. */
import { open } from 'node:fs/promises';
import { readExactly, type TensorEntry } from './safetensors.js';

const storedTypes: Record<string, string> = { float32: 'F32', float16: 'F16', bfloat16: 'BF16' };

/**
 * Writes one file of tensors taken from others, one by one. `rowsOf` tells each one's new first dimension, and `convert` gives its data in the
 * type that it had.
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
  for (const [name, entry] of tensors) {
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
  try {
    await output.write(length);
    await output.write(text);
    for (const [name, entry] of tensors) {
      signal?.throwIfAborted();
      let input = inputs.get(entry.file);
      if (!input) {
        input = await open(entry.file);
        inputs.set(entry.file, input);
      }
      const data = Buffer.alloc(entry.bytes);
      await readExactly(input, data, entry.offset, entry.file);
      await output.write(convert(name, data, entry));
    }
  } finally {
    await output.close();
    for (const input of inputs.values()) await input.close();
  }
}
