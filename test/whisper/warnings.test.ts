import { expect, it } from 'vitest';
import type { AudioSource } from '../../lib/audio/index.js';
import { clock, Warnings } from '../../lib/audio/warnings.js';
import { check } from '../../lib/options/options.js';
import type { WhisperModel } from '../../lib/whisper/decoding/whisper-model.js';
import { type TranscribeOptions, transcribeOptions } from '../../lib/whisper/transcription/options.js';
import { TranscriptionState } from '../../lib/whisper/transcription/state.js';
import { stream, transcribe } from '../../lib/whisper/transcription/transcribe.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { samplesOf } from '../audio/support.js';

/** A recording with warnings. */
async function recording(): Promise<AudioSource> {
  const samples = await samplesOf('02_seen.flac');
  const warnings = new Warnings();
  return {
    duration: null,
    warnings: warnings.sentences,
    get incomplete() {
      return warnings.incomplete;
    },
    close: async () => {},
    async *chunks() {
      warnings.warn('A tag was passed over.', 'mended');
      yield samples;
      warnings.warn('The end is missing.', 'lost');
      warnings.warn('The end is missing.', 'lost');
    },
  };
}

const opened = (model: WhisperModel, options: TranscribeOptions) =>
  TranscriptionState.open(model, check(transcribeOptions, options));

it('reports each warning of a recording once, in the result and as it occurs', async () => {
  const { model } = await Whisper.load();
  const wanted = ['A tag was passed over.', 'The end is missing.'];
  const told: string[] = [];
  const onWarning = (warning: string) => void told.push(warning);
  for (const vad of [false, true]) {
    const { warnings, incomplete, text } = await transcribe(await opened(model, { vad, onWarning }), await recording());
    expect({ warnings, incomplete }).toEqual({ warnings: wanted, incomplete: true });
    expect(told.splice(0)).toEqual(wanted);
    expect(text).not.toBe('');
  }
  for await (const _ of stream(await opened(model, { onWarning }), await recording()));
  expect(told).toEqual(wanted);
  expect((await transcribe(await opened(model, {}), await recording())).warnings).toEqual(wanted); // nobody listens
  model.dispose();
});

it('keeps a bounded number of warnings, and states that audio was lost', () => {
  const all = new Warnings();
  all.warn('Nothing is lost.', 'mended');
  expect(all.incomplete).toBe(false);
  for (let i = 0; i < 10_000; ++i) all.warn(`Damage ${i}.`, i === 9999 ? 'lost' : 'mended');
  expect(all.sentences.length).toBe(101);
  expect(all.sentences.at(-1)).toContain('more warnings');
  expect(all.incomplete).toBe(true);
});

it('shows positions as players do', () => {
  expect([0, 7.26, 83.5, 3723.45].map(clock)).toEqual(['0:00.0', '0:07.2', '1:23.5', '1:02:03.4']);
});
