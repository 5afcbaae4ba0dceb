import { spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { appendFile, cp, mkdir, readdir, readFile, truncate, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import type { Transcription } from '../../lib/whisper/transcription/types.js';
import { onehead, root, sample, sampleLines, sampleText, sentence, temporaryFolder } from './command.js';

const transcribe = (...args: string[]) => onehead(['transcribe', ...args]);
const heldout = join(root, 'test/fixtures/heldout');
const multiQuery = join(root, 'models/micro-mqa');

/** A copy of the bundled model that a test may change. */
async function copiedModel(): Promise<string> {
  const folder = join(await temporaryFolder(), 'model');
  await cp(join(root, 'models/micro'), folder, { recursive: true });
  return folder;
}

describe('onehead transcribe', () => {
  it('prints only the text of a file', async () => {
    expect(await transcribe(sample)).toEqual({ status: 0, stdout: sampleText, stderr: '' });
  });

  it('reads standard input', async () => {
    const result = await onehead(['transcribe', '-'], { input: await readFile(sample) });
    expect(result).toEqual({ status: 0, stdout: sampleText, stderr: '' });
  });

  // Tolerance in seconds: in a long recording two steps of a timestamp (test/whisper/model.test.ts explains
  // why).
  it.each([
    ['04_uns_es', 0.001],
    ['11_uns_awb', 0.001],
    ['12_long_seen', 0.041],
  ])('prints the words and times of transformers: %s', async (name, tolerance) => {
    const { files } = JSON.parse(await readFile(join(heldout, 'expected.json'), 'utf8'));
    const expected = files.find(({ file }: { file: string }) => file.startsWith(name));
    const segments = expected.timestamps.segments as { start: number; end: number; text: string }[];
    const file = join(heldout, `${name}.flac`);
    const { status, stdout } = await transcribe(file, '--format', 'json', '--dtype', 'float32');
    expect(status).toBe(0);
    const { segments: found } = JSON.parse(stdout) as Transcription;
    expect(found.map(({ text }) => text.trim())).toEqual(segments.map(({ text }) => text.trim()));
    for (const [index, { start, end }] of segments.entries()) {
      expect(Math.abs(found[index].start - start)).toBeLessThan(tolerance);
      expect(Math.abs(found[index].end - end)).toBeLessThan(tolerance);
    }
  });

  it.each(['wav', 'flac', 'mp3', 'ogg', 'opus', 'm4a', 'webm'])('reads %s, without ffmpeg', async (format) => {
    const env = { PATH: await temporaryFolder() };
    const result = await onehead(['transcribe', join(root, `test/fixtures/audio/tone.${format}`)], { env });
    expect(result).toEqual({ status: 0, stdout: '', stderr: '' }); // a tone is not speech
  });

  it.each([
    [['--max-new-tokens', '9999'], 'Expected --max-new-tokens to be a whole number from 0 to 189 but received 9999.'],
    [['--languages', 'xx'], "This model does not know the language 'xx'; it knows en."],
    [
      ['--beam-size', '16', '--rows', '8'],
      'This search takes 16 rows, but the model was loaded with 8; load it with --rows 16.',
    ],
  ])('reports options that the model refuses once, before any file is read: %j', async (flags, message) => {
    const result = await transcribe('missing.wav', sample, sample, ...flags);
    expect(result).toEqual({ status: 1, stdout: '', stderr: `onehead: ${message}\n` });
  });

  it('refuses options that contradict each other before a model is loaded', async () => {
    const { status, stderr } = await transcribe(sample, '--model', 'missing', '--hallucination-silence-threshold', '1');
    expect(stderr).toBe(
      'onehead: --hallucination-silence-threshold requires word times; add --words, or leave it out.\n',
    );
    expect(status).toBe(1);
  });

  it('explains that aiff needs ffmpeg', async () => {
    const file = join(root, 'test/fixtures/audio/mono-8k.aiff');
    const { status, stderr } = await onehead(['transcribe', file], { env: { PATH: await temporaryFolder() } });
    expect(status).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/ffmpeg/);
  });

  it('does not use ffmpeg with --no-ffmpeg', async () => {
    const { status, stderr } = await transcribe(join(root, 'test/fixtures/audio/mono-8k.aiff'), '--no-ffmpeg');
    expect(status).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/disabled/);
  });

  it.each([
    ['--max-duration', '3'],
    ['--max-bytes', '5000'],
  ])('refuses more than %s %s', async (...limit) => {
    const { status, stdout, stderr } = await transcribe(sample, ...limit);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/allowed/);
  });

  it('accepts a model folder, and any order of options and files', async () => {
    const file = join(heldout, '02_seen.flac');
    const { status, stdout } = await transcribe('--model', multiQuery, file, '--threads', '1', '--quiet');
    expect({ status, stdout }).toEqual({ status: 0, stdout: 'Add honey and chicken to the shopping list.\n' });
  });

  it.each(['en', 'English'])('--language %s', async (language) => {
    expect((await transcribe(sample, '--language', language)).stdout).toBe(sampleText);
  });

  it('computes in bfloat16 even if the CPU does not support it', async () => {
    const env = { ONEDNN_MAX_CPU_ISA: 'AVX2' };
    const result = await onehead(['transcribe', sample, '--dtype', 'bfloat16'], { env });
    expect(result).toEqual({ status: 0, stdout: sampleText, stderr: '' });
  });

  it('--timestamps none gives one segment for each window', async () => {
    const { stdout } = await transcribe(sample, '--timestamps', 'none', '--format', 'verbose_json');
    const { segments, text } = JSON.parse(stdout) as Transcription;
    expect(segments).toHaveLength(1);
    expect(text.trim()).toBe(sampleLines.join(' '));
  });

  it('--max-new-tokens truncates a window', async () => {
    const { status, stdout } = await transcribe(sample, '--max-new-tokens', '3', '--timestamps', 'none');
    expect(status).toBe(0);
    expect(sampleText.startsWith(stdout.trim())).toBe(true);
    expect(stdout.length).toBeLessThan(20);
  });

  it('prints nothing without speech', async () => {
    const silence = await transcribe(join(heldout, '14_silence.flac'));
    expect(silence).toEqual({ status: 0, stdout: '', stderr: '' });
  });

  it.each([
    ['txt', /^We will return on Thursday\.\n/], // openai/whisper's name of text
    ['srt', /^1\n00:00:00,\d{3} --> 00:00:01,\d{3}\nWe will return on Thursday\.\n\n2\n/],
    ['vtt', /^WEBVTT\n\n00:00\.\d{3} --> 00:01\.\d{3}\nWe will return on Thursday\.\n\n00:/],
    ['tsv', /^start\tend\ttext\n\d+\t\d+\tWe will return on Thursday\.\n/],
    ['verbose_json', /^\{\n {2}"task": "transcribe",\n {2}"language": "english",\n {2}"duration": 7\.4/],
  ])('--format %s', async (format, form) => {
    const { status, stdout } = await transcribe(sample, '--format', format);
    expect(status).toBe(0);
    expect(stdout).toMatch(form);
  });
});

describe('a damaged recording', () => {
  it('prints the readable part, a warning, and status 3', async () => {
    const bytes = await readFile(sample);
    const file = join(await temporaryFolder(), 'damaged.flac');
    // In the second sentence of three.
    bytes[Math.floor(bytes.length / 2)] ^= 1;
    await writeFile(file, bytes);
    const { status, stdout, stderr } = await transcribe(file);
    expect(status).toBe(3);
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(/damaged.flac is damaged in one place at 0:0\d/);
    expect(stdout.split('\n')).toEqual([sampleLines[0], expect.any(String), sampleLines[2], '']);
    const json = await transcribe(file, '--format', 'verbose_json');
    expect(JSON.parse(json.stdout).warnings).toHaveLength(1);
  });
});

describe('several files', () => {
  it('are printed in the given order', async () => {
    const { status, stdout } = await transcribe(
      join(heldout, '04_uns_es.flac'),
      sample,
      join(heldout, '04_uns_es.flac'),
    );
    expect({ status, stdout }).toEqual({ status: 0, stdout: `${sampleLines[0]}\n${sampleText}${sampleLines[0]}\n` });
  });

  it('are transcribed after one fails; the status is 1', async () => {
    const missing = join(heldout, 'missing.flac');
    const { status, stdout, stderr } = await transcribe(missing, sample, heldout);
    expect({ status, stdout }).toEqual({ status: 1, stdout: sampleText });
    const complaints = stderr.split('\n');
    expect(complaints).toHaveLength(3);
    expect(complaints[0]).toContain(missing);
    expect(complaints[1]).toContain(`${heldout} is a folder`);
  });
});

describe('--output-dir', () => {
  it('creates the folder, writes a file for each format, and prints nothing', async () => {
    const folder = join(await temporaryFolder(), 'new/folder');
    const formats = ['text,json,srt', '--format', 'vtt,tsv,verbose_json'];
    const result = await onehead(['transcribe', sample, '-', '--output-dir', folder, '--format', ...formats], {
      input: await readFile(join(heldout, '04_uns_es.flac')),
    });
    expect(result).toEqual({ status: 0, stdout: '', stderr: '' });
    const extensions = ['json', 'srt', 'tsv', 'txt', 'verbose.json', 'vtt'];
    const names = ['sample', 'stdin'].flatMap((stem) => extensions.map((extension) => `${stem}.${extension}`));
    expect((await readdir(folder)).sort()).toEqual(names);
    expect(await readFile(join(folder, 'sample.txt'), 'utf8')).toBe(sampleText);
    expect(await readFile(join(folder, 'stdin.txt'), 'utf8')).toBe(`${sampleLines[0]}\n`);
  });

  it('that cannot be created fails before anything is read', async () => {
    const file = join(await temporaryFolder(), 'file');
    await writeFile(file, '');
    const { status, stderr } = await transcribe(join(heldout, 'missing.flac'), '--output-dir', file);
    expect(status).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(`Cannot write ${file}`);
  });

  it('keeps what was there if the disk is full, leaves no part of a file, and says so', async (context) => {
    const folder = await temporaryFolder();
    const mounted = spawnSync('mount', ['-t', 'tmpfs', '-o', 'size=16k', 'none', folder]).status === 0;
    if (!mounted) return context.skip('needs the right to mount');
    try {
      await writeFile(join(folder, 'sample.txt'), 'earlier text\n');
      await fillDisk(join(folder, 'filling'));
      const { status, stderr } = await transcribe(sample, '--output-dir', folder, '--format', 'text,verbose_json');
      expect(status).toBe(1);
      expect(stderr).toMatch(
        /^onehead: Cannot write .*sample\.\w+: .*no space.*; make space, or choose another --output-dir\.\n$/,
      );
      expect((await readdir(folder)).sort()).toEqual(['filling', 'sample.txt']);
      expect(await readFile(join(folder, 'sample.txt'), 'utf8')).toBe('earlier text\n');
    } finally {
      spawnSync('umount', ['-l', folder]);
    }
  });

  it('reports a file that cannot be written, and continues', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'sample.txt'));
    const { status, stderr } = await transcribe(sample, join(heldout, '04_uns_es.flac'), '--output-dir', folder);
    expect(status).toBe(1);
    expect(stderr).toContain(`Cannot write ${join(folder, 'sample.txt')}`);
    expect(await readFile(join(folder, '04_uns_es.txt'), 'utf8')).toBe(`${sampleLines[0]}\n`);
  });
});

/** Appends to a file until its disk is full. */
async function fillDisk(file: string): Promise<void> {
  for (;;) {
    try {
      await appendFile(file, Buffer.alloc(4096));
    } catch {
      return;
    }
  }
}

it('says that standard output cannot be written', async (context) => {
  if (!existsSync('/dev/full')) return context.skip('needs /dev/full');
  const command = `"${process.execPath}" "${join(root, 'dist/cli/main.js')}" transcribe "${sample}" --threads 1 > /dev/full`;
  const { status, stderr } = spawnSync('sh', ['-c', command], { encoding: 'utf8' });
  const message = 'onehead: Cannot write to standard output: there is no space left on the disk.\n';
  expect([status, stderr]).toEqual([1, message]);
});

describe('what cannot be transcribed is one sentence and status 1:', () => {
  async function refuses(reason: RegExp | string, ...args: string[]): Promise<void> {
    const { status, stdout, stderr } = await transcribe(...args);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(reason);
  }

  it('a missing file', () => refuses('missing.flac: there is no such file', join(heldout, 'missing.flac')));
  it('a folder', () => refuses('is a folder', heldout));
  it('a text file', () => refuses('does not look like audio', join(root, 'package.json')));
  it('an empty file', async () => {
    const file = join(await temporaryFolder(), 'empty.wav');
    await writeFile(file, '');
    await refuses('is empty', file);
  });
  it('a flac file with only its header', async () => {
    const file = join(await temporaryFolder(), 'cut.flac');
    await writeFile(file, (await readFile(sample)).subarray(0, 60));
    await refuses(/cut\.flac contains no audio/, file);
  });

  it('empty input', async () => {
    const { status, stderr } = await onehead(['transcribe', '-']);
    expect(status).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain('is empty; it contains no audio');
  });

  it('a missing device', () => refuses(/There is no device 'tpu'; use 'cpu', 'cuda'/, sample, '--device', 'tpu'));
  it('a language that the model does not support', () => refuses("language 'de'", sample, '--language', 'de'));
  it('more tokens than the model supports', () =>
    refuses(/whole number from 0 to 189 but received 9999/, sample, '--max-new-tokens', '9999'));

  it('a missing model', () =>
    refuses("There is no folder or file '/no/such/model'", sample, '--model', '/no/such/model'));
  it('a folder without a model', async () => {
    await refuses('contains no config.json', sample, '--model', await temporaryFolder());
  });
  it('a hub model that may not be downloaded', async () => {
    const env = { HF_HUB_OFFLINE: '1', HF_HOME: await temporaryFolder() };
    const { status, stderr } = await onehead(['transcribe', sample, '--model', 'openai/whisper-tiny'], { env });
    expect(status).toBe(1);
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain('HF_HUB_OFFLINE');
  });
  it('truncated weights', async () => {
    const model = await copiedModel();
    await truncate(join(model, 'model.safetensors'), 100_000);
    await refuses(/model\.safetensors is not a valid safetensors file: .*\(truncated\?\)/, sample, '--model', model);
  });
  it('weights in an unknown format', async () => {
    const model = await copiedModel();
    await writeFile(join(model, 'model.safetensors'), 'version https://git-lfs.github.com/spec/v1\n');
    await refuses('model.safetensors is a Git LFS pointer', sample, '--model', model);
  });
  it('weights of another model', async () => {
    const model = await copiedModel();
    await cp(join(multiQuery, 'model.safetensors'), join(model, 'model.safetensors'));
    await refuses('do not belong together', sample, '--model', model);
  });
  it('a configuration that is not JSON', async () => {
    const model = await copiedModel();
    await writeFile(join(model, 'config.json'), '{"d_model": 128,');
    await refuses('config.json is not JSON', sample, '--model', model);
  });
});
