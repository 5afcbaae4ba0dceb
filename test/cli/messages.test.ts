/** Messages of the library name options as they were typed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { flagsOf } from '../../lib/cli/flags.js';
import { withFlagNames } from '../../lib/cli/messages.js';
import { OneheadError } from '../../lib/errors.js';
import { loadOptions } from '../../lib/whisper/model/types.js';
import { type TranscribeOptions, transcribeOptions } from '../../lib/whisper/transcription/options.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { onehead, sample } from './command.js';

it.each(flagsOf(transcribeOptions).concat(flagsOf(loadOptions)))('$option is --$name', ({ option, within, name }) => {
  const argument = within === undefined ? option : `${within}.${option}`;
  const message = `Expected ${argument} to be a number but received 'x'.`;
  expect(withFlagNames(message, argument)).toBe(`Expected --${name} to be a number but received 'x'.`);
});

describe('errors that only a loaded model can find', () => {
  let whisper: Whisper;
  beforeAll(async () => {
    whisper = await Whisper.load(undefined, { device: 'cpu', threads: 1, rows: 2 });
  });
  afterAll(() => whisper.dispose());

  it.each<[TranscribeOptions, string]>([
    [{ maxNewTokens: 9999 }, 'Expected --max-new-tokens to be a whole number from 0 to 189 but received 9999.'],
    [
      { noRepeatNgramSize: 999 },
      'Expected --no-repeat-ngram-size to be a whole number from 0 to 192 but received 999.',
    ],
    [{ topLogProbabilities: 99 }, 'Expected --top-log-probabilities to be'],
    [{ suppressTokens: [9999] }, 'Expected --suppress-tokens'],
    [{ language: 'de' }, "does not know the language 'de'"],
    [{ language: 'en', languages: ['en'] }, '--languages are candidates for detection, but --language is set'],
    [{ hallucinationSilenceThreshold: 2 }, '--hallucination-silence-threshold requires word times; add --words, or'],
    [
      { conditionOnPreviousText: true, batched: true },
      '--condition-on-previous-text is not available if windows are decoded at once, since the previous text is not ' +
        'known yet; leave it out, or leave out --windows and --batch.',
    ],
    [{ beamSize: 5 }, 'load it with --rows 5.'],
    [{ clips: [{ start: 3, end: 2 }] }, 'Expected --clips[0].end to be at least'],
    [{ maxDuration: 1 }, 'give a shorter recording or raise --max-duration.'],
    [{ maxBytes: 9 }, 'give a smaller recording or raise --max-bytes.'],
    [{ track: 3 }, 'leave out --track 3.'],
  ])('%o', async (options, sentence) => {
    const error = await whisper.transcribe(sample, options).catch((cause: unknown) => cause as OneheadError);
    expect(error).toBeInstanceOf(OneheadError);
    const { message, argument } = error as OneheadError;
    expect(withFlagNames(message, argument)).toContain(sentence);
  });
});

it('leaves paths and the words of sentences as they are', () => {
  const message = 'Cannot read /data/maxBytes/wordTimestamps.wav: the language of its prompt is unknown.';
  expect(withFlagNames(message, 'prompt')).toBe(message);
});

it('the command names the flag', async () => {
  const { status, stderr } = await onehead(['transcribe', sample, '--max-new-tokens', '9999', '--threads', '1']);
  expect([status, stderr]).toEqual([
    1,
    'onehead: Expected --max-new-tokens to be a whole number from 0 to 189 but received 9999.\n',
  ]);
});
