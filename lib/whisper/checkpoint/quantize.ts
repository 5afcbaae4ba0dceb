/** Quantizes the weights of matrix products to 8 bits: chooses the weights and writes them to a file. */
import { Device } from '../../device/device.js';
import type { TensorIndex } from '../files/tensors.js';
import { scaleName } from './safetensors.js';
import { storableEntry, storedType, TensorReader, type WrittenTensor, writeTensors } from './safetensors-writer.js';
import { WeightFiles } from './weight-files.js';
import { tensorPart } from './weights.js';

/**
 * The maximum rounding error of a quantized weight, relative to its typical elements (`error` of Device.quantize).
 * Matrices of Whisper base have errors of 0.008 to 0.05, which do not change its word error rate. Rows with outliers
 * have errors of up to 0.39: with their scales, the other elements are rounded almost to zero.
 */
export const maximumLoss = 0.08;

/**
 * Groups the names of weights: the weights of a group are computed as one product, so all of them are quantized or
 * none.
 */
function quantizedGroups(names: Iterable<string>, shapeOf: (name: string) => readonly number[]): string[][] {
  const groups = new Map<string, string[]>();
  for (const name of names) {
    const plain = name.replace(/^model\./, '');
    const part = tensorPart({ name: plain, shape: [...shapeOf(name)] });
    if (part !== 'encoder' && part !== 'decoder' && part !== 'embedding') continue;
    if (!name.endsWith('.weight')) continue;
    const group = name.replace(/(self_attn\.)[qkv](_proj)/, '$1qkv$2');
    groups.set(group, [...(groups.get(group) ?? []), name]);
  }
  return [...groups.values()];
}

/** True if there are int8 weights with a factor for each row, as `writeQuantized` writes them. */
export const isQuantizedFile = (tensors: TensorIndex): boolean =>
  [...tensors.values()].some(({ scales }) => scales?.factor);

/**
 * Writes tensors, with the weights of products as I8 and a factor for each of their rows as F32 (`NAME_scale`). Weights
 * whose error would exceed `maximumLoss` are not quantized; returns their names.
 */
export async function writeQuantized(file: string, tensors: TensorIndex, signal?: AbortSignal): Promise<string[]> {
  const device = new Device('cpu');
  const files = new WeightFiles();
  const reader = new TensorReader();
  const quantize = (names: readonly string[]) => {
    const entries = names.map((name) => tensors.get(name)!);
    const rows = entries.reduce((sum, { shape }) => sum + shape[0], 0);
    const parts = names.map((name, i) => files.part(name, entries[i]));
    return device.quantize([rows, entries[0].shape[1]], parts);
  };
  try {
    const sensitive = new Set<string>();
    const chosen = new Set<string>();
    for (const group of quantizedGroups(tensors.keys(), (name) => tensors.get(name)!.shape)) {
      signal?.throwIfAborted();
      const { weight, error } = await quantize(group);
      weight.data.dispose();
      weight.scales.dispose();
      for (const name of group) (error <= maximumLoss ? chosen : sensitive).add(name);
    }
    const written = [...tensors].flatMap(([name, stored]): WrittenTensor[] => {
      if (!chosen.has(name)) {
        const { dtype, shape, bytes } = storableEntry(stored);
        return [{ name, dtype: storedType(dtype), shape, bytes, data: () => reader.read(name, stored) }];
      }
      const [rows, columns] = stored.shape;
      let scales: Buffer;
      const data = async () => {
        const { weight } = await quantize([name]);
        const [numbers, factors] = await Promise.all([weight.data.toInt8Array(), weight.scales.toFloat32Array()]);
        weight.data.dispose();
        weight.scales.dispose();
        scales = Buffer.from(factors.buffer, factors.byteOffset, factors.byteLength);
        return Buffer.from(numbers.buffer, numbers.byteOffset, numbers.byteLength);
      };
      return [
        { name, dtype: 'I8', shape: [rows, columns], bytes: rows * columns, data },
        { name: scaleName(name), dtype: 'F32', shape: [rows], bytes: 4 * rows, data: async () => scales },
      ];
    });
    await writeTensors(file, written, signal);
    return [...sensitive];
  } finally {
    await reader.close();
    files.close();
    device.close();
  }
}
