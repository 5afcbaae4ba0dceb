import { describe, expect, it } from 'vitest';
import { formats } from '../../lib/formats/index.js';
import type { Segment, Transcription } from '../../lib/whisper/transcription/types.js';

function segment(id: number, start: number, end: number, text: string, tokens: number[] = []): Segment {
  const scores = { temperature: 0, avg_logprob: -0.25, compression_ratio: 0.9, no_speech_prob: 0.01 };
  return { id, seek: 0, start, end, text, tokens, ...scores };
}

function transcription(...segments: Segment[]): Transcription {
  const text = segments.map((one) => one.text).join('');
  return { task: 'transcribe', language: 'en', duration: 3725.5, text, segments, warnings: [], incomplete: false };
}

const two = transcription(
  segment(0, 0.1, 1.78, ' We will return.', [685, 262]),
  segment(1, 3599.999, 3725.04, ' Grüße, 東京 & <i>.', [700]),
);
const none = transcription();
const plain = (text: string) => transcription(segment(0, 0, 1, text));

describe('text', () => {
  it('is a line for each segment', () => {
    expect(formats.text.write(two)).toBe('We will return.\nGrüße, 東京 & <i>.\n');
  });

  it('is empty without segments', () => {
    expect(formats.text.write(none)).toBe('');
  });
});

describe('srt', () => {
  it('numbers cues from 1 and always writes hours', () => {
    expect(formats.srt.write(two)).toBe(
      '1\n00:00:00,100 --> 00:00:01,780\nWe will return.\n\n2\n00:59:59,999 --> 01:02:05,040\nGrüße, 東京 & <i>.\n\n',
    );
  });

  it('replaces arrows in the text', () => {
    for (const arrow of ['-->', '--->', '------>']) {
      expect(formats.srt.write(plain(` a ${arrow} b`))).toBe('1\n00:00:00,000 --> 00:00:01,000\na -> b\n\n');
    }
  });

  it('is empty without segments', () => {
    expect(formats.srt.write(none)).toBe('');
  });
});

describe('vtt', () => {
  it('writes hours if there are any', () => {
    expect(formats.vtt.write(two)).toBe(
      'WEBVTT\n\n00:00.100 --> 00:01.780\nWe will return.\n\n59:59.999 --> 01:02:05.040\nGrüße, 東京 &amp; &lt;i&gt;.\n\n',
    );
  });

  it('escapes times and markup in the text', () => {
    expect(formats.vtt.write(plain(' a --> b'))).toContain('\na --&gt; b\n');
    expect(formats.vtt.write(plain(' &lt; <u>x</u>'))).toContain('\n&amp;lt; &lt;u&gt;x&lt;/u&gt;\n');
  });

  it('is only the header without segments', () => {
    expect(formats.vtt.write(none)).toBe('WEBVTT\n\n');
  });
});

describe('times', () => {
  const times = (start: number, end: number) =>
    formats.srt.write(transcription(segment(0, start, end, 'x'))).split('\n')[1];

  it('carry over when rounded up', () => {
    expect(times(59.9996, 3599.9999)).toBe('00:01:00,000 --> 01:00:00,000');
  });

  it('go beyond a day', () => {
    expect(times(0, 100 * 3600 + 0.5)).toBe('00:00:00,000 --> 100:00:00,500');
  });
});

describe('tsv', () => {
  it('has whole milliseconds between tabs', () => {
    expect(formats.tsv.write(two)).toBe(
      'start\tend\ttext\n100\t1780\tWe will return.\n3599999\t3725040\tGrüße, 東京 & <i>.\n',
    );
  });

  it('has no tab within the text', () => {
    expect(formats.tsv.write(plain(' a\tb'))).toBe('start\tend\ttext\n0\t1000\ta b\n');
  });

  it('is only the header without segments', () => {
    expect(formats.tsv.write(none)).toBe('start\tend\ttext\n');
  });
});

describe('json', () => {
  it('is one line with times and token ids', () => {
    const text = formats.json.write(two);
    expect(text.indexOf('\n')).toBe(text.length - 1);
    expect(JSON.parse(text)).toEqual({
      text: two.text,
      language: 'en',
      segments: two.segments.map(({ id, start, end, text: words, tokens }) => ({
        id,
        start,
        end,
        text: words,
        tokens,
      })),
    });
  });
});

describe('verbose_json', () => {
  it('has every public field as OpenAI’s server writes it, and no others', () => {
    const timed = { ...two, timings: { audio: 1, features: 1, encode: 1, decode: 1 } };
    const { warnings, incomplete, ...fields } = two;
    expect(JSON.parse(formats.verbose_json.write(timed))).toEqual({
      ...fields,
      language: 'english',
      text: 'We will return. Grüße, 東京 & <i>.',
      usage: { type: 'duration', seconds: 3726 },
    });
  });

  it('names the languages of segments too, and keeps a code that has no name', () => {
    const segments = [{ ...segment(0, 0, 1, ' Ja.'), language: 'de' }];
    const written = JSON.parse(formats.verbose_json.write({ ...two, language: 'xx', segments }));
    expect(written).toMatchObject({ language: 'xx', segments: [{ language: 'german', text: ' Ja.' }] });
  });

  it('says that the language is unknown if no speech was found, as JSON says with null', () => {
    const silent = { ...none, language: null };
    expect(JSON.parse(formats.verbose_json.write(silent)).language).toBe('unknown');
    expect(JSON.parse(formats.json.write(silent)).language).toBeNull();
    for (const { write } of Object.values(formats)) expect(write(silent)).not.toContain('english');
  });
});

it('text omitted as non-speech is listed in the formats that can represent it', () => {
  const omitted = [{ start: 4, end: 6.5, reason: 'known invention' as const, text: ' Thank you.' }];
  for (const name of ['json', 'verbose_json'] as const) {
    expect(JSON.parse(formats[name].write({ ...two, omitted })).omitted).toEqual(omitted);
    expect(JSON.parse(formats[name].write(two))).not.toHaveProperty('omitted');
  }
  expect(formats.srt.write({ ...two, omitted })).toBe(formats.srt.write(two));
});

describe('warnings', () => {
  it('are in JSON if there are any', () => {
    const warned = { ...two, warnings: ['The end is missing.'], incomplete: true };
    for (const name of ['json', 'verbose_json'] as const) {
      expect(JSON.parse(formats[name].write(warned)).warnings).toEqual(['The end is missing.']);
      expect(JSON.parse(formats[name].write(two))).not.toHaveProperty('warnings');
    }
  });
});
