import { readFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { onehead, root, sample, sentence } from './command.js';

describe('onehead', () => {
  it('--version prints the package’s version', async () => {
    const { version } = JSON.parse(await readFile(join(root, 'package.json'), 'utf8'));
    expect(await onehead(['--version'])).toEqual({ status: 0, stdout: `${version}\n`, stderr: '' });
  });

  it('--help shows values as they are typed, not as in a program', async () => {
    const { stdout } = await onehead(['--help']);
    const text = stdout.replace(/\s+/g, ' ');
    expect(text).toContain('such as cuda:0,cuda:1 or cpu,cpu, loads');
    expect(text).toContain('such as weights=int8,activations=bfloat16,cache=bfloat16 or encoder=float32,decoder=int8.');
    expect(text).not.toMatch(/\['|\{ \w+:/);
  });

  it('loads a model on each of the devices that --device lists', async () => {
    expect(await onehead(['transcribe', '--device', 'cpu,cpu', '--quiet', sample])).toMatchObject({
      status: 0,
      stdout: expect.stringContaining('We will return on Thursday.'),
    });
    const { status, stderr } = await onehead(['transcribe', '--device', 'cpu,gpu', sample]);
    expect(status).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain("There is no device 'gpu'");
  });

  it.each(['--help', '-h', 'help'])('%s lists all commands', async (flag) => {
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

  it('--help of all commands fits into 100 columns', async () => {
    const { stdout } = await onehead(['--help']);
    expect(stdout.split('\n').filter((line) => line.length > 100)).toEqual([]);
  });
});

describe('a usage error is one sentence and status 2:', () => {
  const mistakes: [string[], RegExp][] = [
    [[], /Name a command/],
    [['listen'], /no command 'listen'/],
    [['toString'], /no command 'toString'/],
    [['--quiet'], /no command '--quiet'/],
    [['transcribe'], /at least one audio file/],
    [['transcribe', '--loud', sample], /no option --loud of onehead transcribe/],
    [['transcribe', sample, '--model'], /--model/],
    [['transcribe', sample, '--quiet=yes'], /--quiet/],
    [['transcribe', sample, '--dtype', 'int4'], /--dtype to be 'auto', 'float32', .*'int4'/],
    [['transcribe', sample, '--precision', 'cache=int4'], /--precision to be PART=TYPE,.*'cache=int4'/],
    [['transcribe', sample, '--threads', '0'], /--threads to be a whole number .*'0'/],
    [['transcribe', sample, '--threads', '1.5'], /'1.5'/],
    [['transcribe', sample, '--threads=-1'], /'-1'/],
    [['transcribe', sample, '--threads', 'four'], /'four'/],
    [['transcribe', sample, '--max-new-tokens', '1e3'], /--max-new-tokens .*'1e3'/],
    [['transcribe', sample, '--max-new-tokens', ''], /--max-new-tokens .* an empty string\./],
    [['transcribe', sample, '--task', 'summarize'], /--task to be 'transcribe' or 'translate' .*'summarize'/],
    [['transcribe', sample, '--timestamps', 'word'], /--timestamps to be 'none' or 'segment' .*'word'/],
    [['transcribe', sample, '--language', 'klingon'], /does not support the language 'klingon'/],
    [['transcribe', sample, '--format', 'docx'], /--format to be text, .*'docx'/],
    [['transcribe', sample, '--format', 'text,'], /--format .*'text,'/],
    [['transcribe', sample, '--format', 'srt,vtt'], /--output-dir/],
    [['transcribe', '-', '-'], /only once/],
    [['transcribe', 'a/talk.wav', 'b/talk.mp3', '--output-dir', 'out'], /a\/talk.wav and b\/talk.mp3 .* talk;/],
    [['transcribe', 'folder/talk.txt', '--output-dir', 'folder'], /overwrite folder\/talk.txt itself/],
    [['transcribe', sample, '--langauge', 'en'], /perhaps --language is meant/],
    [['transcribe', sample, '--beam_size', '5'], /perhaps --beam-size is meant/],
    [['transcribe', sample, '--word_timestamps', 'True'], /name for it is --words /],
    [['transcribe', sample, '--vad_filter'], /name for it is --vad /],
    [['transcribe', sample, '-bs', '5'], /no option -bs .*name for it is --beam-size /],
    [['transcribe', sample, '-osrt'], /--format srt/],
    [['transcribe', sample, '--fp16=False'], /no option --fp16 .*set --dtype/],
    [['transcribe', sample, '--words', 'false'], /--words takes no value, so remove 'false'/],
    [['transcribe', sample, '--words=false'], /--words takes no value, so remove 'false'/],
    [['transcribe', sample, '--no-speech-threshold', '-1e9'], /--no-speech-threshold .*'-1e9'/],
    [['transcribe', sample, '--vad-threshold', '2'], /--vad-threshold to be a number from 0 to 1 .*'2'/],
    [['transcribe', sample, `--${'x'.repeat(5000)}`], /^.{1,300}$/m],
    [['convert', '--kv_heads', '1'], /perhaps --kv-heads is meant/],
    [['inspect', 'one', 'two'], /Give one model/],
    [['inspect', '--yaml'], /no option --yaml of onehead inspect/],
    [['doctor', 'cpu'], /Unexpected argument 'cpu'/],
  ];

  it.each(mistakes)('%j', async (args, reason) => {
    const { status, stdout, stderr } = await onehead(args);
    expect({ status, stdout }).toEqual({ status: 2, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(reason);
  });
});
