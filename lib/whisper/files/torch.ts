/**
 * Reads files of torch.save: a zip file with a pickle that describes tensors, and an entry of elements for each
 * storage.
 */
import { type BinaryFile, quoted } from './bytes.js';
import { type Callable, Named, readPickle } from './pickle.js';
import { elementsOf, maximumTensors, type TensorEntry, type TensorIndex } from './tensors.js';
import { ZipFile } from './zip.js';

/** A sequence of elements; tensors are views of storages. */
interface Storage {
  key: string;
  type: string;
  elements: number;
}

/** A view of a storage, with `offset` and strides in elements. A class, so that no other value can be taken for one. */
export class TorchTensor {
  readonly storage: Storage;
  readonly offset: number;
  readonly shape: number[];
  readonly strides: number[];

  constructor(storage: Storage, offset: number, shape: readonly number[], strides: readonly number[]) {
    this.storage = storage;
    this.offset = offset;
    this.shape = [...shape];
    this.strides = [...strides];
  }
}

/** A storage that a pickle refers to by a persistent id. */
class Stored {
  readonly storage: Storage;

  constructor(storage: Storage) {
    this.storage = storage;
  }
}

/** Types of elements by the storage's class in the pickle: our name, if the type can be loaded, and bytes. */
const types = new Map<string, { name: string; bytes: number }>([
  ['FloatStorage', { name: 'float32', bytes: 4 }],
  ['HalfStorage', { name: 'float16', bytes: 2 }],
  ['BFloat16Storage', { name: 'bfloat16', bytes: 2 }],
  ['DoubleStorage', { name: 'float64', bytes: 8 }],
  ['LongStorage', { name: 'int64', bytes: 8 }],
  ['IntStorage', { name: 'int32', bytes: 4 }],
  // Integers without scales cannot be weights.
  ['ShortStorage', { name: 'torch.int16', bytes: 2 }],
  ['CharStorage', { name: 'torch.int8', bytes: 1 }],
  ['ByteStorage', { name: 'uint8', bytes: 1 }],
  ['BoolStorage', { name: 'bool', bytes: 1 }],
]);

/** Limit of the pickle's bytes. */
const maximumPickle = 1 << 26;

const isSize = (value: unknown): value is number => Number.isSafeInteger(value) && (value as number) >= 0;
const areSizes = (value: unknown): value is number[] =>
  Array.isArray(value) && value.length <= 8 && value.every(isSize);

type Refuse = (problem: string) => never;

/** The functions that a pickle of weights may call, by full name. */
function callables(refuse: Refuse): Map<string, Callable> {
  const tensor: Callable = (stored, offset, shape, strides) => {
    if (!(stored instanceof Stored) || !isSize(offset) || !areSizes(shape) || !areSizes(strides)) {
      refuse('its pickle makes a tensor without a storage, or with invalid sizes');
    }
    if (shape.length !== strides.length)
      refuse('its pickle makes a tensor whose strides and dimensions differ in number');
    return new TorchTensor(stored.storage, offset, shape, strides);
  };
  const same: Callable = (value) => value;
  // An empty dict, whose items are set afterwards.
  const dict: Callable = (...items) =>
    items.length === 0 ? new Map() : refuse('its pickle makes a dict from arguments');
  return new Map<string, Callable>([
    ['torch._utils._rebuild_tensor_v2', tensor],
    ['torch._utils._rebuild_tensor', tensor],
    ['torch._utils._rebuild_parameter', same],
    ['collections.OrderedDict', dict],
    ['torch.Size', same],
    // A storage's class is only named in a persistent id, never called.
    ...[...types.keys()].map((type): [string, Callable] => [
      `torch.${type}`,
      () => refuse(`its pickle makes a ${type}`),
    ]),
  ]);
}

/** The storage of the persistent id ('storage', class, key, device, elements). */
function storageOf(id: unknown, refuse: Refuse): Stored {
  const [what, type, key, , elements] = Array.isArray(id) ? id : [];
  const name = type instanceof Named ? type.name.slice('torch.'.length) : '';
  if (what !== 'storage' || !types.has(name) || typeof key !== 'string' || !isSize(elements)) {
    refuse('its pickle refers to something other than a storage of numbers');
  }
  return new Stored({ key, type: name, elements });
}

export interface TorchFile {
  /** The saved value: dicts are Map, tensors are TorchTensor. */
  value: unknown;
  /** The positions of tensors in the file, by their names. Throws OneheadError MODEL_INVALID. */
  tensorIndex(tensors: ReadonlyMap<unknown, unknown>): Promise<TensorIndex>;
}

/**
 * Calls `use` with the file's contents, which may call `tensorIndex` until it returns. Throws OneheadError
 * MODEL_INVALID.
 */
export async function readTorch<Result>(file: BinaryFile, use: (torch: TorchFile) => Promise<Result>): Promise<Result> {
  const refuse: Refuse = (problem) => file.refuse(problem);
  const zip = await ZipFile.open(file);
  const pickles = zip.names.filter((name) => /^[^/]+\/data\.pkl$/.test(name));
  if (pickles.length !== 1) refuse('it contains no data.pkl, which torch.save writes');
  const folder = pickles[0].slice(0, -'data.pkl'.length);
  const order = await zip.find(`${folder}byteorder`);
  if (
    order &&
    order.bytes < 100 &&
    (await file.read(order.offset, order.bytes, 'its byte order')).toString().trim() !== 'little'
  ) {
    refuse('its numbers are not little-endian');
  }
  const entry = (await zip.find(pickles[0]))!;
  if (entry.bytes > maximumPickle) {
    refuse(`expected its pickle to have at most ${maximumPickle} bytes but found ${entry.bytes}`);
  }
  const known = callables(refuse);
  const value = readPickle(await file.read(entry.offset, entry.bytes, 'its pickle'), {
    resolve: (name) => known.get(name),
    persistent: (id) => storageOf(id, refuse),
    refuse,
  });
  return use({ value, tensorIndex: (tensors) => indexTensors(tensors, zip, folder) });
}

/** The position of a tensor, which must be contiguous. */
async function placeOf(name: string, tensor: TorchTensor, zip: ZipFile, folder: string): Promise<TensorEntry> {
  const file: BinaryFile = zip.file;
  const { storage, shape, strides, offset } = tensor;
  const type = types.get(storage.type)!;
  const elements = elementsOf(shape);
  let expected = 1;
  for (let i = shape.length - 1; i >= 0; --i) {
    if (shape[i] > 1 && strides[i] !== expected) {
      file.refuse(`its tensor ${quoted(name)} is a view with strides [${strides}]; save it with .contiguous()`);
    }
    expected *= shape[i];
  }
  if (elements === null || offset + elements > storage.elements) {
    file.refuse(`its tensor ${quoted(name)} of shape [${shape}] is larger than its storage`);
  }
  const found = await zip.find(`${folder}data/${storage.key}`);
  if (!found || found.bytes !== storage.elements * type.bytes) {
    file.refuse(
      `the storage of tensor ${quoted(name)} has ${found ? found.bytes : 'no'} bytes, but its ${storage.elements} elements need ${storage.elements * type.bytes}`,
    );
  }
  return {
    file: file.path,
    offset: found.offset + offset * type.bytes,
    bytes: elements * type.bytes,
    dtype: type.name,
    shape,
  };
}

async function indexTensors(
  tensors: ReadonlyMap<unknown, unknown>,
  zip: ZipFile,
  folder: string,
): Promise<TensorIndex> {
  if (tensors.size > maximumTensors)
    zip.file.refuse(`expected at most ${maximumTensors} tensors but found ${tensors.size}`);
  const index: TensorIndex = new Map();
  for (const [name, tensor] of tensors) {
    if (typeof name === 'string' && tensor instanceof TorchTensor) {
      index.set(name, await placeOf(name, tensor, zip, folder));
    }
  }
  return index;
}
