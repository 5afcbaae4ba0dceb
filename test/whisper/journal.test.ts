/**
 * A transcription that is interrupted and resumed gives the result of an uninterrupted one, and decodes only the
 * missing windows.
 */
import { readdirSync } from 'node:fs';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import type { Journal } from '../../lib/whisper/decoding/journal.js';
import type { TranscribeOptions } from '../../lib/whisper/transcription/options.js';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { heldout as folder, joined, samplesOf } from '../audio/support.js';

class Entries implements Journal {
  readonly all = new Map<string, string>();
  found = 0;

  find(window: string): string | undefined {
    const entry = this.all.get(window);
    if (entry !== undefined) this.found += 1;
    return entry;
  }

  keep(window: string, found: string): void {
    this.all.set(window, found);
  }
}

let whisper: Whisper;
let long: Float32Array;

beforeAll(async () => {
  whisper = await Whisper.load(undefined, { windows: 2 });
  const names = readdirSync(folder).filter((name) => name.endsWith('.flac'));
  long = joined(await Promise.all(names.slice(0, 30).map((name) => samplesOf(name))));
}, 120_000);
afterAll(() => whisper.dispose());

const essence = ({ text, segments, duration, language }: Transcription) => ({ text, segments, duration, language });

/** The recording, and its first half on a second channel, half of the duration later. */
function stereo() {
  const other = new Float32Array(long.length);
  other.set(long.subarray(0, long.length / 2), long.length / 2);
  return { samples: [long, other], sampleRate: 16_000 };
}

describe('a journal', () => {
  const cases: [string, TranscribeOptions][] = [
    ['windows one after the other', { batched: false, wordTimestamps: true, conditionOnPreviousText: true }],
    ['windows at once', { batched: true, wordTimestamps: true }],
    ['drawn text with candidates', { batched: false, temperature: 0.7, seed: 3, topLogProbabilities: 2 }],
    ['channels apart', { channels: 'separate', vad: false }],
  ];
  it.each(cases)('resumes an interrupted transcription: %s', async (_, options) => {
    const audio = () => (options.channels === 'separate' ? stereo() : { samples: long, sampleRate: 16_000 });
    const whole = await whisper.transcribe(audio(), options);
    const journal = new Entries();
    const stop = new AbortController();
    const onProgress = () => stop.abort(new Error('stopped'));
    await expect(whisper.transcribe(audio(), { ...options, journal, signal: stop.signal, onProgress })).rejects.toThrow(
      'stopped',
    );
    const before = journal.all.size;
    expect(before).toBeGreaterThan(0);
    const again = await whisper.transcribe(audio(), { ...options, journal });
    expect(essence(again)).toEqual(essence(whole));
    expect(journal.found).toBe(before);
    expect(journal.all.size).toBeGreaterThan(before);
    // All windows are known, so nothing is decoded.
    const { windows } = whisper.figures();
    expect(essence(await whisper.transcribe(audio(), { ...options, journal }))).toEqual(essence(whole));
    expect(whisper.figures().windows).toBe(windows);
  });

  it('decodes a window whose entry was truncated', async () => {
    const journal = new Entries();
    const audio = { samples: long.subarray(0, 16_000 * 20), sampleRate: 16_000 };
    const whole = await whisper.transcribe(audio, { journal });
    for (const [name, entry] of journal.all) journal.all.set(name, entry.slice(0, entry.length / 2));
    expect(essence(await whisper.transcribe(audio, { journal }))).toEqual(essence(whole));
  });

  it('is refused if it is invalid', async () => {
    await expect(whisper.transcribe(long, { journal: {} as Journal })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      argument: 'journal',
    });
  });
});
