import { copyFile, mkdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { onehead, root, sample, sampleText, sentence, temporaryFolder } from './command.js';

const heldout = join(root, 'test/fixtures/heldout');

async function folderWith(texts: Record<string, string>): Promise<string> {
  const folder = await temporaryFolder();
  for (const [name, text] of Object.entries(texts)) {
    await copyFile(sample, join(folder, `${name}.flac`));
    await writeFile(join(folder, `${name}.txt`), text);
  }
  return folder;
}

describe('evaluate', () => {
  it('prints rates for each recording of a folder and in total', async () => {
    const right = sampleText.toLowerCase();
    const folder = await folderWith({ a: right, b: `${right} quite another ending` });
    const { status, stdout, stderr } = await onehead(['evaluate', folder]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [head, a, b, total] = stdout.split('\n');
    expect(head).toMatch(/WER +CER +words/);
    expect(a).toMatch(/^ +0\.00 % +0\.00 % .* a\.flac$/);
    expect(b).toMatch(/^ +\d+\.\d\d % .* 3 +0 +b\.flac$/);
    expect(total).toMatch(/total of 2$/);
  });

  it('simulates live transcription, and prints delays and error rates', async () => {
    const folder = await folderWith({ a: sampleText });
    const live = ['evaluate', folder, '--live', '--policy', 'attention,agreement', '--threshold', '0.5,0.8'];
    const { status, stdout } = await onehead([...live, '--format', 'json']);
    expect(status).toBe(0);
    const rates = JSON.parse(stdout);
    expect(rates.map(({ policy, threshold }: Record<string, unknown>) => [policy, threshold])).toEqual([
      ['attention', 0.5],
      ['attention', 0.8],
      ['agreement', undefined],
    ]);
    for (const { wordErrorRate, lag, load } of rates) {
      expect(wordErrorRate).toBeLessThan(0.2);
      expect(load).toBeGreaterThan(0);
      // Words are confirmed after they were spoken, and turns end after a silence.
      expect(lag.words.p50).toBeGreaterThan(0);
      expect(lag.final.p50).toBeGreaterThan(0);
      expect(lag.first.p95).toBeGreaterThanOrEqual(lag.first.p50);
    }
    expect(rates[1].lag.words.p50).toBeGreaterThan(0.5);
    const text = await onehead(['evaluate', folder, '--live']);
    expect(text.stdout).toMatch(/^policy +window.*WER/);
    expect(text.stdout).toMatch(/default .* \d+\.\d\d %( +\d+\.\d\d){7}\n$/);
    expect((await onehead(['evaluate', folder, '--policy', 'both'])).stderr).toContain(
      '--policy is for live transcription',
    );
  });

  it('reads a list, and prints JSON', async () => {
    const folder = await temporaryFolder();
    const list = join(folder, 'list.tsv');
    const { files } = JSON.parse(await readFile(join(heldout, 'expected.json'), 'utf8'));
    const [one] = files as { file: string; timestamps: { text: string } }[];
    const audio = join(heldout, one.file.replace('.wav', '.flac'));
    await writeFile(
      list,
      `${audio}\t${one.timestamps.text}\n${JSON.stringify({ audio: sample, text: 'other words' })}\n`,
    );
    const { status, stdout } = await onehead([
      'evaluate',
      list,
      '--format',
      'json',
      '--dtype',
      'float32',
      '--language',
      'en',
    ]);
    expect(status).toBe(0);
    const result = JSON.parse(stdout);
    expect(result.normalizer).toBe('english');
    expect(result.files[0]).toMatchObject({ file: audio, wordErrorRate: 0, characterErrorRate: 0 });
    expect(result.files[1].wordErrorRate).toBeGreaterThan(0.5);
    expect(result.words.hits).toBe(result.files[0].words.hits + result.files[1].words.hits);
  });

  it('compares word times with a reference', async () => {
    const folder = await folderWith({ a: sampleText });
    const spoken = sampleText.trim().split(/\s+/);
    const words = spoken.map((word, i) => ({ word, start: i / 2, end: i / 2 + 0.5 }));
    await writeFile(join(folder, 'a.json'), JSON.stringify(words));
    const flags = ['--words', folder, '--dtype', 'float32'];
    const { status, stdout, stderr } = await onehead(['evaluate', folder, ...flags]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    const [head, a, total] = stdout.split('\n');
    expect(head).toMatch(/words +found .* start +bias/);
    expect(a).toMatch(new RegExp(`^ +${words.length} +${words.length} .* a\\.flac$`));
    expect(total).toMatch(/total of 1$/);
    const lines = words.map(({ word, start }) => `a A ${start} 0.5 ${word}`);
    await writeFile(join(folder, 'all.ctm'), lines.join('\n'));
    const other = ['--words', join(folder, 'all.ctm'), '--dtype', 'float32', '--format', 'json'];
    const result = JSON.parse((await onehead(['evaluate', folder, ...other])).stdout);
    expect(result).toMatchObject({ words: words.length, matched: words.length, files: [{ words: words.length }] });
    expect(result.starts.count).toBe(words.length);
  });

  it.each([
    [['evaluate'], 2, 'Give one folder'],
    [['evaluate', heldout, '--tier', 'words'], 2, '--words'],
    [['evaluate', heldout, '--words', '/no/such'], 1, 'There is no file or folder /no/such'],
    [['evaluate', '/no/such', '--words', heldout], 1, 'There is no file or folder /no/such'],
    [['evaluate', heldout, '--words', sample], 1, 'is a folder; name a folder'],
    [['evaluate', sample, '--words', sample], 1, 'read from .TextGrid, .ctm and .json files'],
    [['evaluate', sample, '--words', heldout], 1, 'no words for any recording'],
    [['evaluate', '/no/such/folder'], 1, 'There is no file or folder /no/such/folder'],
    [['evaluate', heldout, '--normalizer', 'klingon'], 2, '--normalizer'],
    [
      ['evaluate', heldout, '--live', '--beam-size', '5'],
      2,
      '--live uses no decoding option but --language; leave out --beam',
    ],
    [['evaluate', heldout, '--live', '--vad-threshold', '0.5'], 2, 'leave out --vad-threshold'],
  ])('%o is refused', async (args, status, message) => {
    const result = await onehead(args);
    expect(result.status).toBe(status);
    expect(result.stderr).toMatch(sentence);
    expect(result.stderr).toContain(message);
  });

  it('takes no text beside a recording for a recording', async () => {
    const folder = await folderWith({ a: sampleText });
    for (const name of ['a.srt', 'a.vtt', 'a.TextGrid', 'a.ctm']) await writeFile(join(folder, name), 'text');
    await copyFile(sample, join(folder, 'B.FLAC'));
    await writeFile(join(folder, 'B.TXT'), sampleText);
    const { status, stdout, stderr } = await onehead(['evaluate', folder]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/ B\.FLAC\n.* a\.flac\n.* total of 2\n$/);
  });

  it('reports a recording that cannot be read, and evaluates the others', async () => {
    const folder = await folderWith({ a: sampleText, c: sampleText });
    await writeFile(join(folder, 'b.flac'), 'no audio');
    await writeFile(join(folder, 'b.txt'), 'no audio');
    const { status, stdout, stderr } = await onehead(['evaluate', folder]);
    expect(status).toBe(1);
    expect(stderr).toMatch(/^onehead: .*b\.flac is text .*\n$/);
    expect(stdout).toMatch(/ a\.flac\n.* c\.flac\n.* total of 2, without 1 that failed\n$/);
    for (const name of ['a', 'b', 'c']) {
      await writeFile(join(folder, `${name}.json`), JSON.stringify([{ word: 'we', start: 0, end: 0.2 }]));
    }
    const timed = await onehead(['evaluate', folder, '--words', folder, '--format', 'json']);
    expect(timed).toMatchObject({ status: 1, stderr });
    expect(JSON.parse(timed.stdout).files).toHaveLength(2);
  });

  it('explains missing texts and invalid lines', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'empty'));
    const missing = await onehead(['evaluate', join(folder, 'empty')]);
    expect(missing.stderr).toContain('contains no recordings with texts');
    await writeFile(join(folder, 'list'), 'one.flac\ttext\nonly a text\n');
    const wrong = await onehead(['evaluate', join(folder, 'list')]);
    expect(wrong.stderr).toContain('line 2');
  });
});
