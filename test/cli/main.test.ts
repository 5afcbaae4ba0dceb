import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { onehead, root, sample, sentence } from './command.js';

describe('onehead', () => {
  it('--version gives the version of the package', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    expect(await onehead(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it.each(['--help', '-h', 'help'])('%s tells of every command', async (flag) => {
    const { status, stdout, stderr } = await onehead([flag]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    for (const command of ['transcribe', 'profile', 'convert', 'inspect', 'doctor'])
      expect(stdout).toContain(`onehead ${command}`);
  });

  it.each(['transcribe', 'profile', 'convert', 'inspect', 'doctor'])(
    '%s --help tells of that command',
    async (command) => {
      const { status, stdout, stderr } = await onehead([command, '--help']);
      expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
      expect(stdout.startsWith(`onehead ${command}`)).toBe(true);
    },
  );
});

describe('a mistake of usage is one sentence and status 2:', () => {
  const mistakes: [string[], RegExp][] = [
    [[], /Name a command/],
    [['listen'], /no command 'listen'/],
    [['toString'], /no command 'toString'/],
    [['--quiet'], /no command '--quiet'/],
    [['transcribe'], /at least one audio file/],
    [['transcribe', '--loud', sample], /Unknown option '--loud'/],
    [['transcribe', sample, '--model'], /--model/],
    [['transcribe', sample, '--quiet=yes'], /--quiet/],
    [['transcribe', sample, '--dtype', 'int8'], /--dtype to be auto, float32, .*'int8'/],
    [['transcribe', sample, '--threads', '0'], /--threads to be a whole number .*'0'/],
    [['transcribe', sample, '--threads', '1.5'], /'1.5'/],
    [['transcribe', sample, '--threads=-1'], /'-1'/],
    [['transcribe', sample, '--threads', 'four'], /'four'/],
    [['transcribe', sample, '--max-new-tokens', '1e3'], /--max-new-tokens .*'1e3'/],
    [['transcribe', sample, '--max-new-tokens', ''], /--max-new-tokens .*''/],
    [['transcribe', sample, '--task', 'summarize'], /--task to be transcribe, translate .*'summarize'/],
    [['transcribe', sample, '--timestamps', 'word'], /--timestamps to be none, segment .*'word'/],
    [['transcribe', sample, '--language', 'klingon'], /no language 'klingon'/],
    [['transcribe', sample, '--format', 'docx'], /--format to be text, .*'docx'/],
    [['transcribe', sample, '--format', 'text,'], /--format .*''/],
    [['transcribe', sample, '--format', 'srt,vtt'], /--output-dir/],
    [['transcribe', '-', '-'], /only once/],
    [['transcribe', 'a/talk.wav', 'b/talk.mp3', '--output-dir', 'out'], /a\/talk.wav and b\/talk.mp3 .* talk;/],
    [['transcribe', 'folder/talk.txt', '--output-dir', 'folder'], /over folder\/talk.txt itself/],
    [['inspect', 'one', 'two'], /Name one model/],
    [['inspect', '--yaml'], /Unknown option '--yaml'/],
    [['doctor', 'cpu'], /Unexpected argument 'cpu'/],
  ];

  it.each(mistakes)('%j', async (args, reason) => {
    const { status, stdout, stderr } = await onehead(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(reason);
  });
});
