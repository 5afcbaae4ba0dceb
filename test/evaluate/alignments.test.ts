import { describe, expect, it } from 'vitest';
import { parseAlignment } from '../../lib/evaluate/alignments.js';
import { summarizeWordTimes, wordTimeErrors } from '../../lib/evaluate/word-times.js';

const wanted = [
  { word: 'good', start: 0.2, end: 0.5 },
  { word: 'morning', start: 0.5, end: 1 },
];
const parse = (name: string, text: string) => parseAlignment(name, Buffer.from(text));

const long = `File type = "ooTextFile"
Object class = "TextGrid"

xmin = 0
xmax = 1.2
tiers? <exists>
size = 2
item []:
    item [1]:
        class = "IntervalTier"
        name = "Anna 2 - phones"
        xmin = 0
        xmax = 1.2
        intervals: size = 1
        intervals [1]:
            xmin = 0
            xmax = 1.2
            text = "G"
    item [2]:
        class = "IntervalTier"
        name = "Anna 2 - words"
        xmin = 0
        xmax = 1.2
        intervals: size = 4
        intervals [1]:
            xmin = 0
            xmax = 0.2
            text = ""
        intervals [2]:
            xmin = 0.2
            xmax = 0.5
            text = "good"
        intervals [3]:
            xmin = 0.5
            xmax = 1.0
            text = "morning"
        intervals [4]:
            xmin = 1.0
            xmax = 1.2
            text = "sp"
`;
const short = `File type = "ooTextFile"
Object class = "TextGrid"

0
1.2
<exists>
2
"TextTier"
"clicks"
0
1.2
1
0.7
"say ""7"" 3"
"IntervalTier"
"words"
0
1.2
3
0
0.2
""
0.2
0.5
"good"
0.5
1
"morning"
`;

describe("files of words' times", () => {
  it.each([
    ['a.TextGrid', long],
    ['a.TextGrid', short],
    ['a.ctm', ';; made by hand\na 1 0.2 0.3 good 0.99\na 1 0.5 0.5 morning\n\n'],
    [
      'gentle.json',
      '{"transcript":"good morning","words":[{"word":"good","case":"success","start":0.2,"end":0.5},{"word":"all","case":"not-found-in-audio"},{"word":"morning","case":"success","start":0.5,"end":1}]}',
    ],
    [
      'sphinx.json',
      '{"b":0,"d":1.2,"t":"good morning","w":[{"b":0,"d":0.2,"t":"<sil>"},{"b":0.2,"d":0.3,"t":"good(2)"},{"b":0.5,"d":0.5,"t":"morning"}]}',
    ],
    [
      'whisper.json',
      '{"segments":[{"words":[{"word":" good","start":0.2,"end":0.5}]},{"words":[{"word":" morning","start":0.5,"end":1}]}]}',
    ],
    ['list.json', '[{"text":"morning","start":0.5,"end":1},{"text":"good","start":0.2,"end":0.5}]'],
  ])('%s', (name, text) => expect(parse(name, text)).toEqual(wanted));

  it('in UTF-16, as Praat writes what is not ASCII', () => {
    const text = short.replace('good', 'schön');
    const little = Buffer.from(`\ufeff${text}`, 'utf16le');
    const big = Buffer.from(little).swap16();
    for (const bytes of [little, big]) {
      expect(parseAlignment('a.TextGrid', bytes).map(({ word }) => word)).toEqual(['schön', 'morning']);
    }
  });

  it('hold no words where whole sentences were labelled', () => {
    expect(parse('a.TextGrid', short.replaceAll(/"(good|morning)"/g, '"good morning"'))).toEqual([]);
  });

  it.each([
    ['a.json', '{', /^a\.json is not JSON/],
    ['a.lab', '0 1 good', /no file of words' times/],
  ])('%s that cannot be read is refused', (name, text, message) => {
    expect(() => parse(name, text)).toThrow(
      expect.objectContaining({ code: 'INVALID_ARGUMENT', message: expect.stringMatching(message) }),
    );
  });

  it.each([
    ['a.TextGrid', '"IntervalTier" "x" 0 1 99999999 1 2'],
    ['a.ctm', 'a 1 soon 0.3 good\na 1 0.2 -1 good\na 1 0.2'],
    ['a.json', '{"words":[1,null,{"word":{}},{"word":{},"start":0,"end":1}],"segments":7}'],
  ])('%s of rubbish holds no words', (name, text) => expect(parse(name, text)).toEqual([]));
});

describe("errors of words' times", () => {
  it('are those of the words that both have', () => {
    const errors = wordTimeErrors(wanted, [
      { word: ' Good', start: 0.1, end: 0.55 },
      { word: ' and', start: 0.55, end: 0.6 },
      { word: ' MORNING!', start: 0.6, end: 1.3 },
      { word: ' …', start: 1.3, end: 1.4 },
    ]);
    expect(errors.map(({ word }) => word)).toEqual(['good', 'morning']);
    const { words, matched, starts, ends } = summarizeWordTimes(errors, 3);
    expect([words, matched]).toEqual([3, 2]);
    expect(starts.bias).toBeCloseTo(0);
    expect(starts.mean).toBeCloseTo(0.1);
    expect(starts.within).toBe(1);
    expect(ends.bias).toBeCloseTo(0.175);
    expect(ends.within).toBe(0.5);
  });
});
