/** Speech that no segment covers is decoded again from its start, and reported if it gives no text. */
import { afterAll, beforeAll, describe, expect, it, vi } from 'vitest';
import type { WindowResult } from '../../lib/whisper/decoding/windows.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import { repeats } from '../../lib/whisper/transcription/recovery.js';
import { Whisper } from '../../lib/whisper/whisper.js';

/** A detector for which everything loud is speech. */
vi.mock('../../lib/vad/detector.js', () => ({
  openDetector: async () => ({
    frame: 480,
    probabilities: (samples: Float32Array) =>
      Array.from({ length: samples.length / 480 }, (_, i) => Number(Math.abs(samples[480 * i + 7]) > 0.05)),
    close: () => {},
  }),
}));

describe('a recovered text', () => {
  it('repeats its neighbour if it is its beginning or its end', () => {
    expect(repeats(' Good night.', ' We say good night')).toBe(true);
    expect(repeats('We say,', 'We say good night')).toBe(true);
    expect(repeats('say good', 'We say good night')).toBe(false);
    expect(repeats('Good night, all', 'We say good night')).toBe(false);
    expect(repeats(' ...', 'We say')).toBe(true);
  });
});

describe('speech that no segment covers', () => {
  let whisper: Whisper;
  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { device: 'cpu', dtype: 'float32', threads: 2, windows: 2 });
  });
  afterAll(() => whisper?.dispose());

  /** Seconds of speech in a recording of 20 s. */
  type Speech = [number, number][];
  /** The segments: start, end and text. */
  type Text = [number, number, string][];

  /** The texts of windows by their start in seconds; all others have none. */
  async function transcribed(
    speech: Speech,
    windows: Record<number, Text | (Partial<WindowResult> & { text: Text })>,
    options: TranscribeOptions = {},
  ) {
    const { checkpoint } = whisper.model;
    const tokenizer = await checkpoint.tokenizer();
    const time = (seconds: number) => checkpoint.generation.timestampBegin + Math.round(seconds / 0.02);
    const begun: [number, number][] = [];
    const decode = vi.spyOn(whisper.model, 'decodeWindow').mockImplementation(async (_, __, own) => {
      const begin = (own.seed ?? 0) / 100;
      begun.push([begin, own.frames! / 50]);
      // The detector's frames are 30 ms.
      const near = Object.keys(windows).find((key) => Math.abs(Number(key) - begin) < 0.05);
      const given = windows[Number(near)] ?? [];
      const { text, ...more } = Array.isArray(given) ? { text: given } : given;
      const tokens = text.flatMap(([from, to, words]) => [time(from), ...tokenizer.encode(words), time(to)]);
      const attempt: WindowResult = {
        tokens,
        logProbabilities: [...tokens.map(() => -0.1), -0.1],
        sum: -1,
        ended: true,
        noSpeechProbability: 0,
        temperature: 0,
        averageLogProbability: -0.1,
        compressionRatio: 1,
        language: 'en',
        ...more,
      };
      return { attempt, timings: { queue: 0, encode: 0, decode: 0 } };
    });
    try {
      const samples = new Float32Array(20 * 16000);
      for (const [from, to] of speech) samples.fill(0.1, from * 16000, to * 16000);
      const usual = { batched: false, vad: false, language: 'en' } as const;
      const { segments, warnings, incomplete } = await whisper.transcribe(samples, { ...usual, ...options });
      expect(incomplete).toBe(false);
      return { begun, warnings, segments: segments.map(({ start, end, text }) => [start, end, text.trim()]) };
    } finally {
      decode.mockRestore();
    }
  }

  const tail: Speech = [
    [0, 4],
    [6, 9],
  ];
  const first: Text = [[0, 4, ' Move left.']];

  it('at the end of a window starts the next window', async () => {
    const { begun, segments, warnings } = await transcribed(tail, { 0: first, 5.7: [[0.3, 3.3, ' Turn right.']] });
    expect(segments).toEqual([
      [0, 4, 'Move left.'],
      [6.02, 9.02, 'Turn right.'],
    ]);
    expect(begun).toEqual([
      [0, 10],
      [5.72, 10],
      [15.72, 4.28],
    ]);
    expect(warnings).toEqual([]);
  });

  it('is ignored if the option is off', async () => {
    for (const options of [
      { recoverSpeech: false },
      { wordTimestamps: true, hallucinationSilenceThreshold: 2 },
      { timestamps: 'none' },
    ] as const) {
      const { begun } = await transcribed(tail, { 0: first }, options);
      expect(begun.map(([begin]) => begin)).toEqual([0, 10]);
    }
  });

  it('is reported if it gives no text, and decoded once', async () => {
    const { begun, segments, warnings } = await transcribed(tail, { 0: first });
    expect(segments).toHaveLength(1);
    expect(begun).toHaveLength(3);
    expect(warnings).toEqual(['There seems to be speech from 0:06.0 to 0:09.0, but the model gives no text for it.']);
  });

  it('is reported if its text is uncertain', async () => {
    // The window that begins there contains nothing else.
    const speech: Speech = [
      [0, 12],
      [14, 17],
    ];
    const windows = { 0: [[0, 10, ' Move left.']] as Text, 10: [[0, 2, ' Turn right.']] as Text };
    const unsure = { text: [[0.3, 3, ' Thank you.']] as Text, averageLogProbability: -1.5, temperature: 1 };
    const { segments, warnings } = await transcribed(speech, { ...windows, 13.7: unsure });
    expect(segments.map(([, , text]) => text)).toEqual(['Move left.', 'Turn right.']);
    expect(warnings).toHaveLength(1);
  });

  const middle: Speech = [
    [0, 2],
    [3.5, 6],
    [7, 9.9],
  ];
  const around: Text = [
    [0, 2, ' Move left.'],
    [7, 10, ' Turn right.'],
  ];

  it.each([false, true])('between segments is decoded separately and inserted, batched: %s', async (batched) => {
    const options = { batched, clips: [{ start: 0, end: 10 }] };
    const { begun, segments, warnings } = await transcribed(
      middle,
      { 0: around, 3.2: [[0.3, 2.8, ' Go on.']] },
      options,
    );
    expect(segments.map(([, , text]) => text)).toEqual(['Move left.', 'Go on.', 'Turn right.']);
    expect(segments[1].slice(0, 2)).toEqual([3.51, 6.01]);
    // Only this part, with a margin.
    expect(begun).toHaveLength(2);
    expect(begun[1][1]).toBeCloseTo(3.1, 1);
    expect(warnings).toEqual([]);
  });

  it.each([
    ['that is improbable', { averageLogProbability: -1.2 }],
    ['that repeats itself', { compressionRatio: 3 }],
    ['of silence', { noSpeechProbability: 0.7 }],
    ['that its neighbour has', { text: [[0.3, 2, ' Right.']] as Text }],
  ])('does not get a text %s', async (_, wrong) => {
    const attempt = { text: [[0.3, 2.8, ' Go on.']] as Text, ...wrong };
    const { segments, warnings } = await transcribed(middle, { 0: around, 3.2: attempt });
    expect(segments).toHaveLength(2);
    expect(warnings).toEqual(['There seems to be speech from 0:03.5 to 0:06.0, but the model gives no text for it.']);
  });

  it('has bounded cost, however much the detector finds', async () => {
    const noise: Speech = Array.from({ length: 12 }, (_, i) => [1.6 * i + 0.2, 1.6 * i + 1.4]);
    const { begun } = await transcribed(noise, {});
    expect(begun.length).toBeLessThan(14);
  });
});
