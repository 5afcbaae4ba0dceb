/** Options of the server: durations are milliseconds, and seconds on the command line. */
import { describe, expect, it } from 'vitest';
import { flagsHelp, flagsOf, optionsFrom } from '../../lib/cli/flags.js';
import { check } from '../../lib/options/options.js';
import { serverOptions } from '../../lib/server/service/options.js';
import { transcribeOptions } from '../../lib/whisper/transcription/options.js';

const flags = flagsOf(serverOptions);

describe('durations', () => {
  it.each([
    'unloadAfter',
    'timeout',
    'uploadTimeout',
    'maximumWait',
    'realtimeIdle',
    'realtimeDuration',
    'shutdownTimeout',
    'maximumEventLoopDelay',
  ])('are refused if no timer can wait as long: %s', (name) => {
    const tooLong = () => check(serverOptions, { [name]: 30 * 24 * 3_600_000 });
    expect(tooLong).toThrow(
      /^Expected \w+ to be milliseconds (from \d+ to|above 0, at most) \d+ but received 2592000000\b/,
    );
    expect(() => check(serverOptions, { [name]: 1000 })).not.toThrow();
  });

  it.each(['timeout', 'deadline'])('of a call are refused likewise: %s', (name) => {
    expect(() => check(transcribeOptions, { [name]: 2 ** 31 })).toThrow(
      `Expected ${name} to be milliseconds above 0, at most 2147483647 but received 2147483648`,
    );
  });

  it('are seconds on the command line, in messages and in the help too', () => {
    const given = { 'unload-after': '1.5', timeout: '600' };
    expect(optionsFrom(serverOptions, flags, given)).toEqual({ unloadAfter: 1500, timeout: 600_000 });
    expect(() => optionsFrom(serverOptions, flags, { 'unload-after': '2592000' })).toThrow(
      "Expected --unload-after to be seconds from 0 to 2147483.647 but received '2592000'.",
    );
    expect(flagsHelp(flags)).toMatch(/Seconds after which an unused model is unloaded; 0 for\s+never \(default: 900\)/);
    expect(flagsHelp(flags)).not.toMatch(/milliseconds/i);
  });
});
