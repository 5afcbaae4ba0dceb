/** Damaged and malicious weight files: one sentence each, no crash, no large allocation, no code executed. */
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { deflateRawSync } from 'node:zlib';
import { afterAll, describe, expect, it } from 'vitest';
import type { OneheadError } from '../../lib/errors.js';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';

const fixtures = new URL('../fixtures/checkpoints/', import.meta.url).pathname;
const root = mkdtempSync(join(tmpdir(), 'onehead-hostile-'));
afterAll(() => rmSync(root, { recursive: true }));

let count = 0;
/** A copy of a fixture's folder with one file changed. Returns the path to load. */
function changed(name: string, change: (bytes: Buffer) => Buffer): string {
  const folder = join(root, String(++count));
  const file = join(folder, name);
  mkdirSync(dirname(file), { recursive: true });
  const from = dirname(join(fixtures, name));
  if (!from.endsWith('ggml')) cpSync(from, dirname(file), { recursive: true });
  writeFileSync(file, change(readFileSync(join(fixtures, name))));
  return file;
}

async function refusal(path: string): Promise<OneheadError> {
  const error = await readCheckpoint(path)
    .then(({ tokenizer }) => tokenizer())
    .then(
      () => null,
      (caught) => caught,
    );
  if (error === null) throw new Error(`${path} was not refused`);
  expect(error.name).toBe('OneheadError');
  expect(['MODEL_INVALID', 'MODEL_NOT_FOUND']).toContain(error.code);
  expect(error.message.replaceAll(path, '').length).toBeLessThan(500);
  for (const sign of ['\n', '\0']) expect(error.message).not.toContain(sign);
  return error;
}

/** A zip file without compression, as torch.save writes it; `method` and data may be invalid. */
function zip(
  entries: Record<string, Buffer>,
  { method = 0, claimed }: { method?: number; claimed?: number } = {},
): Buffer {
  const parts: Buffer[] = [];
  const directory: Buffer[] = [];
  let offset = 0;
  for (const [name, data] of Object.entries(entries)) {
    const packed = method === 8 ? deflateRawSync(data) : data;
    const local = Buffer.alloc(30);
    local.writeUInt32LE(0x04034b50, 0);
    local.writeUInt16LE(method, 8);
    local.writeUInt16LE(name.length, 26);
    const central = Buffer.alloc(46);
    central.writeUInt32LE(0x02014b50, 0);
    central.writeUInt16LE(method, 10);
    central.writeUInt32LE(claimed ?? packed.length, 20);
    central.writeUInt32LE(claimed ?? data.length, 24);
    central.writeUInt16LE(name.length, 28);
    central.writeUInt32LE(offset, 42);
    parts.push(local, Buffer.from(name), packed);
    directory.push(central, Buffer.from(name));
    offset += 30 + name.length + packed.length;
  }
  const table = Buffer.concat(directory);
  const end = Buffer.alloc(22);
  end.writeUInt32LE(0x06054b50, 0);
  end.writeUInt16LE(Object.keys(entries).length, 8);
  end.writeUInt16LE(Object.keys(entries).length, 10);
  end.writeUInt32LE(table.length, 12);
  end.writeUInt32LE(offset, 16);
  return Buffer.concat([...parts, table, end]);
}

const pickled = (text: string | Buffer) =>
  zip({
    'model/data.pkl': Buffer.isBuffer(text) ? text : Buffer.from(text, 'latin1'),
    'model/data/0': Buffer.alloc(64),
  });

function written(content: Buffer): string {
  const file = join(root, `${++count}.pt`);
  writeFileSync(file, content);
  return file;
}

const tensor = (storage: string, sizes: string) =>
  `\x80\x02}X\x01\x00\x00\x00wctorch._utils\n_rebuild_tensor_v2\n((X\x07\x00\x00\x00storagectorch\n${storage}\nX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x10tQ${sizes}\x89ccollections\nOrderedDict\n)RtRs.`;

describe('a .pt that', () => {
  it.each<[string, string | Buffer, string]>([
    [
      'runs a command',
      '\x80\x02cposix\nsystem\n(X\x04\x00\x00\x00trueOtR.',
      "calls 'posix.system', which weights do not need",
    ],
    ['asks for builtins', '\x80\x04\x8c\x08builtins\x8c\x04eval\x93.', "calls 'builtins.eval'"],
    ['calls what is no function', '\x80\x02K\x01)R.', 'calls something other than a function'],
    ['has an old opcode', '\x80\x02I1\n.', 'has the opcode 0x49, which torch.save does not write'],
    ['has no end', '\x80\x02}', 'is truncated'],
    ['is empty', '', 'is truncated'],
    ['has a text longer than itself', '\x80\x02X\xff\xff\xff\x7fabc.', 'is truncated'],
    ['has a name without an end', '\x80\x02ctorch', 'has a name without an end'],
    ['takes from an empty stack', '\x80\x020.', 'takes a value from an empty stack'],
    ['takes a mark for a value', '\x80\x02(.', 'takes a mark as a value'],
    ['ends a list that it did not begin', '\x80\x02t.', 'ends a list that it did not begin'],
    ['remembers nothing', '\x80\x02h\x05.', 'refers to a value that it did not store'],
    ['holds itself', '\x80\x02]q\x00h\x00a.', 'contains no tensors by their names'],
    ['has a key that is itself', '\x80\x02}q\x00h\x00K\x01s.', 'has a key that is neither text nor a number'],
    ['has a number of 255 bytes', `\x80\x02\x8a\xff${'x'.repeat(255)}.`, 'has an integer of more than 64 bits'],
    ['is of a later version', '\x80\x09.', 'is of an unknown version'],
    ['calls with many arguments', `\x80\x02ccollections\nOrderedDict\n(${'N'.repeat(40)}tR.`, 'with 40 arguments'],
    [
      'names another storage',
      tensor('FloatStorage', 'K\x00K\x04\x85K\x01\x85').replace('storage', 'starage'),
      'refers to something other',
    ],
    ['makes a storage', '\x80\x02ctorch\nFloatStorage\n)R.', 'makes a FloatStorage'],
    ['has a negative size', tensor('FloatStorage', 'K\x00J\xff\xff\xff\xff\x85K\x01\x85'), 'invalid sizes'],
    [
      'has other strides than dimensions',
      tensor('FloatStorage', 'K\x00K\x04\x85)'),
      'whose strides and dimensions differ in number',
    ],
  ])('%s', async (_, pickle, message) => {
    expect((await refusal(written(pickled(pickle)))).message).toContain(message);
  });

  it.each<[string, string, string]>([
    ['a view', tensor('FloatStorage', 'K\x00K\x02K\x02\x86K\x01K\x02\x86'), 'is a view with strides [1,2]'],
    ['more than its storage', tensor('FloatStorage', 'K\x00K\x11\x85K\x01\x85'), 'is larger than its storage'],
    [
      'what overflows',
      tensor('FloatStorage', 'K\x00J\xff\xff\xff\x7fJ\xff\xff\xff\x7f\x86J\xff\xff\xff\x7fK\x01\x86'),
      'is larger than its storage',
    ],
    [
      'a storage of another length',
      tensor('DoubleStorage', 'K\x00K\x04\x85K\x01\x85'),
      'has 64 bytes, but its 16 elements need 128',
    ],
  ])('has a tensor of %s', async (_, pickle, message) => {
    const file = join(root, String(++count), 'pytorch_model.bin');
    mkdirSync(dirname(file));
    writeFileSync(file, pickled(pickle));
    writeFileSync(join(dirname(file), 'config.json'), '{}');
    expect((await refusal(file)).message).toContain(message);
  });

  const data = Buffer.from('\x80\x02}.', 'latin1');
  it.each<[string, Buffer, string]>([
    [
      'is compressed',
      zip({ 'm/data.pkl': Buffer.alloc(1 << 20) }, { method: 8 }),
      'is compressed, which torch.save never does',
    ],
    ['claims more than it has', zip({ 'm/data.pkl': data }, { claimed: 4_000_000_000 }), 'overlaps the next one'],
    ['has no pickle', zip({ 'm/other': data }), 'it contains no data.pkl'],
    ['has two pickles', zip({ 'a/data.pkl': data, 'b/data.pkl': data }), 'it contains no data.pkl'],
    ['is big-endian', zip({ 'm/data.pkl': data, 'm/byteorder': Buffer.from('big') }), 'not little-endian'],
    ['holds an empty dict', zip({ 'm/data.pkl': data }), 'contains tensors without the sizes'],
    ['is a zip file cut short', zip({ 'm/data.pkl': data }).subarray(0, 60), 'no central directory at its end'],
  ])('%s', async (_, content, message) => {
    expect((await refusal(written(content))).message).toContain(message);
  });

  it('has overlapping entries', async () => {
    const content = zip({ 'm/data.pkl': data, 'm/data/0': Buffer.alloc(100) });
    const second = content.lastIndexOf(Buffer.from('m/data/0')) - 46;
    content.writeUInt32LE(0, second + 42);
    expect((await refusal(written(content))).message).toContain('overlaps the next one');
  });
});

describe('a ggml file that', () => {
  const set = (at: number, value: number) => (bytes: Buffer) => {
    bytes.writeInt32LE(value, at);
    return bytes;
  };
  const vocabulary = 48 + 8 + 4 * 80 * 201;
  const first = vocabulary + 4 + 256 * 5; // the first tensor
  it.each<[string, (bytes: Buffer) => Buffer, string]>([
    ['has a negative vocabulary', set(4, -1), 'expected its vocabulary to be from 1 to 1048576 but found -1'],
    [
      'has a vocabulary of billions',
      set(4, 2_000_000_000),
      'expected its vocabulary to be from 1 to 1048576 but found 2000000000',
    ],
    ['has a vocabulary that no Whisper has', set(4, 4000), "so the others cannot be Whisper's special tokens"],
    ['has other widths', set(28, 64), 'its encoder has width 32 but its decoder 64'],
    ['has huge filters', set(52, 60_000), 'its mel filters would end at byte'],
    ['has other filters', set(48, 40), ''],
    [
      'has more tokens than its vocabulary',
      set(vocabulary, 100_000),
      'the tokens of its vocabulary to be from 1 to 368 but found 100000',
    ],
    [
      'has a token of gigabytes',
      set(vocabulary + 4, 2_000_000_000),
      'the length of token 0 to be from 0 to 1024 but found 2000000000',
    ],
    ['has a tensor of a negative size', set(first + 12, -5), "a tensor's size to be from 1 to 2147483647 but found -5"],
    ['has a tensor larger than itself', set(first + 12, 2_000_000_000), ''],
    ['has a tensor of no type', set(first + 8, 9), 'has the unknown type 9'],
    ['has a tensor of nine dimensions', set(first, 9), 'the dimensions of a tensor to be from 1 to 4 but found 9'],
    [
      'has a name of gigabytes',
      set(first + 4, 2_000_000_000),
      "the length of a tensor's name to be from 1 to 256 but found 2000000000",
    ],
    ['is truncated', (bytes) => bytes.subarray(0, bytes.length - 1), '(truncated?)'],
    ['ends after its sizes', (bytes) => bytes.subarray(0, 48), '(truncated?)'],
    [
      'lacks a tensor',
      (bytes) => bytes.subarray(0, first),
      'tensors of the model that config.json describes are missing',
    ],
    [
      'goes on behind its end',
      (bytes) => Buffer.concat([bytes, Buffer.alloc(100)]),
      'the dimensions of a tensor to be from 1 to 4 but found 0',
    ],
  ])('%s', async (_, change, message) => {
    expect((await refusal(changed('ggml/f16.bin', change))).message).toContain(message);
  });
});

/** The bytes with a number or text written into them. */
const put = (value: number | string, at: (bytes: Buffer) => number, size = 4) => {
  return (bytes: Buffer): Buffer => {
    if (typeof value === 'string') bytes.write(value, at(bytes));
    else bytes.writeUIntLE(value, at(bytes), size);
    return bytes;
  };
};

describe('a model.bin that', () => {
  /** For the first variable, whose name's length is at byte 26. */
  const at = 4 + 2 + 12 + 4 + 4;
  it.each<[string, (bytes: Buffer) => Buffer, string]>([
    ['is of a later version', put(7, () => 0), 'its version to be from 4 to 6 but found 7'],
    ['is no Whisper', put('TransformerX', () => 6), ''],
    ['claims many variables', put(0x7fffffff, () => at - 4), 'the number of its variables'],
    ['has a long name', put(60_000, () => at, 2), 'has 60000 bytes'],
    ['has a name without an end', put(5, () => at, 2), 'does not end with a zero byte'],
    ['is truncated', (bytes) => bytes.subarray(0, bytes.length - 3), '(truncated?)'],
    [
      'goes on behind its end',
      (bytes) => Buffer.concat([bytes, Buffer.alloc(1)]),
      'bytes at its end belong to no variable',
    ],
    [
      'has an alias for nothing',
      put('decoder/embeddings/weighs', (bytes) => bytes.lastIndexOf('decoder/embeddings/weight')),
      'refers to no variable',
    ],
  ])('%s', async (_, change, message) => {
    const file = changed('ctranslate2-int8/model.bin', change);
    expect((await refusal(file)).message).toContain(message);
  });

  it('has no vocabulary next to it', async () => {
    const file = changed('ctranslate2-int8/model.bin', (bytes) => bytes);
    rmSync(join(dirname(file), 'vocabulary.json'));
    expect((await refusal(file)).message).toContain('contains neither tokenizer.json nor vocabulary.json');
  });
});

it('a .pt with another vocabulary requires a tokenizer next to it', async () => {
  expect((await refusal(written(readFileSync(join(fixtures, 'openai/model.pt'))))).message).toContain(
    'put its tokenizer.json beside it',
  );
});

/** Pseudorandom numbers, the same in every run. */
function generator(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return Math.floor((state / 2 ** 32) * below);
  };
}

describe.each([
  ['openai/model.pt', 0.15],
  ['pytorch/pytorch_model-00001-of-00002.bin', 0.3],
  ['ctranslate2-int8/model.bin', 1],
  ['ggml/q5_0.bin', 1],
])('mutations of %s', (name, tail) => {
  it('are read or refused, three hundred times', async () => {
    const random = generator(name.length);
    const original = readFileSync(join(fixtures, name));
    const file = changed(name, (bytes) => bytes);
    const path = name.startsWith('pytorch') ? dirname(file) : file;
    const outcomes = { read: 0, refused: 0 };
    const memory = process.memoryUsage().rss;
    for (let turn = 0; turn < 300; ++turn) {
      let bytes = Buffer.from(original);
      // The index of a zip file is at its end; in other files descriptions are between the tensors.
      const from = Math.floor(bytes.length * (1 - tail));
      for (let change = random(4); change >= 0; --change) {
        const at = from + random(bytes.length - from);
        const kind = random(6);
        if (kind === 0) bytes = Buffer.from(bytes.subarray(0, at + 1));
        else if (kind === 1)
          bytes = Buffer.concat([bytes.subarray(0, at), bytes.subarray(Math.min(bytes.length, at + 1 + random(9)))]);
        else if (kind === 2)
          bytes = Buffer.concat([bytes.subarray(0, at), Buffer.alloc(1 + random(9), random(256)), bytes.subarray(at)]);
        else if (kind === 3 && at + 4 <= bytes.length)
          bytes.writeInt32LE([-1, 0, 0x7fffffff, -(2 ** 31)][random(4)], at);
        else bytes[at] = random(256);
        if (bytes.length <= from) break;
      }
      writeFileSync(file, bytes);
      const read = await readCheckpoint(path).then(
        async ({ tokenizer }) => {
          await tokenizer();
          return true;
        },
        (error: OneheadError) => {
          if (error.name !== 'OneheadError' || !['MODEL_INVALID', 'MODEL_NOT_FOUND'].includes(error.code)) throw error;
          expect(error.message.length).toBeLessThan(700);
          return false;
        },
      );
      ++outcomes[read ? 'read' : 'refused'];
    }
    expect(outcomes.refused).toBeGreaterThan(50);
    expect(process.memoryUsage().rss - memory).toBeLessThan(500 * 2 ** 20);
  });
});

describe('a folder in place of a file', () => {
  const micro = new URL('../../models/micro', import.meta.url).pathname;

  it.each([
    'config.json',
    'generation_config.json',
    'preprocessor_config.json',
    'tokenizer.json',
    'tokenizer_config.json',
    'model.safetensors',
    'merges.txt',
    'shard.safetensors',
    'shard.bin',
  ])('named %s', async (name) => {
    const folder = join(root, String(++count));
    cpSync(micro, folder, { recursive: true });
    rmSync(join(folder, name), { force: true });
    mkdirSync(join(folder, name));
    if (name === 'merges.txt') rmSync(join(folder, 'tokenizer.json'));
    if (name.startsWith('shard')) {
      rmSync(join(folder, 'model.safetensors'));
      const index = name === 'shard.bin' ? 'pytorch_model.bin.index.json' : 'model.safetensors.index.json';
      writeFileSync(join(folder, index), JSON.stringify({ weight_map: { a: name } }));
    }
    const { code, message } = await refusal(folder);
    expect(code).toBe('MODEL_INVALID');
    expect(message).toBe(`Cannot read ${join(folder, name)}: it is a folder; check the file, or download it again.`);
  });
});
