/** Text that is published during decoding: all pieces together are the result, even if windows are decoded again. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { WhisperTokenizer } from '../../lib/whisper/checkpoint/tokenizer.js';
import type { Decoding } from '../../lib/whisper/decoding/resolve.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import { RunningText } from '../../lib/whisper/transcription/running-text.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout, readAll, wavOf } from '../audio/support.js';

let whisper: Whisper;
beforeAll(async () => {
  whisper = await Whisper.load(undefined, { dtype: 'float32', threads: 2 });
});
afterAll(() => whisper.dispose());

const [long, mixed, short] = ['12_long_seen', '13_long_mixed', '00_seen'].map((name) => `${heldout}${name}.flac`);

async function running(audio: Parameters<Whisper['transcribe']>[0], options: TranscribeOptions = {}) {
  const pieces: string[] = [];
  const usual = { language: 'en', onText: (text: string) => pieces.push(text) };
  const result = await whisper.transcribe(audio, { ...usual, ...options });
  expect(pieces.join('')).toBe(result.text);
  expect(pieces.every((piece) => piece !== '')).toBe(true);
  return { pieces, result };
}

describe('running text', () => {
  it.each([
    ['one window', short, {}],
    ['many windows', long, {}],
    ['another voice', mixed, {}],
    ['many windows at once', long, { batched: true }],
    ['without timestamps', long, { timestamps: 'none' }],
    ['with words', long, { wordTimestamps: true }],
    ['behind a prefix', short, { prefix: ' Well' }],
    ['beams', short, { beamSize: 3 }],
    ['a guard against what is invented', long, { wordTimestamps: true, hallucinationSilenceThreshold: 1 }],
  ] as [string, string, TranscribeOptions][])('is the text of a transcription of %s', async (_, audio, options) => {
    const { pieces, result } = await running(audio, options);
    const { text } = await whisper.transcribe(audio, { language: 'en', ...options });
    expect(result.text).toBe(text);
    const whole = options.beamSize !== undefined || options.hallucinationSilenceThreshold !== undefined;
    const windows = new Set(result.segments.map(({ seek }) => seek)).size;
    if (whole) expect(pieces.length).toBeLessThanOrEqual(windows);
    else expect(pieces.length).toBeGreaterThan(options.prefix ? 0 : windows);
  });

  it('comes before a window is done', async () => {
    const order: string[] = [];
    await whisper.transcribe(short, {
      language: 'en',
      onText: () => order.push('text'),
      onProgress: () => order.push('window'),
    });
    expect(order.slice(0, 2)).toEqual(['text', 'text']);
    expect(order.at(-1)).toBe('window');
  });

  // Thresholds that each text fails at its end, although it passes them at its beginning.
  it.each([
    ['repeats itself', { compressionRatioThreshold: 0.95 }],
    ['is cut off in the middle', { maxNewTokens: 9 }],
    ['is cut off, and repeats itself', { maxNewTokens: 9, compressionRatioThreshold: 0.7 }],
    ['is cut off, with words', { maxNewTokens: 11, wordTimestamps: true }],
    ['is cut off, many at once', { maxNewTokens: 9, batched: true }],
    ['is drawn', { temperature: 0.7, bestOf: 1 }],
    ['is drawn several times', { temperature: 0.9, bestOf: 3 }],
    ['is taken for silence', { noSpeechThreshold: 1e-12, logProbabilityThreshold: 0 }],
  ] as [string, TranscribeOptions][])('stays where a text %s', async (_, options) => {
    for (const audio of [long, short]) {
      const { result } = await running(audio, options);
      for (const { tokens, words, start, end } of result.segments) {
        expect(tokens.length).toBeGreaterThan(0);
        expect(end).toBeGreaterThanOrEqual(start);
        if (options.wordTimestamps) expect(words!.length).toBeGreaterThan(0);
      }
    }
  });

  it('continues after the published text if a window is decoded again', async () => {
    const options = { compressionRatioThreshold: 0.8, topLogProbabilities: 2 };
    const { pieces, result } = await running(long, options);
    expect(result.segments.map(({ temperature }) => temperature)).toContain(1);
    expect(pieces.length).toBeGreaterThan(5);
    for (const { tokens, top_logprobs } of result.segments) expect(top_logprobs).toHaveLength(tokens.length);
  });

  it('keeps a segment of blanks that was published, so that the pieces remain the text', async () => {
    const { checkpoint } = whisper.model;
    const tokenizer = await checkpoint.tokenizer();
    const at = (seconds: number) => checkpoint.generation.timestampBegin + seconds * 50;
    const prefix = [at(0), ...tokenizer.encode(' We'), at(1), at(1), ...tokenizer.encode(' '), at(1.2), at(1.2)];
    const { pieces, result } = await running(short, { prefix });
    expect(pieces.length).toBeGreaterThan(1);
    expect(result.segments[0].text).toBe(' We');
    expect(result.segments[1].text).toBe(' ');
    expect(result.segments.length).toBeGreaterThan(2);
    const silent = await whisper.transcribe(short, { language: 'en', prefix });
    expect(silent.segments.every(({ text }) => text.trim() !== '')).toBe(true);
  });

  it('that is not the beginning of the result is completed from where they differ, with a warning', () => {
    const sent: string[] = [];
    const warnings: string[] = [];
    const texts = [' Hello.', ' ', ' World.', ' Again.'];
    const running = new RunningText({
      tokenizer: { decode: (tokens: number[]) => tokens.map((id) => texts[id]).join('') } as WhisperTokenizer,
      decoding: { logProbabilityThreshold: -1, noSpeechThreshold: 0.6, compressionRatioThreshold: 2.4 } as Decoding,
      endToken: 99,
      whole: false,
      onText: (text) => sent.push(text),
      warn: (sentence) => warnings.push(sentence),
    });
    const window = running.window();
    window.activate();
    window.show({ tokens: [0, 1, 2], logProbabilities: [-0.1, -0.1, -0.1], noSpeechProbability: 0 });
    running.finish(window, ' Hello. World. Again.');
    expect(sent).toEqual([' Hello.  World.', 'World. Again.']);
    expect(warnings).toEqual([expect.stringContaining('differs from the result')]);
  });

  it('of a stream begins when its first window has arrived', async () => {
    const wav = wavOf((await readAll(long)).samples);
    const half = Math.floor(wav.length / 2);
    let begin = () => {};
    const begun = new Promise<void>((resolve) => {
      begin = resolve;
    });
    async function* upload() {
      yield wav.subarray(0, half);
      await begun; // the rest comes when the first text did
      yield wav.subarray(half);
    }
    const result = await whisper.transcribe(upload(), { language: 'en', lookAhead: 0, onText: begin });
    expect(result.segments.length).toBeGreaterThan(5);
  });

  it('is not supported for separate channels', async () => {
    const refused = whisper.transcribe(short, { channels: 'separate', onText: () => {} });
    await expect(refused).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', argument: 'onText' });
  });
});
