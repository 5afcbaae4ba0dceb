import { readFileSync } from 'node:fs';
import { describe, expect, it } from 'vitest';
import { type FormatOptions, formats } from '../../lib/formats/index.js';
import type { Segment, Transcription } from '../../lib/whisper/transcription/types.js';

const stored: { transcription: Pick<Transcription, 'segments'>; written: Record<string, string> } = JSON.parse(
  readFileSync(new URL('../fixtures/subtitles.json', import.meta.url), 'utf8'),
);
const { written } = stored;

function transcriptionOf(segments: Segment[]): Transcription {
  const text = segments.map((one) => one.text).join('');
  return { task: 'transcribe', language: 'en', duration: 16, text, segments, warnings: [], incomplete: false };
}

const transcription = transcriptionOf(stored.transcription.segments);

const options: Record<string, FormatOptions> = {
  plain: {},
  width: { maxLineWidth: 16 },
  'width and count': { maxLineWidth: 16, maxLineCount: 2 },
  'count 1': { maxLineWidth: 24, maxLineCount: 1 },
  words: { maxWordsPerLine: 3 },
  highlighted: { highlightWords: true },
  'highlighted, width': { highlightWords: true, maxLineWidth: 20, maxLineCount: 1 },
};

describe('as openai/whisper writes it', () => {
  it.each(Object.keys(written))('%s', (name) => {
    const [, kind, chosen] = /^(srt|vtt), (.*)$/.exec(name)!;
    expect(formats[kind as 'srt' | 'vtt'].write(transcription, options[chosen])).toBe(written[name]);
  });
});

const withoutWords: Transcription = {
  ...transcription,
  segments: transcription.segments.map(({ words, ...segment }) => segment),
};

describe('limits without word times', () => {
  it('break lines at times estimated from the lengths of words', () => {
    const cues = formats.srt.write(withoutWords, { maxLineWidth: 16, maxLineCount: 1 }).trim().split('\n\n');
    const lines = cues.map((cue) => cue.split('\n').slice(2).join('\n'));
    expect(lines.join(' ')).toBe(transcription.segments.map(({ text }) => text.trim()).join(' '));
    for (const line of lines) expect(line.length <= 16 || !line.includes(' ')).toBe(true);
    const times = cues.map((cue) => cue.split('\n')[1].split(' --> '));
    times.forEach(([start, end], i) => {
      expect(start < end).toBe(true);
      if (i > 0) expect(times[i - 1][1] <= start).toBe(true);
    });
  });
});

describe('lrc', () => {
  it('has a line for each segment, and word times on request', () => {
    const [first, second] = formats.lrc.write(transcription).split('\n');
    expect([first, second]).toEqual([
      '[00:00.50]So it begins, and nobody knows where.',
      expect.stringMatching(/^\[00:0\d\.\d\d\]It ends\.$/),
    ]);
    expect(formats.lrc.write(transcription, { highlightWords: true })).toMatch(
      /^\[00:00\.50\]<00:00\.50>So<00:00\.70> it<00:/,
    );
  });
  it('counts minutes beyond an hour', () => {
    const late = { ...transcription, segments: [{ ...withoutWords.segments[0], start: 4000.257, end: 4001 }] };
    expect(formats.lrc.write(late)).toMatch(/^\[66:40\.26\]/);
  });
});

describe('csv', () => {
  it('quotes text', () => {
    const one = { ...withoutWords.segments[0], start: 1, end: 2.5, text: ' He said "no", twice' };
    expect(formats.csv.write({ ...transcription, segments: [one] })).toBe(
      'start,end,text\n1000,2500,"He said ""no"", twice"\n',
    );
  });
});

describe('ass', () => {
  it('has events with times in hundredths, and karaoke on request', () => {
    const events = (text: string) => text.split('\n').filter((line) => line.startsWith('Dialogue:'));
    expect(events(formats.ass.write(transcription))[0]).toBe(
      'Dialogue: 0,0:00:00.50,0:00:03.90,Default,,0,0,0,,So it begins, and nobody knows where.',
    );
    const [karaoke] = events(formats.ass.write(transcription, { highlightWords: true, maxLineWidth: 16 }));
    expect(karaoke).toContain('{\\k20}So{\\k20} it');
    expect(karaoke).toContain('\\N');
  });
  it('escapes braces', () => {
    const one = { ...withoutWords.segments[0], text: ' {\\b1}bold' };
    expect(formats.ass.write({ ...transcription, segments: [one] })).not.toContain('{');
  });
});

describe('json', () => {
  it('contains words if there are any', () => {
    const { segments } = JSON.parse(formats.json.write(transcription));
    expect(segments[1].words).toEqual(transcription.segments[1].words);
    const verbose = JSON.parse(formats.verbose_json.write(transcription));
    expect(verbose.words[0]).toEqual({ word: 'So', start: 0.5, end: 0.7 });
    expect(JSON.parse(formats.verbose_json.write(withoutWords)).words).toBeUndefined();
  });
});
