/** Defects that disturb players and readers: cues without duration or text, added blanks, lines that are too long. */
import { describe, expect, it } from 'vitest';
import { columnsOf, unitsOf } from '../../lib/formats/columns.js';
import { type FormatOptions, formats } from '../../lib/formats/index.js';
import type { Segment, Transcription, Word } from '../../lib/whisper/transcription/types.js';

type Timed = readonly [word: string, start: number, end: number];

const wordsOf = (words: readonly Timed[]): Word[] =>
  words.map(([word, start, end]) => ({ word, start, end, probability: 0.9 }));

function segment(text: string, start: number, end: number, words?: readonly Timed[], channel?: number): Segment {
  const scores = { temperature: 0, avg_logprob: -0.25, compression_ratio: 0.9, no_speech_prob: 0.01 };
  const own = { ...(words && { words: wordsOf(words) }), ...(channel !== undefined && { channel }) };
  return { id: 0, seek: 0, start, end, text, tokens: [], ...scores, ...own };
}

function transcription(...segments: Segment[]): Transcription {
  const text = segments.map((one) => one.text).join('');
  return { task: 'transcribe', language: 'ja', duration: 60, text, segments, warnings: [], incomplete: false };
}

/** Cues of srt or vtt: the times, and the lines of text. */
function cues(written: string): { start: string; end: string; lines: string[] }[] {
  const blocks = written.replace('WEBVTT\n\n', '').split('\n\n');
  expect(blocks.pop()).toBe('');
  return blocks.map((block) => {
    const lines = block.split('\n');
    const at = lines.findIndex((line) => line.includes(' --> '));
    const [start, end] = lines[at].split(' --> ');
    return { start, end, lines: lines.slice(at + 1) };
  });
}

const japanese: readonly Timed[] = [
  ['東', 0, 0.4],
  ['京', 0.4, 0.8],
  ['に', 0.8, 1],
  ['行く。', 1, 1.6],
];

describe('blanks', () => {
  it('are where the text has them, and nowhere else', () => {
    const one = transcription(segment('東京に行く。', 0, 1.6, japanese));
    expect(formats.lrc.write(one, { highlightWords: true })).toBe(
      '[00:00.00]<00:00.00>東<00:00.40>京<00:00.80>に<00:01.00>行く。\n',
    );
    expect(formats.lrc.write(one, { maxLineWidth: 2 })).toBe('[00:00.00]東京に行く。\n');
    for (const { lines } of cues(formats.vtt.write(one, { highlightWords: true }))) {
      expect(lines.join('').replace(/<\/?u>/g, '')).toBe('東京に行く。');
    }
  });

  it('are kept when lines are joined, as are those of empty words', () => {
    const words: Timed[] = [
      [' one', 0, 1],
      [' ', 1, 1.1],
      ['two', 1.1, 2],
      ['', 2, 2],
      [' three', 2, 3],
    ];
    const one = transcription(segment(' one two three', 0, 3, words));
    expect(formats.lrc.write(one, { maxLineWidth: 3 })).toBe('[00:00.00]one two three\n');
    expect(formats.lrc.write(one, { highlightWords: true })).toBe(
      '[00:00.00]<00:00.00>one<00:01.10> two<00:02.00> three\n',
    );
  });
});

describe('cues', () => {
  const odd: readonly Timed[] = [
    [' So', 1, 1],
    [' it', 1, 1.2],
    [' goes', 1.2, 1.2],
    [' on', 1.1, 1.5],
    [' now', 1.5, 1.5],
  ];
  const all: FormatOptions[] = [
    {},
    { highlightWords: true },
    { maxLineWidth: 4 },
    { maxWordsPerLine: 1 },
    { maxWordsPerLine: 1, highlightWords: true },
    { maxLineWidth: 4, maxLineCount: 1 },
  ];

  it.each(all)('have a duration, whatever the words’ times are: %o', (options) => {
    const one = transcription(
      segment(' So it goes on now', 1, 1.5, odd),
      segment(' Yes.', 1.5, 1.5, [[' Yes.', 1.5, 1.5]]),
      segment(' No.', 1.5, 1.504, [[' No.', 1.5, 1.504]]),
      segment(' Well.', 9, 9, [[' Well.', 9, 9]]),
    );
    for (const name of ['srt', 'vtt'] as const) {
      const found = cues(formats[name].write(one, options));
      for (const { start, end } of found) expect(start < end, `${start} --> ${end}`).toBe(true);
      const shown = found.flatMap(({ lines }) => lines.join(' ').replace(/<\/?u>/g, ''));
      for (const word of one.text.trim().split(' ')) expect(shown.join(' ')).toContain(word);
    }
    for (const line of formats.ass.write(one, options).split('\n')) {
      const [, start, end] = line.split(',');
      if (line.startsWith('Dialogue:')) expect(start < end).toBe(true);
    }
  });

  it('have no empty line and are never empty', () => {
    const one = transcription(
      segment(' first\n\nsecond\r\n \rthird', 0, 1),
      segment(' \n ', 1, 2, [['\n', 1, 2]]),
      segment(' a\n\nb c', 2, 3, [
        [' a', 2, 2.2],
        ['\n\nb', 2.2, 2.5],
        [' c\n', 2.5, 3],
      ]),
    );
    expect(cues(formats.srt.write(one)).map(({ lines }) => lines)).toEqual([
      ['first', 'second', 'third'],
      ['a', 'b c'],
    ]);
    expect(formats.lrc.write(one)).toBe('[00:00.00]first second third\n[00:02.00]a b c\n');
    for (const options of all) {
      const found = cues(formats.vtt.write(one, options)).flatMap(({ lines }) => lines);
      for (const line of found) expect(line.trim()).not.toBe('');
    }
  });

  it('escape markup in the text', () => {
    const words: Timed[] = [
      [' R&D', 0, 1],
      [' <b>', 1, 2],
      [' -->', 2, 3],
    ];
    const [first, , last] = cues(
      formats.vtt.write(transcription(segment(' R&D <b> -->', 0, 3, words)), { highlightWords: true }),
    );
    expect(first.lines).toEqual(['<u>R&amp;D</u> &lt;b&gt; --&gt;']);
    expect(last.lines).toEqual(['R&amp;D &lt;b&gt; <u>--&gt;</u>']);
  });
});

describe('line length', () => {
  const text = ' 昨日、東京で「大きなOpenAI会議」が開かれました。ニュースです。';
  const linesOf = (options: FormatOptions, ...segments: Segment[]) =>
    cues(formats.srt.write(transcription(...segments), options)).flatMap(({ lines }) => lines);

  it('breaks languages without blanks between characters, and keeps marks with their character', () => {
    const lines = linesOf({ maxLineWidth: 10 }, segment(text, 0, 10));
    expect(lines.join('')).toBe(text.trim());
    for (const line of lines) {
      expect([...line].length).toBeLessThanOrEqual(10);
      expect(line).not.toMatch(/^[、。」ュー]|「$/);
    }
    expect(lines.length).toBeLessThan(6);
  });

  it('counts wide characters as two columns on request', () => {
    const lines = linesOf({ maxLineWidth: 12, countWide: true }, segment(text, 0, 10));
    expect(lines.join('')).toBe(text.trim());
    for (const line of lines) expect(columnsOf(line, true)).toBeLessThanOrEqual(12);
    expect(lines.some((line) => columnsOf(line, true) > 10)).toBe(true);
  });

  it('breaks a word that is longer than a line, with times in proportion', () => {
    const long = segment('東京都庁舎前広場', 0, 8, [['東京都庁舎前広場', 0, 8]]);
    const found = cues(formats.srt.write(transcription(long), { maxLineWidth: 4, maxLineCount: 1 }));
    expect(found).toEqual([
      { start: '00:00:00,000', end: '00:00:04,000', lines: ['東京都庁'] },
      { start: '00:00:04,000', end: '00:00:08,000', lines: ['舎前広場'] },
    ]);
  });

  it('does not break a long word of a language with blanks', () => {
    expect(linesOf({ maxLineWidth: 8 }, segment(' an extraordinarily 한국어를 text', 0, 4))).toEqual([
      'an',
      'extraordinarily',
      '한국어를',
      'text',
    ]);
  });

  it('counts characters as displayed', () => {
    expect(columnsOf('ที่นี่')).toBe(2);
    expect(columnsOf('👩‍👩‍👧 é')).toBe(3);
    expect(columnsOf('한a。ｱ👍', true)).toBe(8);
    expect(unitsOf('  สวัสดี hello  ').map((unit) => unit.trim())).toEqual(['ส', 'วั', 'ส', 'ดี', 'hello']);
  });

  it.each([0, 1.5, Number.NaN, -3])('cannot be %d', (maxLineWidth) => {
    expect(() => formats.srt.write(transcription(), { maxLineWidth })).toThrow('Expected maxLineWidth to be');
  });
});

describe('speakers', () => {
  const call = transcription(
    segment(' Hello.', 0, 2, [[' Hello.', 0, 2]], 0),
    segment(' Hi & bye.', 1, 3, undefined, 1),
    segment(' How are you?', 3, 4, undefined, 0),
  );

  it('are named in subtitles, text and tables', () => {
    const options = { channelNames: ['Agent', 'A <customer>, new'] };
    expect(formats.text.write(call, options)).toBe(
      'Agent: Hello.\nA <customer>, new: Hi & bye.\nAgent: How are you?\n',
    );
    expect(cues(formats.srt.write(call, options)).map(({ lines }) => lines)).toEqual([
      ['Agent: Hello.'],
      ['A <customer>, new: Hi & bye.'],
      ['Agent: How are you?'],
    ]);
    expect(cues(formats.vtt.write(call, options)).map(({ lines }) => lines)).toEqual([
      ['<v Agent>Hello.'],
      ['<v A &lt;customer&gt;, new>Hi &amp; bye.'],
      ['<v Agent>How are you?'],
    ]);
    expect(formats.lrc.write(call, options).split('\n')[0]).toBe('[00:00.00]Agent: Hello.');
    expect(formats.ass.write(call, options)).toContain('Default,A <customer>， new,0,0,0,,Hi & bye.');
    expect(formats.csv.write(call, options).split('\n').slice(0, 3)).toEqual([
      'start,end,text,channel',
      '0,2000,"Hello.","Agent"',
      '1000,3000,"Hi & bye.","A <customer>, new"',
    ]);
    expect(formats.tsv.write(call, options).split('\n')[1]).toBe('0\t2000\tHello.\tAgent');
  });

  it('are named by channel without a name, and not at all if the name is empty', () => {
    expect(formats.text.write(call, { channelNames: [''] })).toBe('Hello.\nChannel 1: Hi & bye.\nHow are you?\n');
    expect(formats.vtt.write(call)).toContain('<v Channel 0>Hello.');
  });

  it('never share a cue, and displayed names count towards the line length', () => {
    const options = { channelNames: ['Agent', 'Customer'], maxLineWidth: 14, maxLineCount: 2 };
    const shown = cues(formats.srt.write(call, options)).map(({ lines }) => lines);
    expect(shown).toEqual([
      ['Agent: Hello.', 'How are you?'],
      ['Customer: Hi &', 'bye.'],
    ]);
    expect(cues(formats.vtt.write(call, options)).map(({ lines }) => lines)).toEqual([
      ['<v Agent>Hello. How are', 'you?'],
      ['<v Customer>Hi &amp; bye.'],
    ]);
  });

  it('who interrupt each other are in order of time, also with highlighted words', () => {
    const both = transcription(
      segment(
        ' one two',
        0,
        4,
        [
          [' one', 0, 2],
          [' two', 2, 4],
        ],
        0,
      ),
      segment(
        ' three four',
        1,
        5,
        [
          [' three', 1, 3],
          [' four', 3, 5],
        ],
        1,
      ),
    );
    const shown = cues(formats.vtt.write(both, { highlightWords: true }));
    expect(shown.map(({ start }) => start)).toEqual([0, 1, 2, 3].map((second) => `00:0${second}.000`));
  });

  it('are in JSON, for segments and words', () => {
    expect(JSON.parse(formats.json.write(call)).segments.map(({ channel }: Segment) => channel)).toEqual([0, 1, 0]);
    expect(JSON.parse(formats.verbose_json.write(call)).segments[1].channel).toBe(1);
  });

  it('have names that are strings', () => {
    expect(() => formats.srt.write(call, { channelNames: [7] as unknown as string[] })).toThrow(
      'Expected channelNames to be a list of strings but received [7].',
    );
    expect(() => formats.srt.write(call, { channelNames: 'Agent' as unknown as string[] })).toThrow(
      'Expected channelNames to be a list of strings',
    );
  });
});
