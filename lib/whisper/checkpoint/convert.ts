/**
 * Converts a checkpoint of any form to a Hugging Face folder with safetensors. It can change the number of key/value
 * heads (multi-head to multi-query and back), or quantize the weights.
 */
import { constants } from 'node:fs';
import { access, copyFile, readdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { basename, join, resolve } from 'node:path';
import { countOf, refuse } from '../../checks.js';
import { OneheadError, reasonOf } from '../../errors.js';
import { bytesWithoutByteOrderMark } from '../../json.js';
import { makeFolder } from '../../make-folder.js';
import type { TensorIndex } from '../files/tensors.js';
import { type Checkpoint, readCheckpoint } from './checkpoint.js';
import type { WhisperConfig } from './config.js';
import { type CheckpointFormat, formatNames } from './description.js';
import { bfloat16ToNumber, float16ToNumber, numberToBfloat16, numberToFloat16 } from './half.js';
import { writeQuantized } from './quantize.js';
import { writeSafetensors } from './safetensors-writer.js';
import { wholeJson } from './tokenizer-files.js';
import { checkpointSizes } from './weights.js';

export const convertibleParts = ['cross', 'self', 'encoder'] as const;
export type ConvertiblePart = (typeof convertibleParts)[number];
export const poolingMethods = ['mean', 'first', 'random'] as const;
/**
 * How several key/value heads become one: their mean, the first of them, or a random head that must be trained. Ainslie
 * et al., "GQA" (2023), compare the three and find the mean best.
 */
export type PoolingMethod = (typeof poolingMethods)[number];

export interface ConvertOptions {
  /**
   * Number of key/value heads in the result: 1 for multi-query attention; the number of query heads repeats the heads,
   * for programs that support only multi-head attention. Default: unchanged.
   */
  keyValueHeads?: number;
  /** The attention layers to convert. Default: the decoder's cross-attention and self-attention. */
  parts?: readonly ConvertiblePart[];
  /** How heads are pooled. Default: 'mean'. */
  method?: PoolingMethod;
  /**
   * Stores the weights of matrix products in 8 bits, except those that would lose too much precision. Cannot be
   * combined with `keyValueHeads`.
   */
  quantize?: 'int8';
  /** Aborts the conversion; the promise rejects with the signal's reason. */
  signal?: AbortSignal;
}

/** The options for converting heads, with all defaults. */
type HeadOptions = Required<Omit<ConvertOptions, 'signal' | 'quantize'>>;

export interface ConvertResult {
  /** The form of the source checkpoint. */
  format: CheckpointFormat;
  /** Number of parameters before and after. */
  parameters: [number, number];
  /** Bytes of one window's self-attention and cross-attention caches in a 16-bit type, before and after. */
  cacheBytes: [number, number];
  /** Names of weights that were not quantized, because 8 bits would lose too much precision. */
  sensitive: string[];
}

/** The fields of config.json for key/value heads. If one is absent, there is a key/value head for each query head. */
const fields: Record<ConvertiblePart, string> = {
  encoder: 'encoder_key_value_heads',
  self: 'decoder_key_value_heads',
  cross: 'cross_key_value_heads',
};

function headsOf(config: WhisperConfig, part: ConvertiblePart): { heads: number; keyValueHeads: number } {
  const { encoder, decoder } = config;
  if (part === 'encoder') return { heads: encoder.heads, keyValueHeads: encoder.keyValueHeads };
  return { heads: decoder.heads, keyValueHeads: part === 'self' ? decoder.keyValueHeads : decoder.crossKeyValueHeads };
}

/** Returns the part of a key or value projection; null for any other tensor. */
function partOf(name: string): ConvertiblePart | null {
  const match =
    /^(?:model\.)?(encoder|decoder)\.layers\.\d+\.(self_attn|encoder_attn)\.[kv]_proj\.(?:weight|bias)$/.exec(name);
  if (!match) return null;
  return match[2] === 'encoder_attn' ? 'cross' : match[1] === 'encoder' ? 'encoder' : 'self';
}

/** Throws OneheadError INVALID_ARGUMENT if the heads cannot be converted. */
function checkHeads(config: WhisperConfig, { keyValueHeads, parts, method }: HeadOptions): void {
  countOf('keyValueHeads', keyValueHeads);
  if (!poolingMethods.includes(method)) refuse('method', poolingMethods.join(', '), method);
  if (parts.length === 0 || !parts.every((part) => convertibleParts.includes(part))) {
    refuse('parts', `a list of ${convertibleParts.join(', ')}`, parts);
  }
  for (const part of parts) {
    const { heads, keyValueHeads: current } = headsOf(config, part);
    if (heads % keyValueHeads || (current % keyValueHeads && keyValueHeads % current)) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `${part}: ${current} key/value heads of ${heads} query heads cannot be converted to ${keyValueHeads}; give a ` +
          `divisor of ${heads} that divides ${current} or is a multiple of it.`,
        { argument: 'keyValueHeads' },
      );
    }
  }
}

const codecs = {
  float32: {
    bytes: 4,
    read: (view: DataView, offset: number) => view.getFloat32(offset, true),
    write: (view: DataView, offset: number, value: number) => view.setFloat32(offset, value, true),
  },
  float16: {
    bytes: 2,
    read: (view: DataView, offset: number) => float16ToNumber(view.getUint16(offset, true)),
    write: (view: DataView, offset: number, value: number) => view.setUint16(offset, numberToFloat16(value), true),
  },
  bfloat16: {
    bytes: 2,
    read: (view: DataView, offset: number) => bfloat16ToNumber(view.getUint16(offset, true)),
    write: (view: DataView, offset: number, value: number) => view.setUint16(offset, numberToBfloat16(value), true),
  },
};

/** Returns a reproducible source of normally distributed numbers, with the deviation of Whisper's initial weights. */
function randomInitializer(): () => number {
  let state = 1;
  const uniform = () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return (state + 0.5) / 2 ** 32;
  };
  return () => 0.02 * Math.sqrt(-2 * Math.log(uniform())) * Math.cos(2 * Math.PI * uniform());
}

/** Converts a projection of [from * size, columns] elements to [to * size, columns] of the same dtype. */
function convertHeads(
  data: Buffer,
  dtype: keyof typeof codecs,
  from: number,
  to: number,
  method: PoolingMethod,
  random: () => number,
): Buffer {
  const { bytes, read, write } = codecs[dtype];
  const headElements = data.length / bytes / from;
  if (to >= from) {
    const headBytes = headElements * bytes;
    const head = (index: number) => data.subarray(index * headBytes, (index + 1) * headBytes);
    return Buffer.concat(Array.from({ length: to }, (_, index) => head(Math.floor((index * from) / to))));
  }
  const group = from / to;
  const source = new DataView(data.buffer, data.byteOffset, data.byteLength);
  const result = Buffer.alloc(headElements * to * bytes);
  const target = new DataView(result.buffer, result.byteOffset, result.byteLength);
  const pooled = (head: number, element: number): number => {
    if (method === 'random') return random();
    const members = method === 'first' ? 1 : group;
    let sum = 0;
    for (let i = 0; i < members; ++i) sum += read(source, ((head * group + i) * headElements + element) * bytes);
    return sum / members;
  };
  for (let head = 0; head < to; ++head) {
    for (let element = 0; element < headElements; ++element) {
      write(target, (head * headElements + element) * bytes, pooled(head, element));
    }
  }
  return result;
}

const weightFile = /\.(safetensors|bin|pt|pth|ckpt|msgpack|h5|onnx)$|\.index\.json$/;

/** Returns a model card with a section about the converted heads. */
function modelCard(original: string, config: WhisperConfig, { keyValueHeads, parts, method }: HeadOptions): string {
  const lines = parts.map(
    (part) => `- \`${fields[part]}\`: ${keyValueHeads} (query heads: ${headsOf(config, part).heads})`,
  );
  return `${original.trimEnd()}

## Converted key/value heads

\`onehead convert --kv-heads ${keyValueHeads} --parts ${parts.join(',')} --method ${method}\` changed the number of
key/value heads of this checkpoint. It is in these fields of config.json, which transformers does not support; a part
without its field has a key/value head for each query head:

${lines.join('\n')}

\`k_proj\` and \`v_proj\` of these parts are [key/value heads x head size, width]. Query head i uses key/value head
i x (key/value heads) / (query heads), rounded down. To load the model in transformers, convert it again with as many
key/value heads as query heads, which repeats the heads and does not change the results. If heads were pooled, the model
must be trained further before it is useful.
`;
}

/**
 * Returns the text of a JSON object with fields set, or removed if null. All other text is unchanged, because some
 * readers distinguish 0.0 from 0.
 */
function withFields(text: string, changes: readonly [string, number | null][]): string {
  let changed = text.trimEnd();
  for (const [name, value] of changes) {
    changed = changed.replace(new RegExp(`,\\s*"${name}"\\s*:\\s*[^,}\\s]+`), '');
    changed = changed.replace(new RegExp(`"${name}"\\s*:\\s*[^,}\\s]+\\s*,\\s*`), '');
    if (value !== null) changed = `${changed.slice(0, -1).trimEnd()},\n  "${name}": ${value}\n}`;
  }
  return `${changed}\n`;
}

/** Errors of writing only: a full disk, a used-up quota, a limit of the size of files. */
const noSpace = new Set(['ENOSPC', 'EDQUOT', 'EFBIG']);

/** Creates a folder, or accepts an empty one. Throws OneheadError INVALID_ARGUMENT if it has files. */
async function createFolder(directory: string): Promise<void> {
  let names: string[];
  try {
    makeFolder(directory);
    names = await readdir(directory);
    await access(directory, constants.W_OK);
  } catch (cause) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Cannot write to ${directory}: ${reasonOf(cause)}; give another folder.`,
      { cause },
    );
  }
  if (names.length > 0) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `${directory} is not empty; give a new folder for the converted checkpoint.`,
    );
  }
}

/** Returns the tensors by transformers' names, without duplicates. */
function namedTensors({ config, tensors, description }: Checkpoint): TensorIndex {
  if (description) return new Map([...tensors].map(([name, entry]) => [`model.${name}`, entry]));
  if (!config.tiedEmbeddings || !tensors.has('proj_out.weight')) return tensors;
  // pytorch_model.bin has the tied embedding under both names.
  return new Map([...tensors].filter(([name]) => name !== 'proj_out.weight'));
}

/** Writes all files other than the weights: copies them from the folder, or makes them from a description. */
async function writeFiles({ directory, format, description }: Checkpoint, to: string): Promise<void> {
  if (!description) {
    for (const name of await readdir(directory)) {
      if (name.startsWith('.') || weightFile.test(name)) continue;
      const [source, target] = [join(directory, name), join(to, name)];
      if (!(await stat(source)).isFile()) continue;
      // transformers refuses JSON with a byte order mark.
      if (name.endsWith('.json')) await writeFile(target, bytesWithoutByteOrderMark(await readFile(source)));
      else await copyFile(source, target);
    }
    return;
  }
  const files = {
    'config.json': description.config,
    'generation_config.json': description.generation,
    'preprocessor_config.json': description.preprocessor,
    'tokenizer.json': wholeJson(await description.tokenizer()),
    'tokenizer_config.json': { tokenizer_class: 'WhisperTokenizer' },
  };
  for (const [name, value] of Object.entries(files)) {
    await writeFile(join(to, name), `${JSON.stringify(value, null, name === 'tokenizer.json' ? 0 : 2)}\n`);
  }
  await writeFile(
    join(to, 'README.md'),
    `# ${basename(directory)}\n\nConverted from ${formatNames[format]} by \`onehead convert\`.\n`,
  );
}

/**
 * Writes a checkpoint to a new folder in Hugging Face's form, with all weights in one model.safetensors. Weights keep
 * their dtypes; those in encodings that safetensors lacks are decoded to float32. If the key/value heads change,
 * config.json and the model card record it. Throws OneheadError INVALID_ARGUMENT, MODEL_NOT_FOUND or MODEL_INVALID, or
 * rejects with the signal's reason; the folder is then left empty.
 */
export async function convertCheckpoint(
  from: string,
  to: string,
  options: ConvertOptions = {},
): Promise<ConvertResult> {
  const checkpoint = await readCheckpoint(from);
  const { config } = checkpoint;
  const { signal, keyValueHeads, quantize } = options;
  if (quantize !== undefined && quantize !== 'int8') refuse('quantize', "'int8'", quantize);
  if (quantize && keyValueHeads !== undefined) {
    refuse(
      'quantize',
      'absent when key/value heads are converted (convert them first, then quantize the result)',
      quantize,
    );
  }
  const heads: HeadOptions | null =
    keyValueHeads === undefined ? null : { parts: ['cross', 'self'], method: 'mean', ...options, keyValueHeads };
  if (heads) checkHeads(config, heads);
  if (resolve(from) === resolve(to)) {
    throw new OneheadError('INVALID_ARGUMENT', `${to} is the checkpoint itself; give a new folder.`);
  }
  await createFolder(to);
  const convertedPart = (name: string): ConvertiblePart | null => {
    const part = partOf(name);
    return part && heads?.parts.includes(part) ? part : null;
  };
  const random = randomInitializer();
  try {
    const sensitive = quantize
      ? await writeQuantized(join(to, 'model.safetensors'), namedTensors(checkpoint), signal)
      : [];
    if (!quantize) {
      await writeSafetensors(
        join(to, 'model.safetensors'),
        namedTensors(checkpoint),
        (name, { shape }) => {
          const part = convertedPart(name);
          return part && heads ? (shape[0] / headsOf(config, part).keyValueHeads) * heads.keyValueHeads : shape[0];
        },
        (name, data, { dtype }) => {
          const part = convertedPart(name);
          if (!part || !heads) return data;
          const current = headsOf(config, part).keyValueHeads;
          return convertHeads(data, dtype as keyof typeof codecs, current, heads.keyValueHeads, heads.method, random);
        },
        signal,
      );
    }
    await writeFiles(checkpoint, to);
    if (heads) {
      const changes = heads.parts.map((part): [string, number | null] => [
        fields[part],
        headsOf(config, part).heads === heads.keyValueHeads ? null : heads.keyValueHeads,
      ]);
      await writeFile(join(to, 'config.json'), withFields(await readFile(join(to, 'config.json'), 'utf8'), changes));
      const readme = await readFile(join(to, 'README.md'), 'utf8').catch(() => '# Whisper');
      await writeFile(join(to, 'README.md'), modelCard(readme, config, heads));
    }
    const result = await readCheckpoint(to); // checks the written files
    const [before, after] = [config, result.config].map((sizes) => checkpointSizes(sizes, 2));
    const caches = ({ selfCacheBytes, crossCacheBytes }: typeof before) => selfCacheBytes + crossCacheBytes;
    return {
      format: checkpoint.format,
      parameters: [before.total, after.total],
      cacheBytes: [caches(before), caches(after)],
      sensitive,
    };
  } catch (error) {
    for (const name of await readdir(to).catch(() => [])) await rm(join(to, name), { recursive: true, force: true });
    if (!noSpace.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    const message = `Cannot write to ${to}: ${reasonOf(error)}; make space, or give another folder.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { cause: error });
  }
}
