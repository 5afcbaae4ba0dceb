/** Calls that cannot succeed: invalid ones, those that fail in the middle, and those whose model is disposed. */
import { getEventListeners } from 'node:events';
import { createReadStream } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { Readable } from 'node:stream';
import { setTimeout as setTimeoutPromise } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import { OneheadError } from '../../lib/errors.js';
import { windowPrompt } from '../../lib/whisper/decoding/prompt.js';
import { TranscriptionError } from '../../lib/whisper/transcription/failure.js';
import { firstTokens, lastTokens } from '../../lib/whisper/transcription/prompt-tokens.js';
import type { Segment } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout, joined, readAll } from '../audio/support.js';

const long = `${heldout}12_long_seen.flac`;
const english = { language: 'en' } as const;

/** A recording whose stream fails after a part of its bytes. */
async function* broken(part: number) {
  const bytes = await readFile(long);
  yield bytes.subarray(0, bytes.length * part);
  throw new Error('the line is dead');
}

/** A recording whose stream stays open without any data. */
async function* stalled() {
  yield (await readFile(long)).subarray(0, 100);
  await new Promise(() => {});
}

describe('calls', () => {
  let whisper: Whisper;
  let longSamples: Float32Array;
  beforeAll(async () => {
    longSamples = (await readAll(long)).samples;
    whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2 });
  });
  afterAll(() => whisper.dispose());

  it.each([{}, { batched: true }, { vad: true }])(
    'that fail on the way carry what was finished: %o',
    async (options) => {
      const whole = await whisper.transcribe(long, { ...english, ...options });
      const error = await whisper
        .transcribe(broken(0.75), { ...english, ...options })
        .catch((reason: unknown) => reason);
      expect(error).toBeInstanceOf(TranscriptionError);
      const { code, message, cause, partial } = error as TranscriptionError;
      expect({ code, incomplete: partial.incomplete }).toEqual({ code: 'AUDIO_INVALID', incomplete: true });
      expect(message).toContain('the line is dead');
      expect((cause as OneheadError).message).toBe(message);
      expect(partial.warnings.at(-1)).toBe(message);
      expect(partial.text.slice(0, 40)).toBe(whole.text.slice(0, 40));
      expect(partial.duration).toBeGreaterThan(0.6 * whole.duration);
      expect(partial.duration).toBeLessThan(0.9 * whole.duration);
      expect(partial.segments.map(({ id }) => id)).toEqual(partial.segments.map((_, i) => i));
    },
  );

  it('that are too long report the windows in progress', async () => {
    const { duration } = await whisper.transcribe(long, english);
    const options = { ...english, batched: true, vad: false, maxDuration: 0.75 * duration };
    const error = await whisper.transcribe(long, options).catch((reason: unknown) => reason);
    expect(error).toBeInstanceOf(TranscriptionError);
    const { code, partial } = error as TranscriptionError;
    expect({ code, incomplete: partial.incomplete }).toEqual({ code: 'AUDIO_TOO_LONG', incomplete: true });
    expect(partial.segments.length).toBeGreaterThan(0);
    expect(partial.text.length).toBeGreaterThan(20);
  });

  it('are rejected one by one if many streams fail before their turn, and the process stays alive', async () => {
    const calls = Array.from({ length: 100 }, () => whisper.transcribe(createReadStream(`${heldout}nowhere.wav`)));
    for (const { status, reason } of (await Promise.allSettled(calls)) as PromiseRejectedResult[]) {
      expect({ status, code: reason.code }).toEqual({ status: 'rejected', code: 'AUDIO_INVALID' });
      expect(reason.message).toContain('there is no such file or folder');
    }
  });

  it('are rejected if their stream has failed, and the process stays alive if it tells so later', async () => {
    const uncaught = vi.fn();
    process.on('uncaughtException', uncaught);
    const stream = new Readable({ read() {}, destroy: (error, done) => void setTimeout(done, 50, error) });
    stream.destroy(new Error('the line is dead'));
    await expect(whisper.transcribe(stream, english)).rejects.toThrow('the line is dead');
    expect(stream.closed).toBe(false);
    await vi.waitFor(() => expect(stream.closed).toBe(true));
    await setTimeoutPromise(10);
    process.removeListener('uncaughtException', uncaught);
    expect(uncaught).not.toHaveBeenCalled();
    expect(stream.listenerCount('error')).toBe(0);
  });

  it('that fail before anything is finished reject with the original error', async () => {
    const reason = new OneheadError('TIMED_OUT', 'Enough.');
    const options = { ...english, signal: AbortSignal.abort(reason) };
    await expect(whisper.transcribe(long, options)).rejects.toBe(reason);
    await expect(whisper.transcribe(broken(0), english)).rejects.not.toBeInstanceOf(TranscriptionError);
  });

  it('that their caller aborts reject with the caller’s reason', async () => {
    const controller = new AbortController();
    const reason = new OneheadError('TIMED_OUT', 'Enough.');
    const onProgress = () => controller.abort(reason);
    const call = whisper.transcribe(long, { ...english, signal: controller.signal, onProgress });
    await expect(call).rejects.toBe(reason);
  });

  it.each([null, 0, 1, 5, 20])('that are aborted destroy their stream: after %s ms', async (delay) => {
    const controller = new AbortController();
    const reason = new Error('enough');
    let cancelled = 0;
    const web = () => new ReadableStream<Uint8Array>({ cancel: () => void cancelled++ });
    const streams = [createReadStream(long), new Readable({ read() {} })];
    if (delay === null) controller.abort(reason);
    const calls = [...streams, web(), new Response(web())].map((audio) =>
      whisper.transcribe(audio, { ...english, signal: controller.signal }),
    );
    if (delay !== null) setTimeout(() => controller.abort(reason), delay);
    const ended = await Promise.allSettled(calls);
    expect(ended).toEqual(calls.map(() => ({ status: 'rejected', reason })));
    expect(streams.map(({ destroyed }) => destroyed)).toEqual([true, true]);
    expect(cancelled).toBe(2);
  });

  it('may share a signal, however many they are, without a warning of a leak', async () => {
    const warnings: Error[] = [];
    const onWarning = (warning: Error) => warnings.push(warning);
    process.on('warning', onWarning);
    const { signal } = new AbortController();
    const samples = longSamples.subarray(0, 16_000);
    await Promise.all(Array.from({ length: 12 }, () => whisper.transcribe(samples, { ...english, signal })));
    await Promise.all(
      Array.from({ length: 12 }, () => whisper.transcribe(stalled(), { signal, timeout: 20 }).catch(() => {})),
    );
    const lives = await Promise.all(Array.from({ length: 12 }, () => whisper.live({ ...english, signal })));
    await Promise.all(lives.map((live) => live.close()));
    await Promise.all(Array.from({ length: 12 }, () => whisper.model.features(samples, signal)));
    process.removeListener('warning', onWarning);
    expect(warnings).toEqual([]);
    expect(getEventListeners(signal, 'abort')).toEqual([]);
  });

  it('yield segments before the error if they are streamed', async () => {
    const segments: Segment[] = [];
    const read = async () => {
      for await (const segment of whisper.stream(broken(0.75), english)) segments.push(segment);
    };
    await expect(read()).rejects.toMatchObject({ code: 'AUDIO_INVALID' });
    expect(segments.length).toBeGreaterThan(0);
  });

  it.each([
    ['break', {}],
    ['break', { batched: true }],
    ['throw', { batched: true }],
    ['return', { batched: true, vad: false, onText: () => {} }],
  ])('that are left early by %s leave nothing under way: %o', async (how, options) => {
    const samples = joined(Array.from({ length: 4 }, () => longSamples));
    const windows = samples.length / whisper.model.checkpoint.preprocessor.samples;
    const before = whisper.figures().windows;
    const leave = async () => {
      for await (const _ of whisper.stream({ samples, sampleRate: 16_000 }, { ...english, ...options })) {
        if (how === 'break') break;
        if (how === 'throw') throw new Error('enough');
        return;
      }
    };
    if (how === 'throw') await expect(leave()).rejects.toThrow('enough');
    else await leave();
    const underWay = () => {
      const { requests, waiting, rows, positions } = whisper.figures();
      return [requests, waiting.windows, waiting.searches, rows.used, positions.used];
    };
    await vi.waitFor(() => expect(underWay()).toEqual([0, 0, 0, 0, 0]), { timeout: 10_000, interval: 5 });
    // Windows that wait for a buffer must not begin later either. One may have been in the encoder.
    const ended = whisper.figures().windows;
    await setTimeoutPromise(200);
    const begun = whisper.figures().windows;
    expect(begun).toBeLessThanOrEqual(ended + 1);
    await setTimeoutPromise(300);
    expect(underWay()).toEqual([0, 0, 0, 0, 0]);
    expect(whisper.figures().windows).toBe(begun);
    expect(begun - before).toBeLessThan(windows - 1);
  });

  it('are refused before anything is read', async () => {
    let read = false;
    async function* untouched() {
      read = true;
      yield new Uint8Array(1);
    }
    const wrong: object[] = [
      { beam_size: 5 },
      { language: 'klingon' },
      { maxNewTokens: 5000 },
      { clips: [{ start: 3, end: 2 }] },
      { hallucinationSilenceThreshold: 2 },
      { batched: true, conditionOnPreviousText: true },
      { prompt: [1_000_000] },
      { onWarning: 'log' },
    ];
    for (const options of wrong) {
      await expect(whisper.transcribe(untouched(), options)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
      await expect(whisper.stream(untouched(), options).next()).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
    }
    const detect = whisper.detectLanguage(untouched(), { language: 'en' } as object);
    await expect(detect).rejects.toThrow("There is no option 'language' of detectLanguage");
    expect(read).toBe(false);
    await expect(Whisper.load({ device: 'cpu' } as never)).rejects.toThrow('followed by options');
    await expect(Whisper.load(undefined, { compute_type: 'int8' } as object)).rejects.toThrow("set 'dtype'");
  });

  it('quote little of their input', async () => {
    const much = 'x'.repeat(100_000);
    const wrong: object[] = [
      { [much]: 1 },
      ...['language', 'task', 'timestamps', 'suppressTokens', 'temperature', 'channels', 'vad'].map((name) => ({
        [name]: much,
      })),
    ];
    for (const options of wrong) {
      const error = await whisper.transcribe(long, options).catch((reason: unknown) => reason);
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' });
      expect((error as OneheadError).message).not.toContain('x'.repeat(200));
      expect((error as OneheadError).received ?? '').not.toContain('x'.repeat(200));
    }
  });

  it('accept null for absent options', async () => {
    const usual = await whisper.transcribe(`${heldout}02_seen.flac`, english);
    const options = { ...english, beamSize: null, noSpeechThreshold: null, prompt: null, vad: null, timeout: null };
    const { timings, ...rest } = await whisper.transcribe(`${heldout}02_seen.flac`, options);
    expect(rest).toEqual({ ...usual, timings: undefined });
  });

  it('leave room for the text if prompts and lengths are long', async () => {
    const { config, generation } = whisper.model.checkpoint;
    const most = config.targetPositions - 3;
    const prompt = 'A talk about the library and the garden. '.repeat(200);
    for (const options of [
      { conditionOnPreviousText: true, maxNewTokens: most },
      { prompt, carryPrompt: true, conditionOnPreviousText: true },
      { prompt, hotwords: prompt, carryPrompt: true },
      { prompt, prefix: prompt, maxNewTokens: most },
    ]) {
      const { text } = await whisper.transcribe(long, { ...english, ...options, temperature: 0 });
      expect(text).not.toBe('');
    }
    const many = Array.from({ length: 1000 }, (_, i) => i % 100);
    const options = { language: 'en', task: 'transcribe', timestamps: 'segment' } as const;
    const filled = windowPrompt(generation, config.targetPositions, options, { previous: many });
    expect(filled.startIndex).toBe(Math.floor(config.targetPositions / 2));
    for (const limits of [{}, { maxNewTokens: most }, { minNewTokens: 100 }]) {
      const both = windowPrompt(generation, config.targetPositions, options, { previous: many, prefix: many }, limits);
      const left = config.targetPositions - both.prompt.length - both.prefix.length;
      expect(left).toBeGreaterThanOrEqual(Math.min(config.targetPositions / 4, limits.minNewTokens ?? 1e9));
    }
  });
});

describe('given text', () => {
  it('may look like special tokens, which are plain characters unless they are allowed', async () => {
    const whisper = await Whisper.load();
    const { generation } = whisper.model.checkpoint;
    const tokenizer = await whisper.model.checkpoint.tokenizer();
    whisper.dispose();
    for (const text of [' say <|endoftext|> now', '<|en|><|0.00|>', ' a<|', ' <|startofprev|>']) {
      const tokens = tokenizer.encode(text);
      expect(tokens.every((id) => tokenizer.isText(id))).toBe(true);
      expect(tokenizer.decode(tokens)).toBe(text);
    }
    expect(tokenizer.encode('<|endoftext|>', { special: true })).toEqual([generation.endToken]);
    expect(tokenizer.encode(' plain words', { special: true })).toEqual(tokenizer.encode(' plain words'));
  });

  it('is encoded only as far as it is used', async () => {
    const whisper = await Whisper.load();
    const tokenizer = await whisper.model.checkpoint.tokenizer();
    whisper.dispose();
    const encode = (text: string) => tokenizer.encode(text);
    let seen = 0;
    const counted = (text: string) => {
      seen += text.length;
      return encode(text);
    };
    const sentences = ['The rain, it falls: 24 hours!', "don't stop", 'größer als 3,5 %', '東京に行く。', 'a\n\nb  c'];
    const text = Array.from({ length: 1500 }, (_, i) => sentences[(i * 7) % 5]).join(' ');
    const whole = encode(` ${text}`);
    for (const count of [1, 10, 223]) {
      expect(lastTokens(text, count, counted)).toEqual(whole.slice(-count));
      expect(firstTokens(text, count, counted)).toEqual(whole.slice(0, count));
    }
    for (const megabyte of ['word '.repeat(2e5), 'x'.repeat(1e6), '語'.repeat(1e6), `a${' '.repeat(1e6)}b`]) {
      seen = 0;
      expect(lastTokens(megabyte, 223, counted).length).toBeGreaterThan(0);
      expect(firstTokens(megabyte, 223, counted).length).toBeGreaterThan(0);
      expect(seen).toBeLessThan(3e5);
    }
    expect(lastTokens('  ', 9, encode)).toEqual([]);
    expect(lastTokens([1, 2, 3], 2, encode)).toEqual([2, 3]);
    expect(firstTokens([1, 2, 3], 0, encode)).toEqual([]);
  });
});

describe('dispose', () => {
  const disposed = { code: 'DISPOSED', message: 'This model has been disposed; load it again.' };

  it('rejects every running call, and every later one, with a sentence about the model', async () => {
    const whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 1 });
    const { model } = whisper;
    const features = await model.features(new Float32Array(160_000));
    const encoded = await model.encode(features);
    const calls = {
      transcribe: () => whisper.transcribe(long, english),
      'transcribe separate channels': () => whisper.transcribe(long, { ...english, channels: 'separate' }),
      'transcribe a stream': () => whisper.transcribe(stalled(), english),
      stream: () => whisper.stream(long, english).next(),
      detectLanguage: () => whisper.detectLanguage(stalled()),
      features: () => model.features(new Float32Array(160_000)),
      encode: () => model.encode(features),
      logits: () => model.logits(encoded, [1, 2, 3]),
      generate: () => model.generate(encoded, { ...english, minNewTokens: 100, maxNewTokens: 100 }),
      decode: () => model.decode(encoded, { ...english, beamSize: 2, wordTimestamps: true }),
      'detect the language of features': () => model.detectLanguage(encoded),
      languageProbabilities: () => model.languageProbabilities(encoded),
    };
    const running = Object.entries(calls).map(async ([name, call]) => [name, await call().catch((e: unknown) => e)]);
    await new Promise((resolve) => setTimeout(resolve, 20));
    whisper.dispose();
    const results = Object.fromEntries(await Promise.all(running)) as Record<string, unknown>;
    // Calls that ended before the disposal do not matter here.
    const failed = Object.entries(results).filter(([, result]) => result instanceof Error);
    for (const [name, error] of failed) expect(error, name).toMatchObject(disposed);
    expect(failed.map(([name]) => name)).toEqual(expect.arrayContaining(['transcribe a stream', 'detectLanguage']));
    for (const call of Object.values(calls)) await expect(call()).rejects.toMatchObject(disposed);
  });

  it('in the middle of a recording keeps the finished part', async () => {
    const whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2 });
    const error = await whisper
      .transcribe(long, { ...english, onProgress: () => whisper.dispose() })
      .catch((reason: unknown) => reason);
    expect(error).toMatchObject({ ...disposed, partial: { incomplete: true } });
    expect((error as TranscriptionError).partial.segments.length).toBeGreaterThan(0);
  });
});
