/** Reads the headers of safetensors files: the names, types and positions of tensors. The device reads the data. */
import { type FileHandle, open } from 'node:fs/promises';
import { basename, join } from 'node:path';
import { OneheadError, shown } from '../../errors.js';
import { quoted, reading, statusOf } from '../files/bytes.js';
import { isPlain, type TensorIndex } from '../files/tensors.js';
import { foreignFile } from './foreign.js';
import { readJson } from './json.js';

export type { TensorEntry, TensorIndex } from '../files/tensors.js';

const types: Record<string, { name: string; bytes: number }> = {
  F32: { name: 'float32', bytes: 4 },
  F16: { name: 'float16', bytes: 2 },
  BF16: { name: 'bfloat16', bytes: 2 },
  F64: { name: 'F64', bytes: 8 },
  I64: { name: 'I64', bytes: 8 },
  I32: { name: 'I32', bytes: 4 },
  I16: { name: 'I16', bytes: 2 },
  I8: { name: 'I8', bytes: 1 },
  U8: { name: 'U8', bytes: 1 },
  BOOL: { name: 'BOOL', bytes: 1 },
};

/** The format's limit for the length of a header. */
const maximumHeaderBytes = 100_000_000;

const invalid = (file: string, problem: string): OneheadError =>
  new OneheadError(
    'MODEL_INVALID',
    `${file} is not a valid safetensors file: ${problem}; download or export it again.`,
  );

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;

/** Fills a buffer from a file's bytes at `offset`. Throws OneheadError MODEL_INVALID if the file ends too early. */
export async function readExactly(handle: FileHandle, into: Buffer, offset: number, file: string): Promise<void> {
  for (let done = 0; done < into.length; ) {
    // Node.js reads no more than 2 GiB at once.
    const { bytesRead } = await handle.read(into, done, Math.min(into.length - done, 1 << 30), offset + done);
    if (bytesRead === 0) throw invalid(file, `it ended at byte ${offset + done} while it was read`);
    done += bytesRead;
  }
}

/**
 * Reads the tensor index of one file. Throws OneheadError MODEL_INVALID if the file cannot be read, or if its header is
 * invalid for it.
 */
function readHeader(file: string): Promise<TensorIndex> {
  return reading(file, () => readIndex(file));
}

async function readIndex(file: string): Promise<TensorIndex> {
  let header: Buffer;
  let dataBytes: number;
  const handle = await open(file);
  try {
    const foreign = await foreignFile(file);
    if (foreign) throw new OneheadError('MODEL_INVALID', `${file} is ${foreign}.`);
    const { size } = await handle.stat();
    const prefix = Buffer.alloc(8);
    if (size < 8) throw invalid(file, `it has ${size} bytes, fewer than the 8 of the header's length`);
    await readExactly(handle, prefix, 0, file);
    const length = prefix.readBigUInt64LE();
    if (length > BigInt(maximumHeaderBytes)) throw invalid(file, `its header claims ${length} bytes`);
    dataBytes = size - 8 - Number(length);
    if (dataBytes < 0) throw invalid(file, `its header claims ${length} bytes but the file has ${size}`);
    header = Buffer.alloc(Number(length));
    await readExactly(handle, header, 8, file);
  } finally {
    await handle.close();
  }
  return parseHeader(header, dataBytes, file);
}

function parseHeader(header: Buffer, dataBytes: number, file: string): TensorIndex {
  let json: unknown;
  try {
    json = JSON.parse(header.toString('utf8'));
  } catch {
    throw invalid(file, 'its header is not JSON');
  }
  if (typeof json !== 'object' || json === null || Array.isArray(json))
    throw invalid(file, 'its header is not an object');
  const index: TensorIndex = new Map();
  const ranges: { begin: number; end: number; name: string }[] = [];
  for (const [name, value] of Object.entries(json)) {
    if (name === '__metadata__') continue;
    const { dtype, shape, data_offsets: offsets } = (value ?? {}) as Record<string, unknown>;
    const type = typeof dtype === 'string' && Object.hasOwn(types, dtype) ? types[dtype] : undefined;
    if (!type) throw invalid(file, `tensor ${quoted(name)} has the unknown type ${shown(JSON.stringify(dtype), 80)}`);
    if (!Array.isArray(shape) || !shape.every(isSize)) throw invalid(file, `tensor ${quoted(name)} has no valid shape`);
    if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every(isSize) || offsets[0] > offsets[1]) {
      throw invalid(file, `tensor ${quoted(name)} has no valid data offsets`);
    }
    const [begin, end] = offsets as [number, number];
    if (end > dataBytes) {
      throw invalid(
        file,
        `tensor ${quoted(name)} ends at byte ${end} of the data, but the file has only ${dataBytes} (truncated?)`,
      );
    }
    const bytes = shape.reduce((product: number, size: number) => product * size, type.bytes);
    if (bytes !== end - begin) {
      throw invalid(
        file,
        `tensor ${quoted(name)} of shape [${shown(shape, 60)}] needs ${bytes} bytes but has ${end - begin}`,
      );
    }
    ranges.push({ begin, end, name });
    index.set(name, { file, offset: 8 + header.length + begin, bytes, dtype: type.name, shape });
  }
  ranges.sort((a, b) => a.begin - b.begin || a.end - b.end);
  let previousEnd = 0;
  for (const { begin, end, name } of ranges) {
    if (begin !== previousEnd) {
      const problem = begin < previousEnd ? 'overlaps the one before it' : 'leaves a gap before it';
      throw invalid(file, `tensor ${quoted(name)} ${problem}`);
    }
    previousEnd = end;
  }
  if (previousEnd !== dataBytes) throw invalid(file, `${dataBytes - previousEnd} bytes at its end belong to no tensor`);
  return index;
}

/** The name of the tensor with the scales of an int8 tensor. */
export const scaleName = (name: string): string => `${name}_scale`;

/**
 * Joins int8 matrices with the factors of their rows, which are in the tensor `scaleName`. Integers without factors are
 * unchanged. Throws OneheadError MODEL_INVALID if factors do not match their matrix.
 */
function withScales(tensors: TensorIndex): TensorIndex {
  const joined: TensorIndex = new Map(tensors);
  for (const [name, entry] of tensors) {
    const scale = entry.dtype === 'I8' ? tensors.get(scaleName(name)) : undefined;
    if (!scale) continue;
    const { file, shape, dtype } = scale;
    const [rows, columns] = entry.shape;
    const elements = shape.reduce((product, size) => product * size, 1);
    if (entry.shape.length !== 2 || columns < 1 || file !== entry.file || elements !== rows || !isPlain(dtype)) {
      throw invalid(
        entry.file,
        `tensor '${scaleName(name)}' (${dtype}, [${shape}]) does not contain a factor for each row of '${name}' ([${entry.shape}]) in the same file`,
      );
    }
    joined.delete(scaleName(name));
    joined.set(name, { ...entry, dtype: 'int8', scales: { offset: scale.offset, dtype, each: columns, factor: true } });
  }
  return joined;
}

/**
 * Reads the tensor index of a folder with `model.safetensors`, or with the shards that `model.safetensors.index.json`
 * names. Throws OneheadError MODEL_NOT_FOUND or MODEL_INVALID.
 */
export async function openSafetensors(directory: string): Promise<TensorIndex> {
  const single = join(directory, 'model.safetensors');
  if (await statusOf(single)) return withScales(await readHeader(single));
  const indexFile = join(directory, 'model.safetensors.index.json');
  if (!(await statusOf(indexFile))) {
    throw new OneheadError(
      'MODEL_NOT_FOUND',
      `${directory} contains neither model.safetensors nor model.safetensors.index.json; give the folder of a Hugging Face Whisper checkpoint.`,
    );
  }
  return readShards(directory, indexFile);
}

const readShards = async (directory: string, indexFile: string) =>
  withScales(await openShards(directory, indexFile, readHeader));

/**
 * Reads the tensor index of a checkpoint in several files. `indexFile` maps tensors to files; `read` reads the tensor
 * index of one file. Throws OneheadError MODEL_INVALID.
 */
export async function openShards(
  directory: string,
  indexFile: string,
  read: (file: string) => Promise<TensorIndex>,
): Promise<TensorIndex> {
  const map = ((await readJson(indexFile)) as { weight_map?: unknown } | null)?.weight_map;
  if (typeof map !== 'object' || map === null || Array.isArray(map)) {
    throw new OneheadError('MODEL_INVALID', `${indexFile} has no weight_map; download it again.`);
  }
  const shards = new Map<string, TensorIndex>();
  const index: TensorIndex = new Map();
  for (const [name, shard] of Object.entries(map)) {
    if (typeof shard !== 'string' || basename(shard) !== shard || shard === '..') {
      throw new OneheadError(
        'MODEL_INVALID',
        `${indexFile} places tensor ${quoted(name)} in ${shown(JSON.stringify(shard), 80)}, which is not the name of a file beside it; download it again.`,
      );
    }
    let tensors = shards.get(shard);
    if (!tensors) {
      tensors = await read(join(directory, shard));
      shards.set(shard, tensors);
    }
    const entry = tensors.get(name);
    if (!entry) {
      throw new OneheadError(
        'MODEL_INVALID',
        `${indexFile} places tensor ${quoted(name)} in ${shown(shard, 80)}, which does not contain it; download both again.`,
      );
    }
    index.set(name, entry);
  }
  return index;
}
