/** `onehead profile` and `onehead convert`. */
import { spawnSync } from 'node:child_process';
import { chmod, readdir, readFile, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { describe, expect, it } from 'vitest';
import { finished, onehead, root, sentence, start, temporaryFolder } from './command.js';

const tiny = [
  '--models',
  'micro',
  '--batch',
  '1',
  '--tokens',
  '2',
  '--repeats',
  '2',
  '--seconds',
  '0.01',
  '--threads',
  '2',
];

describe('onehead profile', () => {
  it('measures, prints tables, and writes the requested files', async () => {
    const folder = await temporaryFolder();
    const file = (name: string) => join(folder, name);
    const { status, stdout, stderr } = await onehead([
      ...['profile', 'cross-cache', ...tiny, '--dtype', 'float32', '--json', file('r.json'), '--csv', file('r.csv')],
      ...['--report', file('report'), '--trace', file('trace.json')],
    ]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('Tokens per second, decode steps only');
    expect(stdout).toMatch(/model +batch +cached +copied +recomputed\n/);
    expect((await readdir(folder)).sort()).toEqual(['r.csv', 'r.json', 'report', 'trace.json']);
    expect((await readdir(file('report'))).sort()).toEqual(['cross-cache.svg', 'report.html', 'report.md']);
    const { experiments } = JSON.parse(await readFile(file('r.json'), 'utf8'));
    expect(experiments).toHaveLength(1);
    expect(experiments[0]).toMatchObject({
      experiment: 'cross-cache',
      complete: true,
      settings: { device: 'cpu', dtype: 'float32', models: ['micro'], batches: [1], tokens: 2 },
    });
    expect((await readFile(file('r.csv'), 'utf8')).split('\r\n')).toHaveLength(experiments[0].rows.length + 2);

    const { traceEvents } = JSON.parse(await readFile(file('trace.json'), 'utf8'));
    const tracks = traceEvents.filter(({ name }: { name: string }) => name === 'thread_name');
    expect(tracks.map(({ args }: { args: { name: string } }) => args.name)).toEqual(
      ['cached', 'copied', 'recomputed'].map((variant) => `cross-cache: micro, batch 1, ${variant}`),
    );
    const copies = traceEvents.filter(({ name, tid }: { name: string; tid: number }) => name === 'copy' && tid === 2);
    expect(copies).toHaveLength(6); // keys and values of three layers
    const operations = traceEvents.filter(
      ({ cat, tid }: { cat?: string; tid: number }) => cat === 'operation' && tid === 1,
    );
    operations.slice(1).forEach(({ ts }: { ts: number }, i: number) => {
      expect(ts).toBeCloseTo(operations[i].ts + operations[i].dur, 6);
    });

    // The report again, from the file.
    const again = await onehead(['profile', 'report', file('r.json'), file('again')]);
    expect(again).toMatchObject({ status: 0, stderr: '' });
    expect(await readFile(join(file('again'), 'report.md'))).toEqual(await readFile(join(file('report'), 'report.md')));
  });

  it('keeps finished measurements when it is interrupted, and resumes', async () => {
    const folder = await temporaryFolder();
    const json = join(folder, 'r.json');
    const sizes = ['--batch', '1,2', '--lengths', '8', '--repeats', '100000', '--threads', '2', '--json', json];
    const args = ['profile', 'attention-types', ...sizes];
    const child = start([...args, '--seconds', '0.2']);
    const result = finished(child);
    // The file is written after the first group, during the second.
    while ((await readdir(folder)).length === 0) await new Promise((resolve) => setTimeout(resolve, 20));
    child.kill('SIGINT');
    const { status, stdout, stderr } = await result;
    expect({ status, stdout }).toEqual({ status: 130, stdout: '' });
    expect(stderr).toMatch(
      /^onehead: Interrupted; \d+ rows were measured\. They are in .*r\.json; continue with --resume\.\n$/,
    );
    const kept = JSON.parse(await readFile(json, 'utf8')).experiments[0];
    expect(kept).toMatchObject({ complete: false, groups: ['batch 1, length 8'] });

    const other = await onehead([...args, '--resume', '--seconds', '0.1']);
    expect(other).toMatchObject({ status: 1, stdout: '' });
    expect(other.stderr).toContain('other settings');
    expect(await onehead([...args, '--resume', '--seconds', '0.2'])).toMatchObject({ status: 0, stderr: '' });
    const whole = JSON.parse(await readFile(json, 'utf8')).experiments[0];
    expect(whole).toMatchObject({ complete: true, groups: ['batch 1, length 8', 'batch 2, length 8'] });
    expect(whole.rows.slice(0, kept.rows.length)).toEqual(kept.rows);
  });

  it('compares two results', async () => {
    const folder = await temporaryFolder();
    const machine = {
      cpu: 'x',
      cores: 1,
      gpus: [],
      kernels: 'avx2',
      onednn: '1',
      node: 'v20',
      onehead: '0',
      commit: null,
    };
    const write = async (name: string, times: [string, number, number, number][], threads = 1) => {
      const rows = times.map(([variant, median, low, high]) => ({
        case: { variant },
        time: { median, low, high, count: 9 },
        figures: {},
      }));
      const experiment = { experiment: 'io', date: '', machine, settings: { threads }, facts: {}, groups: [], rows };
      const file = join(folder, name);
      await writeFile(file, JSON.stringify({ format: 'onehead-profile-1', experiments: [experiment] }));
      return file;
    };
    const a = await write('a.json', [
      ['same', 10, 9, 11],
      ['faster', 10, 9, 11],
      ['slower', 10, 9, 11],
      ['gone', 1, 1, 1],
    ]);
    const b = await write(
      'b.json',
      [
        ['same', 11.5, 10.5, 12],
        ['faster', 8, 7, 8.9],
        ['slower', 20, 12, 21],
      ],
      2,
    );
    const { status, stdout, stderr } = await onehead(['profile', 'compare', a, b]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toContain('Note: threads: 1 against 2\n');
    expect(stdout).toContain('2 of 3 rows changed beyond the noise');
    expect(stdout.match(/^io .*$/gm)).toEqual([
      expect.stringMatching(/slower +10.0 µs +20.0 µs +2.00 +slower$/),
      expect.stringMatching(/faster +10.0 µs +8.00 µs +0.80 +faster$/),
    ]);
    expect(stdout).toContain('1 rows are in only one file.');
    const { rows } = JSON.parse((await onehead(['profile', 'compare', a, b, '--json'])).stdout);
    expect(rows.map(({ change }: { change: string }) => change)).toEqual(['none', 'faster', 'slower']);
    const none = await onehead(['profile', 'compare', a, await write('c.json', [])]);
    expect(none.status).toBe(1);
    expect(none.stderr).toMatch(sentence);
  });

  it.each<[string[], number, RegExp]>([
    [[], 2, /Give one experiment: attention-types, .* all/],
    [['speed'], 2, /no experiment 'speed'/],
    [['io', 'all'], 2, /Give one experiment/],
    [['io', '--batch', '1,x'], 2, /--batch to be whole numbers of at least 1, separated by commas, but received '1,x'/],
    [['io', '--seconds', 'long'], 2, /--seconds to be a number above 0 but received 'long'/],
    [['io', '--dtype', 'int8'], 2, /--dtype to be 'float32', 'float16' or 'bfloat16'/],
    [['io', '--resume'], 2, /--resume continues the results of a --json file/],
    [['io', '--model', 'a', '--models', 'tiny'], 2, /not both/],
    [['compare', 'a.json'], 2, /Give two files/],
    [['compare', 'a.json', 'b.json', '--al'], 2, /no option --al of onehead profile compare; perhaps --all is meant/],
    [['report', 'a.json'], 2, /Give a file of results and a folder/],
    [['io', '--lengths', '5', '--quick'], 2, /io has no --lengths; it has --models, --model, --batch, --tokens, /],
    [['audio-context', '--models', 'tiny', '--quick'], 2, /audio-context has no --models; it has --model, --margins/],
    [['io', '--models', 'huge', '--quick'], 1, /--models to be sizes of Whisper \(micro, .*\) but received 'huge'/],
    // Before the experiments that could run.
    [['all', '--models', 'tiny,huge', '--quick'], 1, /--models to be sizes of Whisper/],
    [['all', '--tokens', '445', '--quick'], 1, /--tokens to be a whole number from 1 to 444/],
    [['all', '--audio', '/nowhere/at/all', '--quick'], 1, /no file or folder \/nowhere/],
    [['all', '--json', '/nowhere/at/all', '--quick'], 1, /Cannot write \/nowhere/],
    [['all', '--csv', '/nowhere/at/all', '--quick'], 1, /Cannot write \/nowhere/],
    [['all', '--trace', '.', '--quick'], 1, /Cannot write \.: it is a folder/],
    [['all', '--report', 'package.json/x', '--quick'], 1, /Cannot write into package.json/],
    [['all', '--json', './x', '--csv', 'x', '--quick'], 2, /--json and --csv name the same file/],
    [['all', '--json', '', '--quick'], 2, /--json to be a file but received an empty string/],
    [['io', '--device', 'tpu', '--quick'], 1, /'tpu'/],
    [['io', '--quick', '--model', '/nowhere/at/all'], 1, /nowhere/],
    [['compare', 'package.json', 'package.json'], 1, /does not contain results/],
    [['report', 'nowhere.json', 'x'], 1, /Cannot read results from nowhere.json/],
  ])('%j is refused in one sentence', async (args, expected, reason) => {
    const { status, stdout, stderr } = await onehead(['profile', ...args]);
    expect({ status, stdout }).toEqual({ status: expected, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(reason);
  });
});

describe('onehead convert', () => {
  const micro = join(root, 'models/micro');

  it('writes a checkpoint that transcribes', async () => {
    const to = join(await temporaryFolder(), 'grouped');
    const { status, stdout, stderr } = await onehead(['convert', '--kv-heads', '2', '--parts', 'cross', micro, to]);
    expect({ status, stderr }).toEqual({ status: 0, stderr: '' });
    expect(stdout).toMatch(/parameters 2\.57 M to 2\.52 M, caches of a window 1\.01 MiB to 0\.65 MiB in 16 bits\n$/);
    const { decoder } = JSON.parse((await onehead(['inspect', to, '--json'])).stdout);
    expect(decoder).toMatchObject({ keyValueHeads: 4, crossKeyValueHeads: 2 });
    expect((await onehead(['transcribe', '--model', to, join(micro, 'sample.flac')])).status).toBe(0);
  });

  it('leaves nothing of a checkpoint that does not fit on the disk', async () => {
    const to = join(await temporaryFolder(), 'whole');
    // 51 or 102 kB for each file, as of a full disk.
    const limited = ['-c', 'ulimit -f 100; exec "$0" "$@"', process.execPath, join(root, 'dist/cli/main.js')];
    const { status, stdout, stderr } = spawnSync('sh', [...limited, 'convert', micro, to], { encoding: 'utf8' });
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toContain(`Cannot write to ${to}: file too large; make space, or give another folder.`);
    expect(await readdir(to)).toEqual([]);
  });

  // Root may write everywhere.
  it.skipIf(process.getuid?.() === 0)('refuses a folder that is protected', async () => {
    const to = await temporaryFolder();
    await chmod(to, 0o555);
    const { status, stdout, stderr } = await onehead(['convert', micro, to]);
    expect({ status, stdout }).toEqual({ status: 1, stdout: '' });
    expect(stderr).toMatch(sentence);
  });

  it('writes a checkpoint of another format as a Hugging Face folder', async () => {
    const to = join(await temporaryFolder(), 'written');
    const from = join(root, 'test/fixtures/checkpoints/openai/model.pt');
    const { status, stdout, stderr } = await onehead(['convert', from, to]);
    expect({ status, stdout, stderr }).toEqual({
      status: 0,
      stdout: `${to}: 0.05 M parameters, from openai/whisper's .pt\n`,
      stderr: '',
    });
    expect(JSON.parse((await onehead(['inspect', to, '--json'])).stdout)).toMatchObject({
      format: 'safetensors',
      storedAs: ['float16'],
    });
  });

  it.each<[string[], number, RegExp]>([
    [['--parts', 'cross', 'in', 'out'], 2, /--kv-heads 1/],
    [['in'], 2, /Name a checkpoint to read and a new folder/],
    [[micro, ''], 2, /Name a checkpoint to read and a new folder/],
    [['--kv-heads', '1', 'in'], 2, /Name a checkpoint to read and a new folder/],
    [['--kv-heads', '0', 'in', 'out'], 2, /--kv-heads to be a whole number/],
    [['--kv-heads', '1', '--parts', 'decoder', 'in', 'out'], 2, /--parts to be cross, self, encoder/],
    [['--kv-heads', '1', '--method', 'median', 'in', 'out'], 2, /--method to be mean, first, random/],
    [['--kv-heads', '3', micro, 'out'], 1, /cannot be converted to 3/],
    [['--kv-heads', '1', micro, micro], 1, /is the checkpoint itself/],
    [['--kv-heads', '1', '/nowhere/at/all', 'out'], 1, /nowhere/],
  ])('%j is refused in one sentence', async (args, expected, reason) => {
    const { status, stdout, stderr } = await onehead(['convert', ...args]);
    expect({ status, stdout }).toEqual({ status: expected, stdout: '' });
    expect(stderr).toMatch(sentence);
    expect(stderr).toMatch(reason);
  });
});
