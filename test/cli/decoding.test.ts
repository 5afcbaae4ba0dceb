/** The command's options for search, words, long audio and lines. */
import { readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { samplesOf, wavOf } from '../audio/support.js';
import { onehead, sample, sampleLines, sampleText, sentence, temporaryFolder } from './command.js';

const transcribe = (...args: string[]) => onehead(['transcribe', sample, '--language', 'en', ...args]);

describe('transcribe', () => {
  it.each([
    [['--beam-size', '4', '--patience', '1.5', '--length-penalty', '0.8']],
    [['--temperature', '0,0.4', '--best-of', '2', '--seed', '3']],
    [['--vad']],
    [['--batched', '--windows', '2']],
    [['--hotwords', 'Thursday', '--no-repeat-ngram-size', '5', '--repetition-penalty', '1.05']],
    [['--compression-ratio-threshold', 'none', '--suppress-tokens', 'default,symbols']],
    [['--stream']],
  ])('%j gives the same words', async (args) => {
    const { status, stdout, stderr } = await transcribe(...args);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const words = (text: string) =>
      text
        .toLowerCase()
        .replace(/[^a-z ]/g, ' ')
        .split(/\s+/)
        .filter(Boolean);
    expect(words(stdout)).toEqual(words(sampleText));
  });

  it('--words adds words, --top-log-probabilities other likely tokens', async () => {
    const { stdout } = await transcribe('--words', '--top-log-probabilities', '3', '--format', 'json');
    const { segments } = JSON.parse(stdout) as Transcription;
    for (const { words, text, tokens, top_logprobs: top } of segments) {
      expect(words!.map(({ word }) => word).join('')).toBe(text);
      expect(top).toHaveLength(tokens.length);
      expect(top![0]).toHaveLength(3);
    }
  });

  it('--highlight-words marks the spoken word', async () => {
    const { status, stdout } = await transcribe('--highlight-words', '--format', 'vtt');
    expect(status).toBe(0);
    expect(stdout).toMatch(/\n<u>We<\/u> will return on Thursday\.\n/);
  });

  it('--max-line-width and --max-line-count wrap subtitles', async () => {
    const { stdout } = await transcribe(
      '--words',
      '--max-line-width',
      '14',
      '--max-line-count',
      '1',
      '--format',
      'srt',
    );
    const lines = stdout.split('\n').filter((line) => /[a-z]/.test(line));
    expect(lines.length).toBeGreaterThan(6);
    for (const line of lines) expect(line.length <= 14 || !line.includes(' ')).toBe(true);
  });

  it('--clips transcribes only these parts', async () => {
    const { status, stdout } = await transcribe('--clips', '0-2.1,5.2-');
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${sampleLines[0]}\n${sampleLines[2]}\n` });
  });

  it('--channels separate names the speaker in all formats', async () => {
    const folder = await temporaryFolder();
    const call = join(folder, 'call.wav');
    const samples = await samplesOf('../../../models/micro/sample.flac');
    await writeFile(call, wavOf([new Float32Array(samples.length), samples]));
    const args = [
      'transcribe',
      call,
      '--language',
      'en',
      '--channels',
      'separate',
      '--channel-names',
      'Agent,Customer',
    ];
    const wanted = sampleLines.map((line) => `Customer: ${line}\n`).join('');
    expect(await onehead(args)).toEqual({ status: 0, stdout: wanted, stderr: '' });
    expect(await onehead([...args, '--stream'])).toEqual({ status: 0, stdout: wanted, stderr: '' });
    expect((await onehead([...args, '--format', 'vtt'])).stdout).toContain(`<v Customer>${sampleLines[0]}`);
    const one = await onehead(['transcribe', call, '--language', 'en', '--channels', '1']);
    expect(one.stdout).toBe(sampleText);
    expect((await onehead(['transcribe', call, '--channels', '0,2'])).stderr).toContain('channels 0 to 1');
  });

  it('prints the text before an error, with status 3', async () => {
    const samples = await samplesOf('12_long_seen.flac');
    const input = wavOf([samples]);
    input.fill(0xff, 40, 44); // an unknown length, as written to pipes, so that the limit is only found while decoding
    const args = ['transcribe', '-', '--language', 'en', '--stream', '--max-duration', '25'];
    const { status, stdout, stderr } = await onehead(args, { input });
    expect(status).toBe(3);
    expect(stdout.split('\n').length).toBeGreaterThan(2);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain('longer than');
  });

  it('--stream prints the text of a pipe', async () => {
    const { status, stdout } = await onehead(['transcribe', '-', '--stream', '--language', 'en'], {
      input: await readFile(sample),
    });
    expect({ status, stdout }).toEqual({ status: 0, stdout: sampleText });
  });

  it.each([
    [['--beam-size', 'many'], 2, "Expected --beam-size to be a whole number from 1 to 16 but received 'many'"],
    [['--temperature', '0,hot'], 2, 'Expected --temperature to be a number'],
    [['--stream', '--format', 'srt'], 2, '--stream prints text'],
    [['--clips', '1:00-2:00'], 2, "Expected --clips to be seconds such as 0-10,30- but received '1:00-2:00'"],
    [['--channels', 'left'], 2, "Expected --channels to be mix, separate or numbers such as 0,2 but received 'left'"],
    [['--clips', '3-2'], 1, 'Expected --clips[0].end to be at least 0.01 s after its start'],
    [['--beam-size', '99'], 2, 'Expected --beam-size to be a whole number from 1 to 16'],
    [['--suppress-tokens', 'music'], 2, "'default', 'symbols' or 'numerals'"],
    [
      ['--batched', '--condition-on-previous-text'],
      1,
      '--condition-on-previous-text is not available if windows are decoded at once',
    ],
    [['--timeout', '0.001'], 1, 'took longer than 1 ms'],
  ])('%j is refused', async (args, status, message) => {
    const result = await transcribe(...args);
    expect(result.status).toBe(status);
    expect(result.stderr).toMatch(sentence);
    expect(result.stderr).toContain(message);
  });
});
