/** A recording with a speaker on each channel. */
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { formats } from '../../lib/formats/index.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import type { PartialText, Segment } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { joined, samplesOf } from '../audio/support.js';
import { referenceFolder } from './stored.js';

const rate = 16000;
const english = { language: 'en' } as const;
const quiet = (seconds: number) => new Float32Array(Math.round(seconds * rate));
const seconds = ({ length }: Float32Array) => length / rate;

/**
 * A WAV stream of two channels that repeats these samples for `length` seconds, and the number of seconds that were
 * read.
 */
function endless(length: number, [left, right]: Float32Array[]) {
  const state = { read: 0 };
  async function* bytes() {
    const head = Buffer.alloc(44);
    head.write('RIFF\xff\xff\xff\xffWAVEfmt ', 0, 'latin1');
    head.writeUInt32LE(16, 16);
    head.writeUInt16LE(1, 20);
    head.writeUInt16LE(2, 22);
    head.writeUInt32LE(rate, 24);
    head.writeUInt32LE(rate * 4, 28);
    head.writeUInt16LE(4, 32);
    head.writeUInt16LE(16, 34);
    head.write('data\xff\xff\xff\xff', 36, 'latin1');
    yield head;
    for (; state.read < length; ++state.read) {
      const chunk = new Int16Array(2 * rate);
      for (let i = 0; i < rate; ++i) {
        const place = (state.read * rate + i) % left.length;
        chunk[2 * i] = 32767 * left[place];
        chunk[2 * i + 1] = 32767 * right[place];
      }
      yield new Uint8Array(chunk.buffer);
    }
  }
  return { stream: bytes(), state };
}

describe('a call', () => {
  let whisper: Whisper;
  let batching: Whisper;
  let honey: Float32Array;
  let charlie: Float32Array;
  let texts: string[];
  /** Two speakers in turn: honey on channel 0, charlie on channel 1, honey again. */
  let call: { samples: Float32Array[]; sampleRate: number };
  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2 });
    batching = await Whisper.load(undefined, { dtype: 'float32', threads: 2, batch: 3 });
    [honey, charlie] = [await samplesOf('02_seen.flac'), await samplesOf('01_seen.flac')];
    texts = [];
    for (const one of [honey, charlie]) texts.push((await whisper.transcribe(one, english)).text.trim());
    const [first, second] = [seconds(honey), seconds(charlie)];
    call = {
      samples: [
        joined([quiet(1), honey, quiet(second + 5), honey, quiet(1)]),
        joined([quiet(first + 3), charlie, quiet(first + 4)]),
      ],
      sampleRate: rate,
    };
  });
  afterAll(() => {
    whisper.dispose();
    batching.dispose();
  });

  const spoken = (segments: readonly Segment[]) => segments.map(({ channel, text }) => [channel, text.trim()]);
  const inTurn = () => [
    [0, texts[0]],
    [1, texts[1]],
    [0, texts[0]],
  ];

  it.each<[string, TranscribeOptions]>([
    ['one window after the other', {}],
    ['many windows at once', { batched: true }],
    ['with words', { wordTimestamps: true }],
  ])('is one result in order of time: %s', async (name, options) => {
    const model = name.includes('many') ? batching : whisper;
    const result = await model.transcribe(call, { ...english, channels: 'separate', ...options });
    expect(spoken(result.segments)).toEqual(inTurn());
    expect(result.segments.map(({ id }) => id)).toEqual([0, 1, 2]);
    expect(result.text.trim()).toBe([texts[0], texts[1], texts[0]].join(' '));
    expect(result.language).toBe('en');
    expect(result.duration).toBeCloseTo(seconds(call.samples[0]), 1);
    const [, second, third] = result.segments;
    expect(Math.abs(second.start - (seconds(honey) + 3))).toBeLessThan(0.6);
    expect(Math.abs(third.start - (seconds(honey) + seconds(charlie) + 6))).toBeLessThan(0.6);
    for (const { channel, words } of result.segments) {
      expect(words === undefined).toBe(!options.wordTimestamps);
      for (const word of words ?? []) expect(word.channel).toBe(channel);
    }
    const channelNames = ['Agent', 'Customer'];
    expect(formats.vtt.write(result, { channelNames })).toContain(`<v Customer>${texts[1]}`);
    expect(formats.srt.write(result, { channelNames })).toContain(`Agent: ${texts[0]}`);
  });

  it('with one silent channel gives the result of the other one, without text for silence or hum', async () => {
    const [own] = call.samples;
    for (const other of [quiet(seconds(own)), Float32Array.from(own, (_, i) => 5e-5 * Math.sin(i))]) {
      for (const vad of [undefined, false]) {
        const options = { ...english, channels: 'separate', vad } as const;
        const { segments } = await whisper.transcribe({ samples: [own, other], sampleRate: rate }, options);
        expect(spoken(segments)).toEqual([inTurn()[0], inTurn()[2]]);
      }
    }
    const both = { samples: [quiet(12), quiet(12)], sampleRate: rate };
    const silent = await whisper.transcribe(both, { channels: 'separate' });
    expect(silent).toMatchObject({ text: '', segments: [], duration: 12 });
  });

  it('is transcribed from chosen channels, and in clips', async () => {
    const one = await whisper.transcribe(call, { ...english, channels: [1] });
    expect(one.text.trim()).toBe(texts[1]);
    expect(one.segments[0].channel).toBeUndefined();
    const clips = [{ start: 0, end: seconds(honey) + seconds(charlie) + 4 }];
    const { segments, duration } = await whisper.transcribe(call, { ...english, channels: 'separate', clips });
    expect(spoken(segments)).toEqual(inTurn().slice(0, 2));
    expect(duration).toBeCloseTo(clips[0].end, 1);
    await expect(whisper.transcribe(call, { ...english, channels: [2] })).rejects.toThrow('channels 0 to 1');
  });

  it('is streamed in order of time, with progress and partial texts', async () => {
    const segments: Segment[] = [];
    const partials: PartialText[] = [];
    const progress: number[] = [];
    const options: TranscribeOptions = {
      ...english,
      channels: 'separate',
      onPartial: (partial) => partials.push(partial),
      onProgress: ({ processed }) => progress.push(processed),
    };
    for await (const segment of whisper.stream(call, options)) segments.push(segment);
    expect(spoken(segments)).toEqual(inTurn());
    expect(new Set(partials.map(({ channel }) => channel))).toEqual(new Set([0, 1]));
    expect(progress).toEqual([...progress].sort((a, b) => a - b));
    expect(progress.at(-1)).toBeCloseTo(seconds(call.samples[0]), 1);
  });

  it('yields segments while one side is silent, and is not read far ahead of its consumer', async () => {
    const { stream, state } = endless(3600, call.samples);
    const segments: Segment[] = [];
    for await (const segment of whisper.stream(stream, { ...english, channels: 'separate' })) {
      segments.push(segment);
      await setTimeout(20);
      if (segments.length === 3) break;
    }
    expect(spoken(segments)).toEqual(inTurn());
    expect(state.read).toBeLessThan(300);
  });

  it('fails as a whole if it is aborted or its stream fails', async () => {
    const controller = new AbortController();
    const options = { ...english, channels: 'separate', signal: controller.signal } as const;
    const onPartial = () => controller.abort(new Error('enough'));
    await expect(whisper.transcribe(call, { ...options, onPartial })).rejects.toThrow('enough');
    await expect(whisper.transcribe(call, { ...english, channels: 'separate', timeout: 1 })).rejects.toMatchObject({
      code: 'TIMED_OUT',
    });
    const failing = () => {
      throw new Error('broken');
    };
    await expect(whisper.transcribe(call, { ...english, channels: 'separate', onPartial: failing })).rejects.toThrow(
      'broken',
    );
    for await (const _ of whisper.stream(call, { ...english, channels: 'separate' })) break;
    expect((await whisper.transcribe(honey, english)).text.trim()).toBe(texts[0]);
  });
});

it('each channel has its own detected language', async () => {
  const whisper = await Whisper.load(`${referenceFolder}suppress`, { threads: 2 });
  const noise = (step: number) => Float32Array.from({ length: 2 * rate }, (_, i) => 0.5 * Math.sin(i * i * step));
  const audio = { samples: [noise(1e-6), noise(3e-6)], sampleRate: rate };
  const options: TranscribeOptions = {
    channels: 'separate',
    vad: false,
    temperature: 0,
    noSpeechThreshold: null,
    noSpeechRule: 'openai',
    timestamps: 'none',
  };
  const detected = await whisper.transcribe(audio, options);
  expect(new Set(detected.segments.map(({ channel }) => channel))).toEqual(new Set([0, 1]));
  for (const { language } of detected.segments) expect(language).toMatch(/^[a-z]{2,3}$/);
  expect(detected.segments.map(({ language }) => language)).toContain(detected.language);
  const given = await whisper.transcribe(audio, { ...options, language: 'en' });
  for (const { language } of given.segments) expect(language).toBeUndefined();
  whisper.dispose();
});
