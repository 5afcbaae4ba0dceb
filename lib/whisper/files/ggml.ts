/**
 * Reads whisper.cpp's ggml files (ggml-base.bin, ggml-base-q5_0.bin): sizes, mel filters, vocabulary and tensors, one
 * after another.
 */
import { type BinaryFile, Cursor, quoted } from './bytes.js';
import { elementsOf, encodings, isPlain, maximumTensors, type TensorEntry, type TensorIndex } from './tensors.js';

/** A model's sizes as in openai/whisper: `audio` is the encoder, `text` the decoder, `context` positions. */
export interface Sizes {
  vocabulary: number;
  audioContext: number;
  audioWidth: number;
  audioHeads: number;
  audioLayers: number;
  textContext: number;
  textWidth: number;
  textHeads: number;
  textLayers: number;
  mels: number;
}

export interface GgmlFile extends Sizes {
  /** float32 [mels, bins of the spectrum], row by row. */
  filters: { shape: [number, number]; values: Float32Array };
  /** Bytes of the text tokens, in the order of their ids. */
  tokens: Buffer[];
  /** Tensors by openai/whisper's names. */
  tensors: TensorIndex;
}

/** ggml's types by their numbers. */
const types = new Map([
  [0, 'float32'],
  [1, 'float16'],
  [2, 'q4_0'],
  [3, 'q4_1'],
  [6, 'q5_0'],
  [7, 'q5_1'],
  [8, 'q8_0'],
  [10, 'q2_k'],
  [11, 'q3_k'],
  [12, 'q4_k'],
  [13, 'q5_k'],
  [14, 'q6_k'],
  [30, 'bfloat16'],
]);

const maximumTokenBytes = 1024;
const maximumNameBytes = 256;

/** The first bytes of a ggml file, "lmgg". */
export const ggmlMagic = 0x67676d6c;

function bytesOf(dtype: string, elements: number): number | null {
  if (isPlain(dtype)) return elements * (dtype === 'float32' ? 4 : 2);
  const block = encodings.get(dtype)!;
  return elements % block.elements ? null : (elements / block.elements) * block.bytes;
}

async function readTensor(file: BinaryFile, cursor: Cursor): Promise<[string, TensorEntry]> {
  const dimensions = await cursor.count('the dimensions of a tensor', 1, 4);
  const nameBytes = await cursor.count("the length of a tensor's name", 1, maximumNameBytes);
  const type = await cursor.count("a tensor's type", 0, 1000);
  const shape: number[] = [];
  // ggml lists the fastest dimension first; we list it last.
  for (let i = 0; i < dimensions; ++i) shape.unshift(await cursor.count("a tensor's size", 1, 2 ** 31 - 1));
  const name = (await cursor.bytes(nameBytes, "a tensor's name")).toString('utf8');
  const dtype = types.get(type);
  if (!dtype) file.refuse(`its tensor ${quoted(name)} has the unknown type ${type}`);
  const elements = elementsOf(shape);
  const bytes = elements === null ? null : bytesOf(dtype, elements);
  if (bytes === null) file.refuse(`its tensor ${quoted(name)} of shape [${shape}] cannot be stored as ${dtype}`);
  file.require(cursor.offset, bytes, `its tensor ${quoted(name)}`);
  const entry = { file: file.path, offset: cursor.offset, bytes, dtype, shape };
  cursor.offset += bytes;
  return [name, entry];
}

/** Reads everything but the tensors' data. Throws OneheadError MODEL_INVALID. */
export async function readGgml(file: BinaryFile): Promise<GgmlFile> {
  const cursor = new Cursor(file);
  if ((await cursor.uint32('its first bytes')) !== ggmlMagic) file.refuse("it does not begin with the bytes 'lmgg'");
  const size = (what: string) => cursor.count(`its ${what}`, 1, 1 << 20);
  const sizes = {
    vocabulary: await size('vocabulary'),
    audioContext: await size('audio context'),
    audioWidth: await size('audio width'),
    audioHeads: await size('audio heads'),
    audioLayers: await size('audio layers'),
    textContext: await size('text context'),
    textWidth: await size('text width'),
    textHeads: await size('text heads'),
    textLayers: await size('text layers'),
    mels: await size('mels'),
  };
  await cursor.uint32('its type'); // not needed: each tensor has its own type
  const shape: [number, number] = [
    await cursor.count('the rows of its mel filters', 1, 1024),
    await cursor.count('the columns of its mel filters', 1, 1 << 16),
  ];
  const filterBytes = await cursor.bytes(4 * shape[0] * shape[1], 'its mel filters');
  const values = new Float32Array(
    filterBytes.buffer.slice(filterBytes.byteOffset, filterBytes.byteOffset + filterBytes.length),
  );
  const count = await cursor.count('the tokens of its vocabulary', 1, sizes.vocabulary);
  const tokens: Buffer[] = [];
  for (let id = 0; id < count; ++id) {
    const bytes = await cursor.count(`the length of token ${id}`, 0, maximumTokenBytes);
    tokens.push(Buffer.from(await cursor.bytes(bytes, `token ${id}`)));
  }
  const tensors: TensorIndex = new Map();
  while (!cursor.atEnd) {
    const [name, entry] = await readTensor(file, cursor);
    if (tensors.has(name)) file.refuse(`it has two tensors ${quoted(name)}`);
    if (tensors.size === maximumTensors) file.refuse(`it has more than ${maximumTensors} tensors`);
    tensors.set(name, entry);
  }
  return { ...sizes, filters: { shape, values }, tokens, tensors };
}
