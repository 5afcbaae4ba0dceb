/** Transcribes only parts of a recording. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AudioSource } from '../../lib/audio/index.js';
import { nextBreak } from '../../lib/audio/pieces.js';
import { SpeechSource } from '../../lib/vad/speech.js';
import { ClipSource } from '../../lib/whisper/transcription/clips.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import type { Clip } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { joined, samplesOf } from '../audio/support.js';

const rate = 16000;
const hop = 160;

/** A recording whose samples encode their positions, and how much of it was read. */
function counting(seconds: number, chunk: number) {
  const read = { samples: 0, closed: false };
  const source: AudioSource = {
    duration: seconds,
    warnings: [],
    incomplete: false,
    close: async () => {},
    async *chunks() {
      try {
        for (let at = 0; at < seconds * rate; at += chunk) {
          read.samples = Math.min(seconds * rate, at + chunk);
          yield Float32Array.from({ length: read.samples - at }, (_, i) => at + i);
        }
      } finally {
        read.closed = true;
      }
    },
  };
  return { source, read };
}

async function partsOf(clips: Clip[], chunk: number, seconds = 4) {
  const { source, read } = counting(seconds, chunk);
  const parts = new ClipSource(source, clips, rate, hop);
  const chunks: Float32Array[] = [];
  for await (const one of parts.chunks()) chunks.push(one);
  return { parts, read, chunks, samples: joined(chunks) };
}

const places = (begin: number, end: number) =>
  Array.from({ length: Math.round((end - begin) * rate) }, (_, i) => begin * rate + i);

describe('clips of a recording', () => {
  it.each([100, 1600, 16000, 1_000_000])('are its samples, in chunks of %i', async (chunk) => {
    const clips = [{ start: 0.5, end: 0.75 }, { start: 0.75, end: 1 }, { start: 2.5 }];
    const { parts, samples, chunks, read } = await partsOf(clips, chunk);
    expect([...samples]).toEqual([...places(0.5, 1), ...places(2.5, 4)]);
    expect(parts.breaks).toEqual([0.25 * rate, 0.5 * rate]);
    expect(parts.position).toBe(4 * rate);
    expect(read.closed).toBe(true);
    let at = 0;
    for (const { length } of chunks) {
      expect(nextBreak(parts.breaks, at)).toBeGreaterThanOrEqual(at + length);
      at += length;
    }
    for (const place of [0, 3999, 4000, 8000, 20000]) {
      expect(Math.round(parts.toRecording(place / rate, false) * rate)).toBe(samples[place]);
      if (place > 0) expect(Math.round(parts.toRecording(place / rate, true) * rate)).toBe(samples[place - 1] + 1);
    }
  });

  it('are the only part that is read', async () => {
    const clips = [
      { start: 0, end: 0.5 },
      { start: 1, end: 1.25 },
    ];
    const { parts, read } = await partsOf(clips, 800, 3600);
    expect(read).toEqual({ samples: 1.25 * rate, closed: true });
    expect(parts.position).toBe(1.25 * rate);
    expect(parts.duration).toBe(1.25);
    expect(parts.warnings).toEqual([]);
  });

  it('consist of whole frames, rounded as in openai/whisper', async () => {
    const { samples } = await partsOf([{ start: 0.104, end: 0.2 + 0.1 }], 1000);
    expect([...samples]).toEqual(places(0.1, 0.3));
  });

  it('are reported if the recording ends before they begin', async () => {
    const { parts, samples } = await partsOf([{ start: 3, end: 5 }, { start: 7, end: 8 }, { start: 90 }], 1000);
    expect([...samples]).toEqual(places(3, 4));
    expect(parts.warnings).toEqual([
      '2 clips begin at 7 s or later, but the recording ends at 4 s; they have no text.',
    ]);
  });

  it.each<[unknown, string]>([
    [[], 'Expected clips to be a list of at least one { start, end } but received an empty list.'],
    ['0,10', "Expected clips to be a list of at least one { start, end } but received '0,10'."],
    [[7], 'Expected clips[0] to be an object { start, end } but received 7.'],
    [[{ end: 3 }], 'Expected clips[0].start to be seconds from 0 on but received undefined.'],
    [[{ start: -1 }], 'Expected clips[0].start to be seconds from 0 on but received -1.'],
    [[{ start: 0, end: Number.NaN }], 'Expected clips[0].end to be seconds from 0 on but received NaN.'],
    [[{ start: 2, end: 2.001 }], 'Expected clips[0].end to be at least 0.01 s after its start but received 2.001.'],
    [[{ start: 0 }, { start: 1 }], 'Expected clips[0].end to be a number, since only the last clip may have no end'],
    [
      [
        { start: 0, end: 2 },
        { start: 1, end: 3 },
      ],
      'Expected clips[1].start to be no earlier than the end of the clip before but received 1.',
    ],
  ])('%j is refused', (clips, message) => {
    expect(() => new ClipSource(counting(1, 100).source, clips as Clip[], rate, hop)).toThrow(message);
  });

  it('accept null for no end', async () => {
    const { samples } = await partsOf([{ start: 3.5, end: null as unknown as undefined }], 1000);
    expect([...samples]).toEqual(places(3.5, 4));
  });
});

const silence = (seconds: number) => Float32Array.from({ length: seconds * rate }, (_, i) => 1e-4 * Math.sin(i * i));
/** The texts of the recordings. */
const [honey, other] = ['02_seen.flac', '01_seen.flac'];

describe('clips without silence', () => {
  it('contain no speech, and no padding, from outside the clip', async () => {
    const speech = await samplesOf(honey);
    const seconds = speech.length / rate;
    const samples = joined([silence(1), speech, speech, silence(2)]);
    const source: AudioSource = {
      ...counting(0, 1).source,
      async *chunks() {
        for (let at = 0; at < samples.length; at += 1000) yield samples.subarray(at, at + 1000);
      },
    };
    const cut = Math.round((1 + seconds) * 100) / 100;
    const parts = new ClipSource(source, [{ start: 0, end: cut }, { start: cut + 0.5 }], rate, hop);
    const found = await SpeechSource.open(parts, rate, {}, false);
    let length = 0;
    for await (const chunk of found.chunks()) length += chunk.length;
    await found.release();
    expect(found.breaks).toHaveLength(1);
    const [at] = found.breaks;
    expect(at).toBeGreaterThan(rate);
    expect(at).toBeLessThan(length - rate);
    // An end at the border belongs to the first clip, a start to the second.
    const back = (isEnd: boolean) => parts.toRecording(found.toRecording(at / rate, isEnd), isEnd);
    expect(back(true)).toBeLessThanOrEqual(cut);
    expect(back(false)).toBeGreaterThanOrEqual(cut + 0.5 - 1e-9);
  });
});

describe('transcribing clips', () => {
  let whisper: Whisper;
  let batching: Whisper;
  let recording: Float32Array;
  /** The seconds in which the two sentences begin and end. */
  let first: { start: number; end: number };
  let second: { start: number; end: number };
  let texts: string[];
  const english = { language: 'en' } as const;
  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2 });
    batching = await Whisper.load(undefined, { dtype: 'float32', threads: 2, batch: 3 });
    const [one, two] = [await samplesOf(honey), await samplesOf(other)];
    recording = joined([silence(1), one, silence(1), two, silence(1), one, silence(1)]);
    first = { start: 0.5, end: 1.5 + one.length / rate };
    second = { start: 1.5 + one.length / rate, end: 2.5 + (one.length + two.length) / rate };
    texts = [];
    for (const samples of [one, two]) texts.push((await whisper.transcribe(samples, english)).text.trim());
  });
  afterAll(() => {
    whisper.dispose();
    batching.dispose();
  });

  const variants: [string, TranscribeOptions][] = [
    ['one after the other', {}],
    ['in batches', { batched: true, vad: false }],
    ['without silence', { vad: true }],
    ['in batches without silence', { batched: true, vad: true }],
    ['with words', { wordTimestamps: true }],
  ];

  it.each(variants)('transcribes only these, with times of the recording: %s', async (name, options) => {
    const model = name.includes('batches') ? batching : whisper;
    const one = await model.transcribe(recording, { ...english, ...options, clips: [second] });
    expect(one.text.trim()).toBe(texts[1]);
    expect(one.segments[0].start).toBeGreaterThanOrEqual(second.start);
    expect(one.segments[0].start).toBeLessThan(second.start + 1.2);
    expect(one.duration).toBeCloseTo(second.end, 1);
    // Each begins a separate window, although both would fit into one.
    const both = await model.transcribe(recording, { ...english, ...options, clips: [first, second] });
    expect(both.segments.map(({ text }) => text.trim()).join(' ')).toBe(texts.join(' '));
    expect(new Set(both.segments.map(({ seek }) => seek)).size).toBe(2);
    const last = both.segments.filter(({ start }) => start >= second.start);
    expect(
      last
        .map(({ text }) => text)
        .join('')
        .trim(),
    ).toBe(texts[1]);
    for (const { start, end, words = [] } of both.segments) {
      expect(end).toBeGreaterThan(start);
      for (const word of words) expect(word.start).toBeGreaterThanOrEqual(start - 0.01);
    }
  });

  it('streams them, and continues to the end after the last one', async () => {
    const segments: string[] = [];
    const processed: number[] = [];
    const clips = [first, { start: second.end }];
    const onProgress = (progress: { processed: number }) => processed.push(progress.processed);
    for await (const { text } of whisper.stream(recording, { ...english, clips, onProgress })) segments.push(text);
    expect(segments.join('').trim()).toBe(`${texts[0]} ${texts[0]}`);
    expect(processed).toEqual([...processed].sort((a, b) => a - b));
    expect(processed.at(-1)).toBeCloseTo(recording.length / rate, 1);
  });

  it('gives an empty text and a warning if the recording is shorter', async () => {
    const { text, warnings } = await whisper.transcribe(recording, { ...english, clips: [{ start: 900 }] });
    expect(text).toBe('');
    expect(warnings[0]).toContain('A clip begins at 900 s or later, but the recording ends at');
    for (const clips of [[], [{ start: 3, end: 2 }]]) {
      // Refused before anything is read, since there is no such file.
      await expect(whisper.transcribe('/no/such/file.wav', { ...english, clips })).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      });
    }
  });
});
