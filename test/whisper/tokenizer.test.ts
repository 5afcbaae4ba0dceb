/** The tokenizer, from tokenizer.json or from the files that fine-tuning scripts save instead. */
import { cpSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, it } from 'vitest';
import { readCheckpoint } from '../../lib/whisper/checkpoint/checkpoint.js';
import { convertCheckpoint } from '../../lib/whisper/checkpoint/convert.js';
import { readTokenizerFiles, specialTokens } from '../../lib/whisper/checkpoint/tokenizer-files.js';
import { Whisper } from '../../lib/whisper/whisper.js';

const micro = new URL('../../models/micro', import.meta.url).pathname;
const sample = join(micro, 'sample.flac');
const root = mkdtempSync(join(tmpdir(), 'onehead-tokenizer-'));
afterAll(() => rmSync(root, { recursive: true }));

interface Added {
  id: number;
  content: string;
  special: boolean;
}
const stored = JSON.parse(readFileSync(join(micro, 'tokenizer.json'), 'utf8')) as {
  added_tokens: Added[];
  model: { vocab: Record<string, number>; merges: [string, string][] };
};
const json = (name: string) => JSON.parse(readFileSync(join(micro, name), 'utf8')) as Record<string, unknown>;

let folders = 0;
/** A copy of micro with other files; null omits one. */
function changed(files: Record<string, unknown>): string {
  const directory = join(root, String(++folders));
  cpSync(micro, directory, { recursive: true });
  for (const [name, content] of Object.entries(files)) {
    rmSync(join(directory, name), { force: true });
    if (content !== null)
      writeFileSync(join(directory, name), typeof content === 'string' ? content : JSON.stringify(content));
  }
  return directory;
}

const { '<|endoftext|>': end, ...text } = stored.model.vocab;
const merges = `#version: 0.2\r\n${stored.model.merges.map((pair) => pair.join(' ')).join('\r\n')}\r\n`;
const special = stored.added_tokens.filter((token) => token.special).map(({ content }) => content);
/**
 * The files of transformers' slow tokenizers: of 4.0 to 4.33, and of later versions, which also list added tokens in
 * tokenizer_config.json.
 */
const saved = {
  'with added_tokens.json': {
    'tokenizer.json': null,
    'vocab.json': text,
    'merges.txt': merges,
    'added_tokens.json': Object.fromEntries(stored.added_tokens.map(({ content, id }) => [content, id])),
    'special_tokens_map.json': {
      bos_token: { content: '<|endoftext|>', lstrip: false },
      additional_special_tokens: special.slice(0, 5).map((content) => ({ content })),
      extra_special_tokens: special.slice(5),
    },
    'tokenizer_config.json': { add_prefix_space: false },
  },
  'with added_tokens_decoder': {
    'tokenizer.json': null,
    'vocab.json': { ...text, '<|endoftext|>': 2756 },
    'merges.txt': merges,
    'tokenizer_config.json': {
      ...json('tokenizer_config.json'),
      added_tokens_decoder: Object.fromEntries(stored.added_tokens.map(({ id, ...token }) => [id, token])),
    },
  },
};

describe.each(Object.entries(saved))('vocab.json and merges.txt %s', (_, files) => {
  const directory = changed(files);

  it('give the same tokenizer as tokenizer.json', async () => {
    expect(end === undefined || end === 2756).toBe(true);
    const [expected, made] = await Promise.all(
      [micro, directory].map(async (one) => (await readCheckpoint(one)).tokenizer()),
    );
    const texts = [
      ' Add the honey, and a pound of butter.',
      "It's they'll 1234567 – naïve café",
      '  two  spaces\n\ttab ',
      '東京は日本の首都です。Привет! مرحبا 🙂👨‍👩‍👧',
      'e\u0301 \u00a0 ﬁ ½',
      '',
      ' before<|notimestamps|> between<|0.02|><|en|>',
    ];
    for (const one of texts) {
      const tokens = made.encode(one);
      expect(tokens, one).toEqual(expected.encode(one));
      expect(made.decode(tokens)).toBe(expected.decode(tokens));
    }
    for (let id = 0; id < 3266; ++id) expect(made.decode([id])).toBe(expected.decode([id]));
    const [was, is] = [await readTokenizerFiles(micro), await readTokenizerFiles(directory)];
    expect(new Map([...specialTokens(is!)].sort())).toEqual(new Map([...specialTokens(was!)].sort()));
  });

  it('are enough to transcribe with', async () => {
    const [expected, made] = await Promise.all(
      [micro, directory].map(async (one) => {
        using whisper = await Whisper.load(one, { device: 'cpu', threads: 1 });
        return await whisper.transcribe(sample, { wordTimestamps: true });
      }),
    );
    expect(made.segments).toEqual(expected.segments);
  });
});

describe('files with a byte order mark', () => {
  const marked = (files: Record<string, unknown>) =>
    changed(
      Object.fromEntries(
        Object.entries(files).map(([name, content]) => {
          const text = typeof content === 'string' ? content : JSON.stringify(content);
          return [name, content === null ? null : `\ufeff${text}`];
        }),
      ),
    );
  const names = ['config.json', 'generation_config.json', 'preprocessor_config.json', 'tokenizer_config.json'];
  const files = Object.fromEntries([...names, 'tokenizer.json'].map((name) => [name, json(name)]));

  it.each([
    ['tokenizer.json', files],
    ['vocab.json and merges.txt', { ...files, ...saved['with added_tokens.json'] }],
  ])('are read: %s', async (_, given) => {
    const [made, expected] = [await readCheckpoint(marked(given)), await readCheckpoint(micro)];
    expect({ ...made.config, ...made.generation }).toEqual({ ...expected.config, ...expected.generation });
    const [own, other] = [await made.tokenizer(), await expected.tokenizer()];
    expect(own.encode(' Add the honey.')).toEqual(other.encode(' Add the honey.'));
  });

  it('are converted to files without one, which transformers needs', async () => {
    const to = join(root, 'converted');
    await convertCheckpoint(marked(files), to, { keyValueHeads: 1 });
    for (const name of Object.keys(files)) JSON.parse(readFileSync(join(to, name), 'utf8'));
  });
});

describe('without generation_config.json', () => {
  const config = { ...json('config.json'), forced_decoder_ids: null };
  const withoutTokens = (...names: string[]) => ({
    ...stored,
    added_tokens: stored.added_tokens.map((token) =>
      names.includes(token.content) ? { ...token, content: token.content.replace('<|', '<|no-') } : token,
    ),
  });
  const read = async (tokenizer: object) => {
    const files = { 'generation_config.json': null, 'config.json': config, 'tokenizer.json': tokenizer };
    return (await readCheckpoint(changed(files))).generation;
  };

  it('a vocabulary of any size with languages and <|transcribe|> is multilingual', async () => {
    const { multilingual, languages, tasks } = await read(stored);
    expect({ multilingual, en: languages.get('en') }).toEqual({ multilingual: true, en: 2758 });
    expect(tasks.get('transcribe')).toBe(stored.added_tokens.find(({ content }) => content === '<|transcribe|>')!.id);
  });

  it('so is one that cannot translate', async () => {
    const { multilingual, languages, tasks } = await read(withoutTokens('<|translate|>'));
    expect([multilingual, languages.has('en'), tasks.has('translate')]).toEqual([true, true, false]);
  });

  it('one without languages or without tasks is English only', async () => {
    expect((await read(withoutTokens('<|en|>'))).multilingual).toBe(false);
    expect((await read(withoutTokens('<|transcribe|>', '<|translate|>'))).multilingual).toBe(false);
  });
});

describe('tokens after the timestamps', () => {
  it('are text, unless they are special', async () => {
    const added = [
      { id: 3266, content: '[laughs]', special: false },
      { id: 3267, content: '<|speaker|>', special: true },
    ].map((token) => ({ ...token, single_word: false, lstrip: false, rstrip: false, normalized: false }));
    const directory = changed({ 'tokenizer.json': { ...stored, added_tokens: [...stored.added_tokens, ...added] } });
    const tokenizer = await (await readCheckpoint(directory)).tokenizer();
    expect(tokenizer.decode([2765, 843, 3266, 1628, 3267, 2766])).toBe(' Add[laughs] honey');
    expect([2755, 2756, 2765, 3265, 3266, 3267].map((id) => tokenizer.isText(id))).toEqual([
      true,
      false,
      false,
      false,
      true,
      false,
    ]);
  });
});

describe('a text that looks like special tokens', () => {
  it('is plain text, whatever the tokens look like, unless special tokens are requested', async () => {
    const flags = { single_word: false, lstrip: false, rstrip: false, normalized: false };
    const added = [
      { id: 3266, content: '[PAD]', special: true, ...flags },
      { id: 3267, content: '</s>', special: true, ...flags },
      { id: 3268, content: '[laughs]', special: false, ...flags },
    ];
    const [plain, spaced] = await Promise.all(
      [false, true].map(async (add_prefix_space) => {
        const tokens = { ...stored, added_tokens: [...stored.added_tokens, ...added] };
        const json = { ...tokens, pre_tokenizer: { type: 'ByteLevel', add_prefix_space, use_regex: true } };
        return await (await readCheckpoint(changed({ 'tokenizer.json': json }))).tokenizer();
      }),
    );
    const text = ' a [PAD]</s><|endoftext|><|0.02|><|en|>b[laughs]';
    for (const tokenizer of [plain, spaced]) {
      const tokens = tokenizer.encode(text);
      expect(tokens.filter((id) => !tokenizer.isText(id))).toEqual([]);
      expect(tokens.at(-1)).toBe(3268);
      expect(tokenizer.decode(tokens)).toBe(text);
    }
    const tokens = plain.encode(text, { special: true });
    expect(tokens.filter((id) => !plain.isText(id))).toEqual([3266, 3267, 2756, 2766, 2758]);
  });
});

describe('load refuses', () => {
  it.each<[string, Record<string, unknown>, string]>([
    [
      'no tokenizer at all',
      { 'tokenizer.json': null, 'vocab.json': null },
      'contains neither tokenizer.json nor vocab.json',
    ],
    ['no merges', { 'tokenizer.json': null, 'merges.txt': null }, 'holds vocab.json but no merges.txt'],
    ['broken merges', { 'tokenizer.json': null, 'merges.txt': 'a b c\n' }, "merges.txt has the line 'a b c'"],
    [
      'merges that are missing',
      { 'tokenizer.json': null, 'merges.txt': '#version: 0.2\n' },
      'merges.txt has only 0 merges for ',
    ],
    [
      'merges that are cut short',
      { 'tokenizer.json': null, 'merges.txt': merges.split('\r\n').slice(0, 800).join('\n') },
      'merges.txt has only 799 merges for ',
    ],
    [
      'merges of another vocabulary',
      { 'tokenizer.json': null, 'merges.txt': `${merges}qq zz\n` },
      "merges.txt merges 'qq', which vocab.json does not contain",
    ],
    [
      'a pointer in place of merges',
      { 'tokenizer.json': null, 'merges.txt': 'version https://git-lfs.github.com/spec/v1\noid sha256:abc\nsize 3\n' },
      "merges.txt merges 'version', which vocab.json does not contain",
    ],
    [
      'an id below 0',
      { 'tokenizer.json': null, 'vocab.json': { ...stored.model.vocab, more: -5 } },
      'vocab.json does not map texts to ids',
    ],
    [
      'an added token without an id',
      { 'tokenizer.json': null, 'tokenizer_config.json': { added_tokens_decoder: { first: { content: '[x]' } } } },
      "tokenizer_config.json has no valid id of '[x]'",
    ],
    [
      'a vocabulary that is none',
      { 'tokenizer.json': null, 'vocab.json': { a: 'b' } },
      'vocab.json does not map texts to ids',
    ],
    ['a list', { 'tokenizer.json': [] }, 'tokenizer.json is not a JSON object'],
    ['no model', { 'tokenizer.json': {} }, 'tokenizer.json is not a byte-pair tokenizer such as Whisper has'],
    [
      'a model without merges',
      { 'tokenizer.json': { ...stored, model: { ...stored.model, merges: null } } },
      'tokenizer.json has no list of merges',
    ],
    ...[[['a', 'b', 'c'], '["a","b","c"]'] as const, [[1, 2], '[1,2]'] as const, ['a  b', '"a  b"'] as const].map(
      ([merge, shown]): [string, Record<string, unknown>, string] => [
        `the merge ${shown}`,
        { 'tokenizer.json': { ...stored, model: { ...stored.model, merges: [merge] } } },
        `tokenizer.json has the merge ${shown}, which is not a pair of tokens`,
      ],
    ),
    ...[-1, 1.5, '300', null].map((id): [string, Record<string, unknown>, string] => [
      `the id ${id}`,
      { 'tokenizer.json': { ...stored, model: { ...stored.model, vocab: { ...stored.model.vocab, Ġthe: id } } } },
      `tokenizer.json gives the token "Ġthe" the id ${JSON.stringify(id)}`,
    ]),
    [
      'a decoder that leaves bytes as characters',
      { 'tokenizer.json': { ...stored, decoder: { type: 'Sequence', decoders: [] } } },
      "tokenizer.json cannot be used: it encodes the text 'a' and decodes 'Ġa'",
    ],
    [
      'another kind of model',
      { 'tokenizer.json': { ...stored, model: { ...stored.model, type: 'WordPiece' } } },
      'tokenizer.json is not a byte-pair tokenizer such as Whisper has',
    ],
    [
      'words that are missing',
      { 'tokenizer.json': { ...stored, model: { ...stored.model, vocab: { a: 0, b: 1 } } } },
      'has no token 2, which the model can write',
    ],
    [
      'a tokenizer of other special tokens',
      {
        'tokenizer.json': {
          ...stored,
          added_tokens: stored.added_tokens.map((token) =>
            token.content === '<|notimestamps|>' ? { ...token, id: 2763 } : token,
          ),
        },
      },
      'gives <|notimestamps|> the id 2763, the model 2764; the files of this folder do not belong together',
    ],
    [
      'a rate that no recording has',
      { 'preprocessor_config.json': { ...json('preprocessor_config.json'), sampling_rate: 3 } },
      'expected sampling_rate to be hertz',
    ],
    [
      'languages without English',
      {
        'generation_config.json': { ...json('generation_config.json'), lang_to_id: { '<|de|>': 2758 }, language: null },
      },
      "expected lang_to_id to be Whisper's languages",
    ],
  ])('%s', async (_, files, message) => {
    await expect(Whisper.load(changed(files), { device: 'cpu' })).rejects.toThrow(message);
  });
});

describe('alignment heads that the decoder does not have', () => {
  const alien = { ...json('generation_config.json'), alignment_heads: [[11, 3]] };

  it('are replaced by those of the upper half of the layers, with a warning', async () => {
    const [expected, made] = await Promise.all(
      [{ ...alien, alignment_heads: null }, alien].map(async (generation) => {
        using whisper = await Whisper.load(changed({ 'generation_config.json': generation }), {
          device: 'cpu',
          threads: 1,
          wordTimes: 'attention',
        });
        const heard: string[] = [];
        const words = await whisper.transcribe(sample, {
          wordTimestamps: true,
          onWarning: (warning) => heard.push(warning),
        });
        expect(heard).toEqual(words.warnings);
        expect((await whisper.transcribe(sample)).warnings).toEqual([]);
        return words;
      }),
    );
    expect(expected.warnings).toEqual([]);
    expect(made.warnings).toEqual([
      'The checkpoint names alignment heads that it does not have (11/3 of 3 layers of 4 heads), so word times are computed from all heads of the later half of its layers; set alignmentHeads if you know better ones.',
    ]);
    expect(made.incomplete).toBe(false);
    expect(made.segments).toEqual(expected.segments);
  });

  it('do not matter if alignmentHeads names some', async () => {
    const directory = changed({ 'generation_config.json': alien });
    using whisper = await Whisper.load(directory, {
      device: 'cpu',
      threads: 1,
      wordTimes: 'attention',
      alignmentHeads: [[2, 1]],
    });
    const { warnings, segments } = await whisper.transcribe(sample, { wordTimestamps: true });
    expect(warnings).toEqual([]);
    using named = await Whisper.load(changed({ 'generation_config.json': { ...alien, alignment_heads: [[2, 1]] } }), {
      device: 'cpu',
      threads: 1,
      wordTimes: 'attention',
    });
    expect(segments).toEqual((await named.transcribe(sample, { wordTimestamps: true })).segments);
  });
});

describe('bytes of tokens', () => {
  it('form the text, even if characters are spread over several tokens', async () => {
    const tokenizer = await (await readCheckpoint(micro)).tokenizer();
    for (const words of [' Add honey.', ' naïve 日本語 🦄', '\n\t\u00ad\u0000']) {
      const tokens = tokenizer.encode(words);
      expect(Buffer.concat(tokens.map((id) => tokenizer.bytes(id))).toString()).toBe(words);
    }
    const all = Object.values(stored.model.vocab).filter((id) => tokenizer.isText(id));
    expect(all.every((id) => tokenizer.bytes(id).length > 0)).toBe(true);
    expect(tokenizer.bytes(stored.added_tokens[0].id)).toHaveLength(0);
  });
});
