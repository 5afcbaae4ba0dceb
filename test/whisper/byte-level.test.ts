/** The byte-level tokenizer compared with @huggingface/tokenizers, and the reader of tokenizer.json with JSON.parse. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { ByteLevelTokenizer, piecesOf, type TextCodec } from '../../lib/whisper/checkpoint/byte-level.js';
import { libraryTokenizer } from '../../lib/whisper/checkpoint/library-tokenizer.js';
import {
  readTokenizerFiles,
  type TokenizerFiles,
  tokensOf,
  wholeJson,
} from '../../lib/whisper/checkpoint/tokenizer-files.js';
import { TokenizerScan } from '../../lib/whisper/checkpoint/tokenizer-scan.js';
import {
  specialTokensBehind,
  stockTokens,
  stockVocabulary,
  tokenizerOf,
} from '../../lib/whisper/checkpoint/vocabulary.js';
import { randomNumbers } from '../random.js';

const micro = new URL('../../models/micro', import.meta.url).pathname;
const root = mkdtempSync(join(tmpdir(), 'onehead-byte-level-'));
afterAll(() => rmSync(root, { recursive: true }));

const stored = readFileSync(join(micro, 'tokenizer.json'), 'utf8');
type Json = Record<string, unknown> & {
  added_tokens: Record<string, unknown>[];
  model: Record<string, unknown> & { vocab: Record<string, number>; merges: [string, string][] };
};
const parsed = () => JSON.parse(stored) as Json;

let folders = 0;
/** The files of a folder with this tokenizer.json. */
async function filesOf(json: string | Json, config: Record<string, unknown> = {}): Promise<TokenizerFiles> {
  const directory = mkdtempSync(join(root, String(++folders)));
  writeFileSync(join(directory, 'tokenizer.json'), typeof json === 'string' ? json : JSON.stringify(json));
  writeFileSync(join(directory, 'tokenizer_config.json'), JSON.stringify(config));
  return (await readTokenizerFiles(directory))!;
}

async function stock(name: 'english' | 'multilingual'): Promise<TokenizerFiles> {
  const special = specialTokensBehind(stockTokens[name], 99, 1501);
  return tokenizerOf(await stockVocabulary(name), special, name);
}

/** Whole numbers below `most`, the same in every run. */
function randomCounts(seed: number): (most: number) => number {
  const random = randomNumbers(seed);
  return (most) => Math.floor(random() * most);
}

/** Characters of many kinds: letters, marks, numbers, spaces, symbols, emoji, lone surrogates. */
const ranges = [
  [0x20, 0x7e],
  [0x61, 0x7a],
  [0x61, 0x7a],
  [0x20, 0x20],
  [0x00, 0x1f],
  [0x7f, 0x24f],
  [0x300, 0x36f],
  [0x370, 0x5ff],
  [0x600, 0x6ff],
  [0x900, 0xdff],
  [0x1680, 0x1680],
  [0x2000, 0x206f],
  [0x2460, 0x2bff],
  [0x3000, 0x30ff],
  [0x4e00, 0x9fff],
  [0xac00, 0xd7a3],
  [0xd800, 0xdfff],
  [0xe000, 0xffff],
  [0x1d400, 0x1d7ff],
  [0x1f300, 0x1faff],
  [0xe0000, 0xe01ef],
];
const words = [
  "it's",
  "they'll",
  "'S",
  ' 1234567',
  '\r\n\n',
  '  ',
  '\u00a0',
  '<|0.02|>',
  '<|endoftext|>',
  '<|',
  '|>',
  ' the',
];

function randomText(random: (most: number) => number): string {
  let text = '';
  for (let left = random(40); left >= 0; --left) {
    if (random(8) === 0) {
      text += words[random(words.length)];
      continue;
    }
    const [first, last] = ranges[random(ranges.length)];
    for (let run = random(6); run >= 0; --run) text += String.fromCodePoint(first + random(last - first + 1));
  }
  // The library uses JavaScript's definition of spaces, which differs from Unicode's.
  return text.replace(/[\u0085\ufeff]/g, '');
}

/** Both tokenizers, from the same files. */
async function both(files: TokenizerFiles): Promise<[TextCodec, TextCodec]> {
  const own = ByteLevelTokenizer.of(files);
  expect(own).not.toBeNull();
  return [own!, await libraryTokenizer(files)];
}

const sources: [string, () => Promise<TokenizerFiles>][] = [
  ['the bundled model', async () => (await readTokenizerFiles(micro))!],
  ['the English models of OpenAI', () => stock('english')],
  ['the multilingual models of OpenAI', () => stock('multilingual')],
  [
    'a model that puts a space before texts',
    () =>
      filesOf(
        stored
          .replaceAll('"add_prefix_space": false', '"add_prefix_space": true')
          .replaceAll('"add_prefix_space":false', '"add_prefix_space":true'),
      ),
  ],
  [
    'a model with added words',
    () => {
      const json = parsed();
      const flags = { single_word: false, lstrip: false, rstrip: false, normalized: true, special: false };
      const added = ['[laughs]', '[laughs] loudly', ' déjà vu', '\ud83d', '<|speaker|>'];
      json.added_tokens.push(
        ...added.map((content, i) => ({ id: 3266 + i, content, ...flags, special: content === '<|speaker|>' })),
      );
      json.model.unk_token = '<|endoftext|>';
      return filesOf(json, { additional_special_tokens: ['<|speaker|>', ' déjà vu', 'Ġthe', { content: 'Ġa' }] });
    },
  ],
];

describe.each(sources)('the tokenizer of %s', (_, read) => {
  it('encodes and decodes as the library does', async () => {
    const [own, library] = await both(await read());
    const random = randomCounts(7);
    for (let i = 0; i < 1500; ++i) {
      const text = randomText(random) + (i % 50 ? '' : ' [laughs] loudly, déjà vu<|speaker|>');
      const ids = own.encode(text);
      const theirs = library.encode(text);
      if (String(ids) !== String(theirs)) expect(ids, JSON.stringify(text)).toEqual(theirs);
      const back = ids.length > 0 ? library.decode(ids) : '';
      if (own.decode(ids) !== back) expect(own.decode(ids), String(ids)).toBe(back);
    }
  });

  it('decodes every token, and tokens in any order', async () => {
    const files = await read();
    const [own, library] = await both(files);
    const size = Math.max(...files.json.added_tokens.map(({ id }) => id)) + 3; // ids that are no tokens too
    for (let id = 0; id < size; ++id) {
      if (own.decode([id]) !== library.decode([id])) expect(own.decode([id]), String(id)).toBe(library.decode([id]));
    }
    const random = randomCounts(3);
    for (let i = 0; i < 500; ++i) {
      const ids = Array.from({ length: 1 + random(20) }, () => random(size));
      if (own.decode(ids) !== library.decode(ids)) expect(own.decode(ids), String(ids)).toBe(library.decode(ids));
    }
    for (const [text, id] of tokensOf(files)) {
      const [mine, theirs] = [own.bytes(id), library.bytes(id)];
      if (files.json.added_tokens.some((token) => token.special && token.id === id)) expect(mine).toHaveLength(0);
      else if (Buffer.compare(mine, theirs) !== 0 && text !== 'Ġthe') expect(mine, text).toEqual(theirs);
    }
  });
});

/** Ids from Hugging Face's tokenizers 0.23 for Python, where its JavaScript library differs. */
describe('like the original, unlike the library', () => {
  it('uses Unicode’s spaces: U+0085 is one, U+FEFF is not', async () => {
    const own = ByteLevelTokenizer.of((await readTokenizerFiles(micro))!)!;
    expect(own.encode("\u0085's")).toEqual([126, 227, 551]);
    expect(own.encode("\ufeff's")).toEqual([171, 119, 123, 6, 82]);
    expect(own.decode(own.encode("\ufeffa \u0085's\ufeff"))).toBe("\ufeffa \u0085's\ufeff");
  });

  /** micro with one of these added tokens after the others, with each combination of flags. */
  async function withAdded(added: Record<string, Record<string, boolean>>): Promise<ByteLevelTokenizer> {
    const json = parsed();
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false, special: false };
    for (const [i, [content, more]] of Object.entries(added).entries()) {
      json.added_tokens.push({ id: 3266 + i, content, ...flags, ...more });
    }
    const own = ByteLevelTokenizer.of(await filesOf(json));
    expect(own).not.toBeNull();
    return own!;
  }

  it('finds added words that are whole words', async () => {
    const own = await withAdded({ Zz: { single_word: true }, '[x': { single_word: true } });
    const added = (text: string) => own.encode(text).filter((id) => id >= 3266);
    expect(added('Zz Zz, Zz-Zz [x]')).toEqual([3266, 3266, 3266, 3266, 3267]);
    expect(added('aZz Zzb Zz1 _Zz éZz Zz\u0301 Zz東 𝒜Zz Zz𝒜 ZzZz [xy]')).toEqual([]);
    expect(own.decode(own.encode('aZz Zz'))).toBe('aZz Zz');
  });

  it('strips spaces around added tokens', async () => {
    const own = await withAdded({ '[PAD]': { lstrip: true, rstrip: true }, '[L]': { lstrip: true } });
    expect(own.encode('a \n[PAD]\u3000 \u0085b')).toEqual([64, 3266, 65]);
    expect(own.encode('a  [L] b')).toEqual([64, 3267, 269]);
    expect(own.encode('a [L] [L]')).toEqual([64, 3267, 3267]);
    expect(own.encode('[PAD] [PAD] [L]')).toEqual([3266, 3266, 3267]);
  });

  it('finds added tokens of normalized text after the others', async () => {
    const own = await withAdded({ 'Zz[l': { normalized: true }, '[l]': {}, '[l': { normalized: true } });
    expect(own.encode('Zz[l]')).toEqual([...own.encode('Zz'), 3267]);
    expect(own.encode('Zz[l')).toEqual([3266]);
  });
});

it('gives no text and no bytes for ids that are no tokens', async () => {
  const own = ByteLevelTokenizer.of((await readTokenizerFiles(micro))!)!;
  for (const id of [-1, 1.5, 3266, 2 ** 31, 2 ** 32, Number.NaN]) {
    expect(own.decode([64, id, 65]), String(id)).toBe('ab');
    expect(own.bytes(id), String(id)).toHaveLength(0);
  }
});

describe('a text without spaces', () => {
  it('is encoded in a time that is linear in its length', async () => {
    const [own, library] = await both((await readTokenizerFiles(micro))!);
    for (const text of ['a'.repeat(20_000), 'than'.repeat(5000), '東'.repeat(5000), ' '.repeat(20_000)]) {
      expect(own.encode(text)).toEqual(library.encode(text));
    }
    expect(own.decode(own.encode('hearth'.repeat(100_000)))).toBe('hearth'.repeat(100_000));
  });

  it.each(['日', 'é', '１', '。', '\u3000'])('is one piece, however long it is: %j', (character) => {
    const text = character.repeat(1 << 23);
    expect([...piecesOf(text)].map(({ length }) => length)).toEqual([text.length]);
  });
});

describe('a tokenizer of another kind', () => {
  const changes: [string, (json: Json) => void, Record<string, unknown>?][] = [
    ['normalizes text', (json) => Object.assign(json, { normalizer: { type: 'NFC' } })],
    ['divides text otherwise', (json) => Object.assign(json, { pre_tokenizer: { type: 'WhitespaceSplit' } })],
    ['does not divide text', (json) => Object.assign(json.pre_tokenizer as Json, { use_regex: false })],
    ['decodes otherwise', (json) => Object.assign(json, { decoder: { type: 'Fuse' } })],
    ['has tokens for unknown bytes', (json) => Object.assign(json.model, { byte_fallback: true })],
    ['takes whole words first', (json) => Object.assign(json.model, { ignore_merges: true })],
    ['marks ends of words', (json) => Object.assign(json.model, { end_of_word_suffix: '</w>' })],
    [
      'has an added token of a text that has another id',
      (json) => json.added_tokens.push({ ...json.added_tokens[3], id: 4000, content: 'Ġthe' }),
    ],
    [
      'has a word that is not made of bytes',
      (json) => {
        json.model.vocab['a b'] = 2756;
      },
    ],
    [
      'lacks a byte',
      (json) => {
        delete json.model.vocab['!'];
      },
    ],
    [
      'lacks a word that is merged',
      (json) => {
        delete json.model.vocab['Ġthe'];
      },
    ],
    ['changes letters', () => {}, { do_lowercase_and_remove_accent: true }],
  ];

  it.each(changes)('%s: the library is used', async (_, change, config) => {
    const json = parsed();
    change(json);
    const files = await filesOf(json, config);
    expect(ByteLevelTokenizer.of(files)).toBeNull();
    expect(wholeJson(files)).toEqual(json);
    const library = await libraryTokenizer(files);
    expect(library.encode('Add honey').length).toBeGreaterThan(0);
  });
});

describe('reading tokenizer.json', () => {
  /** The result of a scan in pieces of this length; null if it gives up. */
  function scanned(text: string, length: number): TokenizerFiles | null {
    const bytes = Buffer.from(text);
    try {
      const scan = new TokenizerScan(bytes.length);
      for (let at = 0; at < bytes.length; at += length) scan.feed(bytes.subarray(at, at + length));
      const { json, table } = scan.finish();
      return { file: '', json: json as TokenizerFiles['json'], table, config: {} };
    } catch {
      return null;
    }
  }
  const compact = JSON.stringify(parsed());
  const joined = parsed();
  Object.assign(joined.model, { merges: joined.model.merges.map((pair) => pair.join(' ')) });
  const forms: [string, string, unknown][] = [
    ['as it is', stored, parsed()],
    ['without spaces', compact, parsed()],
    ['with indentation', JSON.stringify(parsed(), null, '\t').replaceAll('\n', '\r\n'), parsed()],
    [
      'in ASCII',
      compact.replace(/[\u0080-\uffff]/g, (one) => `\\u${one.charCodeAt(0).toString(16).padStart(4, '0')}`),
      parsed(),
    ],
    ['with merges as texts', JSON.stringify(joined), parsed()],
    [
      'with fields that look like others',
      JSON.stringify({
        vocab: { model: {} },
        merges: ['"}'],
        ...parsed(),
        more: { model: { vocab: [1], merges: {} } },
      }),
      { vocab: { model: {} }, merges: ['"}'], ...parsed(), more: { model: { vocab: [1], merges: {} } } },
    ],
  ];

  it.each(forms)('%s, in pieces of any length', (_, text, expected) => {
    for (const length of [3, 64, 4099, 1 << 20]) {
      const files = scanned(text, length);
      expect(files, String(length)).not.toBeNull();
      expect(wholeJson(files!)).toEqual(expected);
    }
  });

  it('gives up on damaged or unusual files', () => {
    const cut = [1, 7, 100, Math.floor(compact.length / 2), compact.indexOf('"merges"') + 20, compact.length - 1];
    for (const length of cut) expect(scanned(compact.slice(0, length), 64), String(length)).toBeNull();
    const once = (from: string | RegExp, to: string) => {
      const changed = compact.replace(from, to);
      expect(changed).not.toBe(compact);
      return changed;
    };
    const damaged = [
      `${compact}}`,
      `${compact} x`,
      `\ufeff${compact}`,
      `[${compact}]`,
      once('"!":0', '"!":00'),
      once('"!":0', '"!":-0'),
      once('"!":0', '"!":0.5'),
      once('"!":0', '"!":1e2'),
      once('"!":0', '"!":99999999999'),
      once('"!":0', '"!":4000000'),
      once('"!":0', '"!":1'),
      once('"!":0', '"!":null'),
      once('"!":0', '"!" 0'),
      once('"!":0,', '"!":0,,'),
      once('"!":0,', '"!":0,"!":0,'),
      once('"!":0', '"\\n":0'),
      once('"!":0', '"\\u00zz":0'),
      once('"!":0', '"\u00e9\u4e00":0'),
      once('"vocab":', '"vocab":{},"vocab":'),
      once('"vocab":', '"v\\u006fcab":'),
      once('"merges":[', '"merges":[["a"],'),
      once('"merges":[', '"merges":[["a","b","c"],'),
      once('"merges":[', '"merges":["ab",'),
      once('"merges":[', '"merges":["a b c",'),
      once('"merges":[', '"merges":["! \u0142\u0142\u0142",'),
      once('"merges":[', '"merges":[,'),
      once('"merges":[', '"merges":[{},'),
      once('"merges":', '"merge":'),
      once('"model":', '"models":'),
    ];
    for (const text of damaged)
      for (const length of [5, 1 << 20]) expect(scanned(text, length), text.slice(0, 80)).toBeNull();
  });
});
