/** Results of transformers and openai/whisper for the random checkpoints, as stored by tools/reference. */
import { readFileSync } from 'node:fs';

export const referenceFolder = new URL('../fixtures/reference/', import.meta.url).pathname;

export interface Stored {
  shape: number[];
  values: Float32Array | Int16Array;
}

interface Header {
  [name: string]: { dtype: string; shape: number[]; data_offsets: [number, number] };
}

/** Reads a small safetensors file. */
export function readTensors(file: string): Record<string, Stored> {
  const bytes = readFileSync(file);
  const start = 8 + Number(bytes.readBigUInt64LE());
  const { __metadata__: _, ...header } = JSON.parse(bytes.subarray(8, start).toString()) as Header;
  const tensors = Object.entries(header).map(
    ([
      name,
      {
        dtype,
        shape,
        data_offsets: [begin, end],
      },
    ]) => {
      const data = new Uint8Array(bytes.subarray(start + begin, start + end)).buffer;
      return [name, { shape, values: dtype === 'I16' ? new Int16Array(data) : new Float32Array(data) }];
    },
  );
  return Object.fromEntries(tensors);
}

/** The two windows of two seconds from which a reference was computed. */
export function storedWindows({ samples }: Record<string, Stored>): Float32Array[] {
  return [0, 1].map((row) =>
    Float32Array.from(samples.values.subarray(row * 32000, (row + 1) * 32000), (value) => value / 32768),
  );
}
