/** Long recordings: window after window, several windows at once, and as streams. */
import { readFileSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { setTimeout } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { AudioInput } from '../../lib/audio/index.js';
import { errorRate, textErrors } from '../../lib/evaluate/errors.js';
import { normalizeEnglish } from '../../lib/evaluate/normalize.js';
import { readAhead } from '../../lib/whisper/transcription/ahead.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import type { PartialText, Segment } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout as folder, joined, samplesOf, wavOf } from '../audio/support.js';

const { files } = JSON.parse(readFileSync(`${folder}expected.json`, 'utf8')) as {
  files: { file: string; timestamps: { text: string } }[];
};
/** The text of a recording of the bundled model. */
const textOf = (name: string): string => files.find(({ file }) => file.startsWith(name))!.timestamps.text.trim();
const long = `${folder}12_long_seen.flac`;
const english = { language: 'en' } as const;

it('returns a window in batched mode while the next one is still being spoken', { timeout: 20_000 }, async () => {
  using whisper = await Whisper.load(undefined, { windows: 4, threads: 2 });
  const clip = await samplesOf('12_long_seen.flac');
  const wav = wavOf(joined([clip, clip]));
  const { samples: length } = whisper.model.checkpoint.preprocessor;
  const enough = 44 + 2 * Math.round(1.5 * length);
  let heard: () => void = () => {};
  const first = new Promise<void>((resolve) => {
    heard = resolve;
  });
  async function* speaker() {
    yield wav.subarray(0, enough);
    await first;
    yield wav.subarray(enough);
  }
  const texts: string[] = [];
  for await (const { text } of whisper.stream(speaker(), { ...english, batched: true, vad: false })) {
    heard();
    texts.push(text);
  }
  const whole = await whisper.transcribe(wav, { ...english, batched: true, vad: false });
  expect(texts.join('')).toBe(whole.text);
});

describe('long recordings', () => {
  let whisper: Whisper;
  let batching: Whisper;
  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2 });
    batching = await Whisper.load(undefined, { dtype: 'float32', threads: 2, batch: 3 });
  });
  afterAll(() => {
    whisper.dispose();
    batching.dispose();
  });

  async function streamed(audio: AudioInput, options: TranscribeOptions = {}): Promise<Segment[]> {
    const segments: Segment[] = [];
    for await (const segment of whisper.stream(audio, { ...english, ...options })) segments.push(segment);
    return segments;
  }
  const words = (segments: readonly Segment[]) =>
    segments
      .map(({ text }) => text)
      .join('')
      .trim();

  it('are normalized by their loudest sound in every window, also if they are shorter than one', async () => {
    const quiet = (samples: Float32Array) => samples.map((value) => value / 30);
    const pause = new Float32Array(4000);
    const [first, ...others] = await Promise.all(
      ['00_seen', '03_seen', '04_uns_es'].map((name) => samplesOf(`${name}.flac`)),
    );
    const samples = joined([first, pause, ...others.flatMap((clip) => [quiet(clip), pause])]);
    // The length limit cuts the text off, so that a second window begins at the last timestamp.
    const options = {
      ...english,
      maxNewTokens: 24,
      temperature: 0,
      rules: 'openai',
      windowPadding: 'silence',
    } as const;
    const longer = joined([samples, new Float32Array(12 * 16_000)]);
    const [short, long] = [await whisper.transcribe(samples, options), await whisper.transcribe(longer, options)];
    const second = (segments: readonly Segment[]) => segments.filter(({ seek }) => seek > 0);
    expect(second(short.segments).length).toBeGreaterThan(0);
    for (const [i, { text, avg_logprob }] of second(short.segments).entries()) {
      expect(text).toBe(second(long.segments)[i].text);
      expect(avg_logprob).toBeCloseTo(second(long.segments)[i].avg_logprob, 5);
    }
  });

  it('have the same complete text in every mode: sequential, batched, streamed, without silence', async () => {
    const sequential = await whisper.transcribe(long, english);
    expect(sequential.text.trim()).toBe(textOf('12_long_seen'));
    const others = {
      batched: (await batching.transcribe(long, { ...english, batched: true })).segments,
      'batched without vad': (await batching.transcribe(long, { ...english, batched: true, vad: false })).segments,
      'batched by one': (await whisper.transcribe(long, { ...english, batched: true })).segments,
      vad: (await whisper.transcribe(long, { ...english, vad: true })).segments,
      streamed: await streamed(long),
    };
    for (const [name, segments] of Object.entries(others)) {
      // Windows with other starts may change one word in ten; none is lost or repeated.
      const errors = textErrors(normalizeEnglish(sequential.text), normalizeEnglish(words(segments)));
      expect(errorRate(errors.words), name).toBeLessThan(0.1);
      expect(segments.map(({ id }) => id)).toEqual(segments.map((_, i) => i));
      expect(Math.abs(segments[0].start - sequential.segments[0].start), name).toBeLessThan(0.2);
      expect(Math.abs(segments.at(-1)!.end - sequential.segments.at(-1)!.end), name).toBeLessThan(0.5);
    }
  });

  it.each([{}, { batched: true }, { conditionOnPreviousText: true }])(
    'have the same text with every capacity: %o',
    async (options) => {
      const chosen = { ...english, wordTimestamps: true, ...options };
      const one = await whisper.transcribe(long, chosen);
      const other = await batching.transcribe(long, chosen);
      using single = await Whisper.load(undefined, { dtype: 'float32', threads: 2, windows: 1 });
      const third = await single.transcribe(long, chosen);
      for (const { text, segments } of [other, third]) {
        expect({ text, segments }).toEqual({ text: one.text, segments: one.segments });
      }
    },
  );

  it('have times of the recording if silence is removed', async () => {
    const speech = await samplesOf('02_seen.flac');
    const samples = new Float32Array(speech.length + 60 * 16000);
    samples.set(speech, 41 * 16000);
    const alone = await whisper.transcribe(speech, english);
    const { segments, duration } = await whisper.transcribe(samples, { ...english, vad: true });
    expect(words(segments)).toBe(alone.text.trim());
    expect(duration).toBeCloseTo(samples.length / 16000, 3);
    expect(segments[0].start).toBeCloseTo(41 + alone.segments[0].start, 0);
    expect(segments[0].end).toBeCloseTo(41 + alone.segments[0].end, 0);
    expect((await batching.transcribe(samples, { ...english, batched: true })).segments[0].start).toBeCloseTo(
      segments[0].start,
      0,
    );
  });

  it.each([{ vad: true }, { batched: true }, { batched: true, vad: false }])(
    'of silence, hum and noise give no words: %o',
    async (options) => {
      const length = 12 * 16000;
      const sounds = {
        silence: () => 0,
        hum: (i: number) => 0.1 * Math.sin((2 * Math.PI * 50 * i) / 16000),
        noise: (i: number) => 0.02 * Math.sin(i * i * 12.9898),
      };
      for (const sound of Object.values(sounds)) {
        const samples = Float32Array.from({ length }, (_, i) => sound(i));
        expect(await whisper.transcribe(samples, { ...english, ...options })).toMatchObject({ text: '', duration: 12 });
      }
    },
  );

  it('yield their first segments before the audio has ended', async () => {
    const bytes = await readFile(long);
    let ended = false;
    async function* slow() {
      // Three quarters at once, the rest after the first segment has arrived.
      yield bytes.subarray(0, bytes.length * 0.75);
      while (!heard) await setTimeout(5);
      yield bytes.subarray(bytes.length * 0.75);
      ended = true;
    }
    let heard = false;
    const texts: string[] = [];
    for await (const { text } of whisper.stream(slow(), english)) {
      if (texts.length === 0) expect(ended).toBe(false);
      heard = true;
      texts.push(text);
    }
    expect(texts.join('').trim()).toBe(textOf('12_long_seen'));
  });

  it('show the text of the window in progress', async () => {
    const partials: PartialText[] = [];
    const segments = await streamed(long, { onPartial: (partial) => partials.push(partial) });
    const first = partials.filter(({ start }) => start === 0).map(({ text }) => text);
    expect(first.length).toBeGreaterThan(1);
    first.forEach((text, i) => {
      if (i > 0) expect(text.startsWith(first[i - 1])).toBe(true);
    });
    expect(segments[0].text.startsWith(first[0].slice(0, 8))).toBe(true);
  });

  it('show the text so far of an incomplete window', async () => {
    const partials: PartialText[] = [];
    await streamed(`${folder}02_seen.flac`, { onPartial: (partial) => partials.push(partial), partialInterval: 1 });
    expect(partials.at(-1)!.text.trim()).toBe(textOf('02_seen'));
    const short = partials.some(({ text }) => text.length < textOf('02_seen').length);
    expect(short).toBe(true);
  });

  it('end with their consumer, and leave the stream to its owner', async () => {
    let closed = false;
    const bytes = await readFile(long);
    const source = new ReadableStream<Uint8Array>({
      start(controller) {
        controller.enqueue(new Uint8Array(bytes)); // and then nothing more, for ever
      },
      cancel() {
        closed = true;
      },
    });
    for await (const _ of whisper.stream(source, english)) break;
    expect(closed).toBe(false);
    await source.cancel();
    expect(closed).toBe(true);
    expect(await whisper.transcribe(`${folder}02_seen.flac`, english)).toHaveProperty('text');
  });

  it.each([false, true])('end when they take too long, and when aborted; batched: %s', async (batched) => {
    const options = { ...english, batched };
    await expect(whisper.transcribe(long, { ...options, timeout: 30 })).rejects.toMatchObject({ code: 'TIMED_OUT' });
    await expect(streamed(long, { ...options, timeout: 30 })).rejects.toMatchObject({ code: 'TIMED_OUT' });
    const signal = AbortSignal.timeout(40);
    await expect(whisper.transcribe(long, { ...options, signal })).rejects.toThrow('aborted');
    expect((await whisper.transcribe(long, options)).text.trim()).toBe(textOf('12_long_seen'));
  });

  it('report progress up to the end', async () => {
    for (const options of [{}, { batched: true }, { vad: true }]) {
      const seen: number[] = [];
      await whisper.transcribe(long, { ...english, ...options, onProgress: ({ processed }) => seen.push(processed) });
      expect(seen).toEqual([...seen].sort((a, b) => a - b));
      expect(seen.at(-1)).toBeGreaterThan(29);
    }
  });

  it('support prompts, beams and fallback in batches, or refuse them', async () => {
    const options = {
      ...english,
      batched: true,
      beamSize: 2,
      hotwords: 'library',
      prompt: 'A talk.',
      carryPrompt: true,
    };
    const { text } = await batching.transcribe(long, options);
    expect(text.trim().split(' ').length).toBeGreaterThan(30);
    const refused = batching.transcribe(long, { ...english, batched: true, conditionOnPreviousText: true });
    await expect(refused).rejects.toThrow('leave it out, or set batched to false');
    await expect(whisper.transcribe(long, { ...english, timeout: -1 })).rejects.toThrow('Expected timeout to be');
  });
});

describe('reading ahead', () => {
  async function* numbers(count: number, seen: number[]) {
    for (let i = 0; i < count; ++i) {
      seen.push(i);
      yield i;
    }
  }
  it('gives the same samples, and is limited', async () => {
    const seen: number[] = [];
    const got: number[] = [];
    for await (const value of readAhead(numbers(20, seen), 4, () => 1)) {
      await setTimeout(1);
      got.push(value);
      expect(seen.length - got.length).toBeLessThanOrEqual(4);
    }
    expect(got).toEqual(Array.from({ length: 20 }, (_, i) => i));
  });

  it('passes errors on, after the samples before them', async () => {
    const got: number[] = [];
    async function* failing() {
      yield 1;
      throw new Error('broken');
    }
    const read = async () => {
      for await (const value of readAhead(failing(), 9, () => 1)) got.push(value);
    };
    await expect(read()).rejects.toThrow('broken');
    expect(got).toEqual([1]);
  });
});
