import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { describe, expect, it, onTestFinished } from 'vitest';
import { parseAlignment, readAlignment } from '../../lib/evaluate/alignments.js';

const bytes = (text: string) => new TextEncoder().encode(text);
const words = [
  { word: 'say', start: 0.25, end: 0.5 },
  { word: '"hi"', start: 0.75, end: 1 },
];

const short = `File type = "ooTextFile"
Object class = "TextGrid"

0
1.25
<exists>
3
"IntervalTier"
"phones"
0
1.25
1
0
1.25
"x"
"IntervalTier"
"Ann - words"
0
1.25
5
0
0.25
""
0.25
0.5
"say"
0.5
0.75
"<sil>"
0.75
1
"""hi"""
1
1.25
"sp"
"TextTier"
"points"
0
1.25
1
0.5
"a point"
`;

const long = `File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0 
xmax = 1.25 
tiers? <exists> 
size = 1 
item []: 
    item [1]:
        class = "IntervalTier" 
        name = "Ann" 
        xmin = 0 
        xmax = 1.25 
        intervals: size = 2 
        intervals [1]:
            xmin = 0.25 
            xmax = 0.5 
            text = "say" 
        intervals [2]:
            xmin = 0.75 
            xmax = 1 
            text = """hi""" ! 3 "not this"
`;

function utf16(text: string, bigEndian: boolean, mark: boolean): Uint8Array {
  const encoded = new Uint8Array(Buffer.from((mark ? '\ufeff' : '') + text, 'utf16le'));
  if (bigEndian) for (let i = 0; i < encoded.length; i += 2) encoded.subarray(i, i + 2).reverse();
  return encoded;
}

describe('words of a TextGrid', () => {
  it('are read from both text formats', () => {
    expect(parseAlignment('a.TextGrid', bytes(short))).toEqual(words);
    expect(parseAlignment('a.TextGrid', bytes(long))).toEqual(words);
    expect(parseAlignment('a.textgrid', bytes(`\ufeff${long.replaceAll('\n', '\r\n')}`))).toEqual(words);
  });

  it.each([
    [false, true],
    [true, true],
    [false, false],
    [true, false],
  ])('are read from UTF-16 (big endian: %o, marked: %o)', (bigEndian, mark) => {
    const text = long.replace('say', 'späť');
    const [first] = parseAlignment('a.TextGrid', utf16(text, bigEndian, mark));
    expect(first.word).toBe('späť');
  });

  it('are those of the named tier', () => {
    expect(parseAlignment('a.TextGrid', bytes(short), { tier: 'phones' })).toEqual([
      { word: 'x', start: 0, end: 1.25 },
    ]);
  });

  it.each([
    [short, { tier: 'Bob' }, "no tier 'Bob'.*'phones', 'Ann - words'"],
    [short.replace('Ann - words', 'Ann'), {}, 'no tier words; name one'],
    [short.slice(0, 250), {}, 'truncated'],
    [long.replace('0.25 \n', '"0.25" \n'), {}, "expected a time but found '0.25'"],
    [long.replace('size = 2', 'size = 2.5'), {}, "expected a tier's size but found '2.5'"],
    [long.replace('xmax = 0.5', 'xmax = 0.1'), {}, "'say' lasts from 0.25 to 0.1 s"],
    ['ooBinaryFile\bTextGrid', {}, 'binary'],
    ['hello', {}, 'TextGrid'],
    ['', {}, 'truncated'],
  ])('are refused if the file is invalid: %#', (text, options, message) => {
    expect(() => parseAlignment('a.TextGrid', bytes(text), options)).toThrow(new RegExp(message));
  });

  it('are refused immediately if a count is absurd', () => {
    expect(() => parseAlignment('a.TextGrid', bytes(long.replace('size = 2', 'size = 9007199254740991')))).toThrow(
      'truncated',
    );
  });
});

describe('words of a CTM file', () => {
  const ctm = `;; a comment\none A 0.25 0.25 say 0.9\none A 0.5 0.25 <eps>\none A 0.75 0.25 "hi"\n\ntwo A 0 1 other\n`;

  it('are those of the recording', () => {
    expect(parseAlignment('all.ctm', bytes(ctm), { recording: 'one' })).toEqual(words);
    expect(parseAlignment('all.ctm', bytes(ctm), { recording: 'two' })).toHaveLength(1);
    expect(parseAlignment('a.ctm', bytes('x 1 0 1 alone'), { recording: 'other' })).toHaveLength(1);
  });

  it.each([
    [ctm, 'words of 2 recordings \\(one, two\\)'],
    ['one A 0.25 0.25', "line 1: expected .* but found 'one A 0.25 0.25'"],
    ['one A x 0.25 say', 'line 1'],
    ['one A 0 Infinity say', 'lasts from 0 to Infinity'],
    ['one A 1 -0.5 say', 'lasts from 1 to 0.5'],
  ])('are refused if the file is invalid: %#', (text, message) => {
    expect(() => parseAlignment('a.ctm', bytes(text), { recording: 'three' })).toThrow(new RegExp(message));
  });
});

describe('words of JSON', () => {
  const list = [...words].reverse();
  it.each([
    ['a list', list],
    ['an object', { words: list }],
    ['a transcription', { segments: [{ words: [words[0]] }, { words: [words[1]] }] }],
    [
      'WhisperX, which cannot align all words',
      {
        segments: [
          { words: [words[0], { word: '5.' }] },
          { text: 'hm', words: [] },
          { text: 'x' },
          { words: [words[1]] },
        ],
      },
    ],
    [
      'gentle',
      {
        words: [
          { case: 'success', alignedWord: 'say', ...words[0] },
          { case: 'not-found-in-audio', word: 'well' },
          { case: 'success', ...words[1] },
        ],
      },
    ],
    [
      'pocketsphinx',
      {
        b: 0,
        d: 1,
        t: 'say hi',
        w: [
          { b: 0, d: 0.25, p: 1, t: '<sil>' },
          { b: 0.25, d: 0.25, p: 1, t: 'say(2)' },
          { b: 0.75, d: 0.25, p: 1, t: '"hi"' },
        ],
      },
    ],
    [
      'the Montreal Forced Aligner',
      {
        tiers: {
          'Ann - words': { type: 'interval', entries: words.map(({ word, start, end }) => [start, end, word]) },
          'Ann - phones': { type: 'interval', entries: [[0, 1, 's']] },
        },
      },
    ],
  ])('as %s', (_, value) => {
    expect(parseAlignment('a.json', bytes(JSON.stringify(value)))).toEqual(words);
  });

  it('as lines', () => {
    const lines = words.map(({ word, start, end }) => JSON.stringify({ w: [{ t: word, b: start, d: end - start }] }));
    expect(parseAlignment('a.json', bytes(lines.join('\n')))).toEqual(words);
  });

  it.each([
    ['{', 'is not valid JSON'],
    ['[{"word": "say", "start": 1}]', 'word 1: expected .* but found .*say'],
    ['[{"word": "say", "start": 1, "end": null}]', 'word 1'],
    ['[1]', 'word 1'],
    ['{"segments": [{"words": [{"word": "say", "begin": 1, "finish": 2}]}]}', 'word 1: expected .* but found .*begin'],
    [`[{"word": "${'x'.repeat(9999)}", "start": 2, "end": 1}]`, 'lasts from 2 to 1'],
  ])('are refused if the file is invalid: %s', (text, message) => {
    let sentence = '';
    try {
      parseAlignment('a.json', bytes(text));
    } catch (error) {
      sentence = (error as Error).message;
    }
    expect(sentence).toMatch(new RegExp(message));
    expect(sentence.length).toBeLessThan(400);
  });
});

it('has no words if whole lines were labelled, or there is no speech', () => {
  expect(parseAlignment('a.TextGrid', bytes(long.replace('"say"', '"say it"').replace('"""hi"""', '"sil"')))).toEqual(
    [],
  );
  expect(parseAlignment('a.json', bytes('{"text": "say"}'))).toEqual([]);
  expect(parseAlignment('a.json', bytes('[]'))).toEqual([]);
  expect(parseAlignment('a.ctm', bytes(';; nothing'))).toEqual([]);
});

describe('files of words', () => {
  it('are refused with the reason', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'onehead-words-'));
    onTestFinished(() => rm(folder, { recursive: true }));
    await expect(readAlignment(join(folder, 'none.ctm'))).rejects.toThrow(
      'Cannot read the word times in none.ctm: there is no such file or folder.',
    );
    await writeFile(join(folder, 'a.json'), Uint8Array.of(0x22, 0xff, 0xfe));
    await expect(readAlignment(join(folder, 'a.json'))).rejects.toThrow('not text in UTF-8 or UTF-16');
    await writeFile(join(folder, 'a.srt'), '1');
    await expect(readAlignment(join(folder, 'a.srt'))).rejects.toThrow('read from .TextGrid, .ctm and .json');
  });
});
