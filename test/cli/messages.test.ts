/** Messages of the library name options as they were typed. */
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { commandOptions, evaluateOptions } from '../../lib/cli/command-options.js';
import { flagsOf, optionsFrom } from '../../lib/cli/flags.js';
import { withFlagNames } from '../../lib/cli/messages.js';
import { UsageError } from '../../lib/cli/usage.js';
import { OneheadError } from '../../lib/errors.js';
import { formatOptions } from '../../lib/formats/options.js';
import { serverOptions } from '../../lib/server/service/options.js';
import { loadOptions } from '../../lib/whisper/model/types.js';
import { type TranscribeOptions, transcribeOptions } from '../../lib/whisper/transcription/options.js';
import { Whisper } from '../../lib/whisper/whisper.js';
import { onehead, sample } from './command.js';

it.each(flagsOf(transcribeOptions).concat(flagsOf(loadOptions)))('$option is --$name', ({ option, within, name }) => {
  const argument = within === undefined ? option : `${within}.${option}`;
  const message = `Expected ${argument} to be a number but received 'x'.`;
  for (const known of [argument, undefined])
    expect(withFlagNames(message, known)).toBe(`Expected --${name} to be a number but received 'x'.`);
});

it('the model is not the one of voice detection', () => {
  const message = 'Expected model to be a folder but received 5.';
  for (const argument of ['model', undefined]) expect(withFlagNames(message, argument)).not.toContain('vad');
});

describe('any text as the value of a flag', () => {
  const groups = [commandOptions, evaluateOptions, transcribeOptions, loadOptions, formatOptions, serverOptions];
  const all = groups.flatMap((group) =>
    flagsOf(group).flatMap((flag) => (flag.placeholder === '' ? [] : [{ group, flag, name: flag.name }])),
  );

  it.each(all)('is read or refused in one sentence: --$name', ({ group, flag, name }) => {
    for (const value of ['', ' ', 'bogus', '-1', '1e99', 'NaN', ',', '1,,2', '\0', 'x'.repeat(10_000)]) {
      let error: unknown = null;
      try {
        optionsFrom(group, [flag], { [name]: value });
      } catch (thrown) {
        error = thrown;
      }
      if (error === null) continue;
      expect(error, value).toBeInstanceOf(UsageError);
      const { message } = error as UsageError;
      expect(message).toMatch(new RegExp(`^Expected --${name} to be [^\\n]+\\.$`));
      expect(message.length).toBeLessThan(400);
    }
  });

  it.each(['--model', '--output-dir', '--vad-model'])('is not blank: %s', async (flag) => {
    const { status, stderr } = await onehead(['transcribe', sample, flag, '']);
    expect([status, stderr]).toEqual([
      2,
      expect.stringMatching(new RegExp(`^onehead: Expected ${flag} to be .*\\.\\n$`)),
    ]);
  });
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
        'known yet; leave it out, or leave out --batched.',
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
