/** Valid options, and the messages for invalid ones. */
import { describe, expect, it } from 'vitest';
import type { OneheadError } from '../../lib/errors.js';
import { editDistance } from '../../lib/options/names.js';
import { check, optionGroups } from '../../lib/options/options.js';
import { loadOptions } from '../../lib/whisper/model/types.js';
import { type TranscribeOptions, transcribeOptions } from '../../lib/whisper/transcription/options.js';
import '../../lib/index.js';

/** The message for invalid options. */
function refusal(given: unknown, group: Parameters<typeof check>[0] = transcribeOptions): string {
  try {
    check(group, given);
  } catch (error) {
    expect((error as OneheadError).code).toBe('INVALID_ARGUMENT');
    return (error as OneheadError).message;
  }
  throw new Error('not refused');
}

describe('options', () => {
  it('have their defaults if they are absent, undefined or null', () => {
    const usual = check(transcribeOptions, undefined);
    expect(usual).toMatchObject({
      beamSize: 1,
      noSpeechThreshold: 0.6,
      suppressTokens: ['default'],
    });
    const names = Object.keys(transcribeOptions.entries);
    for (const absent of [undefined, null]) {
      expect(check(transcribeOptions, Object.fromEntries(names.map((name) => [name, absent])))).toEqual(usual);
      expect(check(transcribeOptions, absent)).toEqual(usual);
    }
    expect(check(transcribeOptions, { vad: { threshold: null } }).vad).toMatchObject({ threshold: 0.5 });
  });

  it('can be checked twice, and can be inherited', () => {
    const once = check(transcribeOptions, { beamSize: 4, vad: { mode: 2 } });
    expect(check(transcribeOptions, once)).toEqual(once);
    expect(check(transcribeOptions, Object.create({ beamSize: 4 })).beamSize).toBe(4);
  });

  it.each([
    ['langauge', "There is no option 'langauge' of transcribe; perhaps 'language' is meant."],
    ['beamsize', "There is no option 'beamsize' of transcribe; perhaps 'beamSize' is meant."],
    ['beam_size', "perhaps 'beamSize' is meant."],
    ['word_timestamps', "perhaps 'wordTimestamps' is meant."],
    ['vad_filter', "onehead’s name for it is 'vad'."],
    ['vad_fliter', "perhaps 'vad' is meant."],
    ['log_prob_threshold', "onehead’s name for it is 'logProbabilityThreshold'."],
    ['initial_prompt', "onehead’s name for it is 'prompt'."],
    ['-bs', "onehead’s name for it is 'beamSize'."],
    ['onprogress', "perhaps 'onProgress' is meant."],
    ['without_timestamps', "There is no option 'without_timestamps' of transcribe: set 'timestamps' to 'none'."],
    ['compute_type', "set 'dtype' when the model is loaded."],
    ['device', "There is no option 'device' of transcribe; 'device' is an option of load."],
    ['batch_size', "onehead’s name for it is 'batch', an option of load."],
    ['xyzzy', "There is no option 'xyzzy' of transcribe."],
    ['__proto__x', "There is no option '__proto__x' of transcribe."],
  ])('that are unknown are refused by name: %s', (name, sentence) => {
    expect(refusal({ [name]: 1 })).toContain(sentence);
  });

  it('with long unknown names are shortened in messages', () => {
    expect(refusal({ ['x'.repeat(1e6)]: 1 }).length).toBeLessThan(260);
    expect(refusal({ language: 7, task: 'x'.repeat(1e6) }).length).toBeLessThan(260);
    expect(refusal({ task: 'x'.repeat(1e6) }).length).toBeLessThan(260);
    expect(refusal({ temperature: [...'x'.repeat(1e5)] }).length).toBeLessThan(260);
  });

  it.each([
    ['en', "Expected options to be an object of options of transcribe but received 'en'."],
    [7, 'but received 7.'],
    [true, 'but received true.'],
    [['en'], "but received ['en']."],
    [() => {}, 'but received a function.'],
    [new AbortController().signal, 'but received AbortSignal.'],
    [new Float32Array(1), 'but received Float32Array.'],
    [new Map(), 'but received Map.'],
  ])('must be an object: %o is refused', (given, sentence) => {
    expect(refusal(given)).toContain(sentence);
  });

  it.each<[object, string]>([
    [{ wordTimestamps: 'false' }, "Expected wordTimestamps to be true or false but received 'false'."],
    [{ vad: 'true' }, "Expected vad to be true, false or an object of options of vad but received 'true'."],
    [{ vad: { treshold: 1 } }, "There is no option 'treshold' of vad; perhaps 'threshold' is meant."],
    [{ vad: { threshold: '0.5' } }, "Expected vad.threshold to be a number from 0 to 1 but received '0.5'."],
    [{ beamSize: '5' }, "Expected beamSize to be a whole number from 1 to 16 but received '5'."],
    [{ beamSize: Number.NaN }, 'but received NaN.'],
    [{ temperature: [0, Number.POSITIVE_INFINITY] }, 'Expected temperature to be a number from 0 to 100, or a list'],
    [{ language: 7 }, "Expected language to be a language's code, its English name, or 'auto' but received 7."],
    [{ task: 'summarize' }, "Expected task to be 'transcribe' or 'translate' but received 'summarize'."],
    [{ onProgress: 'yes' }, "Expected onProgress to be a function but received 'yes'."],
    [{ signal: new AbortController() }, 'Expected signal to be an AbortSignal but received AbortController.'],
    [{ timeout: -1 }, 'Expected timeout to be milliseconds above 0'],
    [{ prompt: 3n }, 'Expected prompt to be a string or a list of token ids but received a bigint.'],
    [{ suppressTokens: 'default' }, 'Expected suppressTokens to be a list of token ids'],
  ])('with invalid values are refused: %o', (given, sentence) => {
    expect(refusal(given)).toContain(sentence);
  });

  it('of loading are checked too', () => {
    expect(refusal({ device: 0 }, loadOptions)).toContain("Expected device to be 'cpu', 'cuda'");
    expect(refusal({ dtype: 'int4' }, loadOptions)).toContain("'bfloat16' or 'int8' but received 'int4'.");
    expect(refusal({ precision: { cache: 'int4' } }, loadOptions)).toContain('Expected precision to be types (');
    expect(refusal({ threads: 0 }, loadOptions)).toContain('Expected threads to be a whole number from 1');
    expect(refusal({ alignmentHeads: [[1]] }, loadOptions)).toContain('Expected alignmentHeads to be a list of [layer');
    expect(refusal({ onDownload: {} }, loadOptions)).toContain('Expected onDownload to be a function');
  });

  it('have types that are derived from their declarations', () => {
    const options: TranscribeOptions = {
      language: null,
      temperature: [0, 0.5],
      noSpeechThreshold: 'none',
      vad: { mode: 1 },
    };
    // @ts-expect-error the option does not exist
    options.beam_size = 5;
    // @ts-expect-error not a boolean
    options.wordTimestamps = 'false';
    // @ts-expect-error not an allowed value
    options.task = 'summarize';
  });

  it('have groups with distinct names', () => {
    const names = optionGroups.map(({ name }) => name);
    expect(new Set(names).size).toBe(names.length);
  });
});

describe('the edit distance of names', () => {
  it.each([
    ['language', 'language', 0],
    ['langauge', 'language', 1],
    ['lnguage', 'language', 1],
    ['languages', 'language', 1],
    ['longuage', 'language', 1],
    ['', 'abc', 3],
    ['abc', 'cab', 2],
  ])('of %s and %s is %i', (a, b, wanted) => {
    expect(editDistance(a, b)).toBe(wanted);
    expect(editDistance(b, a)).toBe(wanted);
  });
});
