/** The commands of batch processing, without Redis, and with it if it is installed. */
import { copyFile, mkdir, readdir, readFile, symlink, writeFile } from 'node:fs/promises';
import { type AddressInfo, connect, createServer } from 'node:net';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { hasRedis, RedisServer } from '../batch/support.js';
import { finished, onehead, sample, sampleLines, start, temporaryFolder } from './command.js';

const spoken = sampleLines.join(' ');
const textOf = async (file: string) => JSON.parse(await readFile(file, 'utf8')).text.trim();
const shownIn = async (folder: string) => (await readdir(folder)).filter((name) => name !== '.onehead').sort();

describe('a worker without Redis', () => {
  it('writes a separate result for each recording, whatever its name', async () => {
    const folder = await temporaryFolder();
    const long = 'x'.repeat(250);
    const names = ['monday/talk.flac', 'tuesday/talk.flac', `monday/${long}.flac`, 'monday/ünï 中文\n2.flac'];
    for (const day of ['monday', 'tuesday']) await mkdir(join(folder, day));
    for (const [index, name] of names.entries()) {
      await copyFile(sample, join(folder, name));
      // Different bytes, so that it is another recording.
      await writeFile(join(folder, name), Buffer.alloc(index), { flag: 'a' });
    }
    await writeFile(join(folder, 'monday/empty.wav'), '');
    await symlink('../monday', join(folder, 'monday/loop'));
    const out = join(folder, 'out');
    const args = ['worker', join(folder, 'monday'), join(folder, 'tuesday'), '--results', out, '--threads', '1'];
    const { status, stderr } = await onehead(args);
    expect(stderr).toMatch(/monday\/empty\.wav: .* contains no audio\. It is set aside\.\n/);
    expect(stderr).not.toMatch(/ at .*\.js/);
    expect(status).toBe(1);
    const results = await shownIn(out);
    expect(results).toHaveLength(4);
    for (const name of results) {
      expect(await textOf(join(out, name))).toBe(spoken);
      expect(Buffer.byteLength(name)).toBeLessThan(255);
    }
    // A second run writes the same files, and no others.
    expect((await onehead(args)).status).toBe(1);
    expect(await shownIn(out)).toEqual(results);
  });

  it('reports a broken link in a folder, and transcribes the rest', async () => {
    const folder = await temporaryFolder();
    await copyFile(sample, join(folder, 'talk.flac'));
    await symlink('nowhere.flac', join(folder, 'broken.flac'));
    const out = join(folder, 'out');
    const { status, stderr } = await onehead(['worker', folder, '--results', out, '--threads', '1', '--quiet']);
    expect([status, stderr]).toEqual([
      1,
      `onehead: Cannot read ${join(folder, 'broken.flac')}: there is no such file or folder.\n`,
    ]);
    expect(await textOf(join(out, 'talk.json'))).toBe(spoken);
  });

  it('refuses invalid sources and options in one sentence', async () => {
    const folder = await temporaryFolder();
    const file = (name: string) => join(folder, name);
    await writeFile(file('itself.txt'), '@itself.txt\n');
    await writeFile(file('bytes.txt'), Buffer.from([1, 0, 2, 0]));
    await symlink('loop.wav', file('loop.wav'));
    const cases: [string[], number, RegExp][] = [
      [[`@${file('itself.txt')}`], 1, /The list .* contains itself; remove that line\./],
      [[`@${file('bytes.txt')}`], 1, /it is not a list of recordings/],
      [[`@${file('missing.txt')}`], 1, /Cannot read the list .*no such file/],
      [[file('missing.wav')], 1, /Cannot read .*no such file/],
      [[file('loop.wav')], 1, /Cannot read .*symbolic links/],
      [['/dev/null'], 1, /neither a file nor a folder/],
      [[folder, '--results', file('bytes.txt')], 1, /Cannot write to .*bytes\.txt/],
      [[], 2, /Name recordings/],
    ];
    await Promise.all(
      cases.map(async ([args, status, sentence]) => {
        const results = args.includes('--results') ? [] : ['--results', file('out')];
        const result = await onehead(['worker', ...args, ...results], { env: { ONEHEAD_REDIS: '' } });
        expect(result).toMatchObject({ status, stdout: '', stderr: expect.stringMatching(sentence) });
        expect(result.stderr.trim().split('\n')).toHaveLength(1);
      }),
    );
  });

  it('exits immediately if it is stopped before it starts', async () => {
    const folder = await temporaryFolder();
    const child = start(['worker', sample, '--results', join(folder, 'out')]);
    const result = finished(child);
    while (!(await readdir(folder)).includes('out')) await sleep(5);
    child.kill('SIGTERM');
    const { status, stderr } = await result;
    expect(stderr).not.toMatch(/Error| at .*\.js/);
    expect(status).toBe(0);
  });
});

describe.skipIf(!hasRedis)('the commands of a queue', () => {
  let redis: RedisServer;
  beforeAll(async () => {
    redis = await RedisServer.start();
  });
  afterAll(() => redis.remove());
  const run = (...args: string[]) => onehead([...args, '--redis', redis.url]);

  it('submit, transcribe, show, retry and cancel recordings', async () => {
    const folder = await temporaryFolder();
    await mkdir(join(folder, 'in'));
    await copyFile(sample, join(folder, 'in/talk.flac'));
    await writeFile(join(folder, 'in/notes.wav'), 'This is no recording.');
    await writeFile(join(folder, 'in/empty.wav'), '');
    expect(await run('submit', join(folder, 'in'))).toEqual({
      status: 0,
      stdout: '3 recordings added to onehead\n',
      stderr: '',
    });
    expect((await run('submit', join(folder, 'in'))).stdout).toMatch(/^0 recordings added .*3 were there already/);
    const worked = await run('worker', '--results', join(folder, 'out'), '--until-empty', '--threads', '1');
    expect(worked.status).toBe(1);
    expect(worked.stderr).toMatch(/notes\.wav: .*It is set aside\./);
    expect(await textOf(join(folder, 'out/talk.json'))).toBe(spoken);

    const { status, stdout } = await run('status');
    expect(status).toBe(1);
    expect(stdout).toMatch(/^1 of 3 recordings done, 0 in progress, 0 waiting, 2 set aside\n/);
    const [, id] = /notes\.wav \((\w{12}), 1 attempt\)/.exec(stdout)!;
    expect(JSON.parse((await run('status', '--json')).stdout)).toMatchObject({ counts: { done: 1, failed: 2 } });
    expect(await run('retry', 'nothing')).toMatchObject({
      status: 1,
      stdout: '',
      stderr: expect.stringMatching(/None of these is set aside/),
    });
    // By the id that status shows.
    expect(await run('retry', id)).toMatchObject({ status: 0, stdout: '1 recording will be tried again\n' });
    expect(await run('cancel', 'notes')).toMatchObject({
      status: 0,
      stdout: expect.stringMatching(/^1 recording cancelled/),
    });
    expect(await run('cancel', 'notes')).toMatchObject({ status: 1, stdout: '' });
    expect((await run('status')).stdout).toMatch(/^1 of 2 recordings done/);
  }, 180_000);

  it('add the recordings of a list, and report lines without a recording', async () => {
    const folder = await temporaryFolder();
    const list = join(folder, 'list.txt');
    await copyFile(sample, join(folder, 'talk.flac'));
    await writeFile(list, 'missing.wav\n\n# talks\ntalk.flac\nmissing/folder\n\u0007\n');
    const { status, stdout, stderr } = await run('submit', `@${list}`, '--queue', 'list');
    expect([status, stdout]).toEqual([1, '1 recording added to list\n']);
    const lines = stderr.trim().split('\n');
    expect(lines).toHaveLength(3);
    for (const [index, number] of [1, 5, 6].entries()) {
      expect(lines[index]).toMatch(
        new RegExp(`Line ${number} of .*list\\.txt: Cannot read .*: there is no such file or folder\\.$`),
      );
    }
  });

  it('store a result for each set of options, and one for two paths of the same file', async () => {
    const folder = await temporaryFolder();
    const file = join(folder, 'talk.flac');
    await copyFile(sample, file);
    await mkdir(join(folder, 'sub'));
    const queue = ['--queue', 'options'];
    await run('submit', file, join(folder, 'sub/../talk.flac'), ...queue);
    expect((await run('submit', file, ...queue)).stdout).toMatch(/^0 recordings added .*1 were there already/);
    expect((await run('submit', file, '--words', ...queue)).stdout).toMatch(/^1 recording added/);
    const out = join(folder, 'out');
    const work = ['worker', '--results', out, '--until-empty', '--threads', '1', '--quiet', ...queue];
    expect((await run(...work)).status).toBe(0);
    const results = await shownIn(out);
    expect(results).toEqual([expect.stringMatching(/^talk \(\w{8}\)\.json$/), 'talk.json']);
    const words = await Promise.all(
      results.map(async (name) => JSON.parse(await readFile(join(out, name), 'utf8')).segments[0].words !== undefined),
    );
    expect(words.sort()).toEqual([false, true]);
  });

  it('explain invalid addresses and names', async () => {
    for (const [address, sentence] of [
      ['localhost:6379', /Expected --redis to be an address such as .* received 'localhost:6379'/],
      ['redis://127.0.0.1:99999', /Expected --redis to be an address/],
      ['redis://', /Expected --redis to be an address/],
      ['redis://127.0.0.1:6379/first', /Expected --redis to be an address/],
      [`${redis.url}/99`, /Cannot reach Redis at .*: ERR DB index is out of range\.$/m],
      ['redis://127.0.0.1:1', /Cannot reach Redis at redis:\/\/127\.0\.0\.1:1: .*ECONNREFUSED/],
    ] as const) {
      const { status, stderr } = await onehead(['status', '--redis', address]);
      expect(stderr).toMatch(sentence);
      expect([status, stderr.trim().split('\n').length]).toEqual([1, 1]);
    }
    expect(await run('status', '--queue', 'a b')).toMatchObject({
      status: 1,
      stderr: expect.stringMatching(/Expected --queue to be a name/),
    });
  });

  it('can be stopped at any moment of their start', async () => {
    const folder = await temporaryFolder();
    const { port } = new URL(redis.url);
    // Passes everything on, except that questions about the server's settings are never answered.
    let asked = 0;
    const proxy = createServer((client) => {
      const server = connect(Number(port), redis.address);
      for (const [from, to] of [
        [client, server],
        [server, client],
      ]) {
        from.on('error', () => to.destroy());
        from.on('close', () => to.destroy());
        from.on('data', (data) => {
          if (from === client && /config/i.test(data.toString('latin1'))) asked += 1;
          else to.write(data);
        });
      }
    });
    await new Promise<void>((resolve) => proxy.listen(0, '127.0.0.1', resolve));
    onTestFinished(() => void proxy.close());
    const url = `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    const commands = [
      ['worker', '--results', join(folder, 'out')],
      ['submit', '--watch', folder],
    ];
    for (const [index, args] of commands.entries()) {
      asked = 0;
      const child = start([...args, '--redis', url]);
      const result = finished(child);
      onTestFinished(() => void child.kill('SIGKILL'));
      while (asked === 0) await sleep(5);
      child.kill(index === 0 ? 'SIGTERM' : 'SIGINT');
      const { status, stderr } = (await Promise.race([result, sleep(10_000)])) ?? { status: 'it runs on', stderr: '' };
      expect(stderr).not.toMatch(/Error| at .*\.js/);
      expect(status).toBe(index === 0 ? 0 : 130);
    }
  });

  it('can be stopped while Redis cannot be reached', async () => {
    const away = await RedisServer.start();
    const folder = await temporaryFolder();
    const worker = start(['worker', '--redis', away.url, '--results', join(folder, 'out'), '--drain', '1', '--quiet']);
    const submit = start(['submit', '--watch', folder, '--redis', away.url]);
    const results = [worker, submit].map(finished);
    await Promise.race([new Promise((resolve) => submit.stdout.once('data', resolve)), sleep(20_000)]);
    await sleep(2000);
    await away.kill();
    await sleep(1000);
    worker.kill('SIGTERM');
    submit.kill('SIGTERM');
    const [worked, submitted] = await Promise.all(results);
    expect(worked).toMatchObject({ status: 0, stderr: expect.not.stringMatching(/ at .*\.js/) });
    expect(submitted).toMatchObject({ status: 0, stderr: expect.not.stringMatching(/ at .*\.js/) });
    await away.remove();
  });
});
