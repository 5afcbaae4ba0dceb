/**
 * Reads CTranslate2's model.bin: named variables, each with its type and sizes before its data, and aliases of some of
 * them.
 */
import { type BinaryFile, Cursor, quoted } from './bytes.js';
import { elementsOf, maximumTensors, type TensorEntry } from './tensors.js';

/** CTranslate2's types in the order of their numbers: our name and the bytes of an element. */
const types = [
  { name: 'float32', bytes: 4 },
  { name: 'int8', bytes: 1 },
  { name: 'int16', bytes: 2 },
  { name: 'int32', bytes: 4 },
  { name: 'float16', bytes: 2 },
  { name: 'bfloat16', bytes: 2 },
];

/** The first and last version of the layout that can be read. */
const versions = [4, 6] as const;
const maximumNameBytes = 256;
/** The greatest size of a setting, which is a variable without dimensions. */
const settingBytes = 8;

export interface CTranslate2File {
  variables: Map<string, TensorEntry>;
  /** Variables that hold a single integer, such as 'encoder/num_heads'. */
  settings: Map<string, number>;
}

/** The kind of model, such as 'WhisperSpec', from the first bytes of a file; null if it is no model.bin. */
export function ctranslate2Model(begin: Buffer): string | null {
  if (begin.length < 8 || begin.readUInt32LE(0) > 100) return null;
  const end = 6 + begin.readUInt16LE(4) - 1;
  const name = begin.toString('latin1', 6, end);
  return end < begin.length && begin[end] === 0 && /^[A-Z]\w+$/.test(name) ? name : null;
}

async function nameOf(file: BinaryFile, cursor: Cursor, what: string): Promise<string> {
  const bytes = await cursor.uint16(what);
  if (bytes < 1 || bytes > maximumNameBytes) file.refuse(`${what} has ${bytes} bytes`);
  const text = await cursor.bytes(bytes, what);
  if (text.indexOf(0) !== bytes - 1) file.refuse(`${what} does not end with a zero byte`);
  return text.toString('utf8', 0, bytes - 1);
}

const readers: Record<string, (data: Buffer) => number> = {
  int8: (data) => data.readInt8(),
  int16: (data) => data.readInt16LE(),
  int32: (data) => data.readInt32LE(),
};

/** Reads the names, types and positions of all variables. Throws OneheadError MODEL_INVALID. */
export async function readCTranslate2(file: BinaryFile): Promise<CTranslate2File> {
  const cursor = new Cursor(file);
  const version = await cursor.uint32('its version');
  if (version < versions[0] || version > versions[1]) {
    file.refuse(`expected its version to be from ${versions[0]} to ${versions[1]} but found ${version}`);
  }
  const specification = await nameOf(file, cursor, 'the kind of its model');
  if (specification !== 'WhisperSpec')
    file.refuse(`expected a model of kind 'WhisperSpec' but found ${quoted(specification)}`);
  await cursor.uint32('its revision');
  const variables: CTranslate2File['variables'] = new Map();
  const settings: CTranslate2File['settings'] = new Map();
  const count = await cursor.count('the number of its variables', 1, maximumTensors);
  for (let index = 0; index < count; ++index) {
    const name = await nameOf(file, cursor, `the name of variable ${index}`);
    const variable = `its variable ${quoted(name)}`;
    const shape: number[] = [];
    const dimensions = await cursor.uint8(variable);
    if (dimensions > 8) file.refuse(`${variable} has ${dimensions} dimensions`);
    for (let i = 0; i < dimensions; ++i) shape.push(await cursor.uint32(variable));
    const number = await cursor.uint8(variable);
    const type = types[number];
    if (!type) file.refuse(`${variable} has the unknown type ${number}`);
    const bytes = await cursor.uint32(variable);
    const elements = elementsOf(shape);
    if (elements === null || elements * type.bytes !== bytes) {
      file.refuse(`${variable} of shape [${shape}] and type ${type.name} has ${bytes} bytes`);
    }
    file.require(cursor.offset, bytes, variable);
    if (variables.has(name)) file.refuse(`it has two variables ${quoted(name)}`);
    variables.set(name, { file: file.path, offset: cursor.offset, bytes, dtype: type.name, shape });
    if (dimensions === 0 && bytes <= settingBytes && Object.hasOwn(readers, type.name)) {
      settings.set(name, readers[type.name](await cursor.bytes(bytes, variable)));
    } else {
      cursor.offset += bytes;
    }
  }
  const aliases = await cursor.count('the number of its aliases', 0, maximumTensors);
  for (let index = 0; index < aliases; ++index) {
    const name = await nameOf(file, cursor, `alias ${index}`);
    const target = variables.get(await nameOf(file, cursor, `the target of alias ${index}`));
    if (!target) file.refuse(`its alias ${quoted(name)} refers to no variable`);
    variables.set(name, target);
  }
  if (!cursor.atEnd) file.refuse('bytes at its end belong to no variable');
  return { variables, settings };
}
