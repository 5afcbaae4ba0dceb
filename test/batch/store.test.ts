/** Stores: writes are atomic, and each entry is created once. */
import { mkdirSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import S3rver from 's3rver';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { openStore } from '../../lib/batch/open-store.js';
import { recordingsOf } from '../../lib/batch/sources.js';
import type { Store } from '../../lib/batch/store.js';
import { ConditionalServer } from './conditional-server.js';
import { freePort, temporaryFolder } from './support.js';

const { folder, remove } = temporaryFolder();
let server: S3rver;
let conditional: ConditionalServer;
const endpoints = { plain: '', conditional: '' };
/** Opens a bucket of one of the two servers. */
function bucket(kind: keyof typeof endpoints, address: string): Promise<Store> {
  process.env.AWS_ENDPOINT_URL_S3 = endpoints[kind];
  return openStore(address);
}

beforeAll(async () => {
  const port = await freePort();
  mkdirSync(join(folder, 's3'));
  server = new S3rver({
    port,
    address: '127.0.0.1',
    silent: true,
    directory: join(folder, 's3'),
    configureBuckets: [{ name: 'talks' }],
  });
  await server.run();
  conditional = new ConditionalServer(port);
  endpoints.plain = `http://127.0.0.1:${port}`;
  endpoints.conditional = await conditional.start();
  process.env.AWS_ENDPOINT_URL_S3 = endpoints.plain;
  process.env.AWS_ACCESS_KEY_ID = 'S3RVER';
  process.env.AWS_SECRET_ACCESS_KEY = 'S3RVER';
});
afterAll(async () => {
  await conditional.close();
  await server.close();
  remove();
});

describe.each([
  ['a folder', () => openStore(join(folder, 'results'))],
  ['a bucket of a server without conditions', () => bucket('plain', 's3://talks/results')],
  ['a bucket', () => bucket('conditional', 's3://talks/conditional')],
])('%s', (kind, open) => {
  let store: Store;
  beforeAll(async () => {
    store = await open();
  });
  afterAll(() => store.close());
  const text = async (key: string) => (await store.read(key))?.toString() ?? null;

  it('stores, reads, lists and removes entries', async () => {
    expect(await store.read('a/b/c.json')).toBeNull();
    await store.write('a/b/c.json', Buffer.from('one'));
    expect(await text('a/b/c.json')).toBe('one');
    await store.write('a/b/c.json', Buffer.from('two'));
    expect(await text('a/b/c.json')).toBe('two');
    await store.write('a/d.json', Buffer.from('three'));
    expect(await store.list('a')).toEqual(['a/b/c.json', 'a/d.json']);
    expect(await store.list('nothing')).toEqual([]);
    await store.remove('a/d.json');
    await store.remove('a/d.json');
    expect(await store.list('a')).toEqual(['a/b/c.json']);
  });

  it('creates only missing entries', async () => {
    expect(await store.create('once', Buffer.from('first'))).toBe(true);
    expect(await store.create('once', Buffer.from('second'))).toBe(false);
    expect(await text('once')).toBe('first');
  });

  it.runIf(kind !== 'a bucket of a server without conditions')(
    'lets one of many concurrent writers create an entry',
    async () => {
      const length = kind === 'a folder' ? 100 : 10;
      const tries = Array.from({ length }, (_, index) => store.create('race', Buffer.from(`${index}`.repeat(5000))));
      const won = (await Promise.all(tries)).flatMap((created, index) => (created ? [index] : []));
      expect(won).toHaveLength(1);
      expect(await text('race')).toBe(`${won[0]}`.repeat(5000));
      if (kind === 'a folder') expect(readdirSync(join(folder, 'results/.onehead/unfinished'))).toEqual([]);
    },
  );

  it.runIf(kind === 'a bucket')('retries during a concurrent write', async () => {
    conditional.statuses.length = 0;
    conditional.conflicts = 2;
    expect(await store.create('conflict', Buffer.from('first'))).toBe(true);
    conditional.conflicts = 1;
    expect(await store.create('conflict', Buffer.from('second'))).toBe(false);
    expect(await text('conflict')).toBe('first');
    expect(conditional.statuses).toEqual([409, 409, 200, 409, 412]);
    conditional.conflicts = 100;
    await expect(store.create('conflict', Buffer.from('third'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
    conditional.conflicts = 0;
  });

  it.runIf(kind === 'a folder')('reports the result of each write, and continues after failures', async () => {
    writeFileSync(join(folder, 'results/plain'), 'a file');
    const tries = [store.write('well/1', Buffer.from('1')), store.write('plain/2', Buffer.from('2'))];
    const results = await Promise.allSettled([...tries, store.write('well/3', Buffer.from('3'))]);
    expect(results.map(({ status }) => status)).toEqual(['fulfilled', 'rejected', 'fulfilled']);
    await expect(tries[1]).rejects.toMatchObject({
      code: 'STORE_FAILED',
      message: expect.stringMatching(/plain\/2: .*not a/),
    });
    expect(readdirSync(join(folder, 'results/.onehead/unfinished'))).toEqual([]);
    // Deleted folders are created again.
    rmSync(join(folder, 'results'), { recursive: true });
    await expect(store.write('well/4', Buffer.from('4'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await store.write('well/4', Buffer.from('4'));
    expect(await text('well/4')).toBe('4');
  });

  it.runIf(kind === 'a folder')('writes only within the folder', async () => {
    await expect(store.write('../outside', Buffer.from('x'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
  });
});

describe('a store', () => {
  it('explains errors', async () => {
    writeFileSync(join(folder, 'file'), '');
    await expect(openStore(join(folder, 'file'))).rejects.toMatchObject({ code: 'STORE_FAILED' });
    const places: [string, RegExp][] = [
      [
        '/proc',
        /^Cannot write to \/proc: \/proc belongs to the system and cannot hold files; choose another folder\.$/,
      ],
      ['/proc/onehead', /\/proc belongs to the system/],
      ['/sys/onehead/deep', /\/sys belongs to the system/],
      ['/dev/onehead', /\/dev belongs to the system/],
      [join(folder, 'file'), /it is a file, not a folder/],
      [join(folder, 'file/below'), /a part of its path is no folder/],
      [join(folder, 'link'), /\/proc belongs to the system/],
    ];
    symlinkSync('/proc/onehead', join(folder, 'nowhere'));
    symlinkSync('/proc', join(folder, 'link'));
    for (const [place, sentence] of places) await expect(openStore(place), place).rejects.toThrow(sentence);
    await expect(openStore(join(folder, 'nowhere'))).rejects.toThrow(/^Cannot write to [^\n]*nowhere: [^\n]+\.$/);
    await expect(openStore('s3://absent/x')).rejects.toMatchObject({ code: 'STORE_FAILED' });
    await expect(openStore('s3://')).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' });
  });
});

describe('sources', () => {
  const options = { language: 'en' };
  const names = async (...sources: string[]) => (await recordingsOf(sources, options)).map(({ name }) => name).sort();
  const place = (path: string) => join(folder, 'in', path);

  beforeAll(async () => {
    for (const path of [
      'a/one.wav',
      'a/two.mp3',
      'a/two.flac',
      'a/notes.txt',
      'b/c/three.opus',
      'b/.hidden/four.wav',
    ]) {
      mkdirSync(place(path).replace(/\/[^/]*$/, ''), { recursive: true });
      writeFileSync(place(path), path);
    }
    writeFileSync(place('list.txt'), '# talks\n\na/one.wav\nb\n');
    const store = await openStore('s3://talks/in');
    for (const key of ['x/five.wav', 'x/six.ogg', 'x/readme.md', 'seven.mp3']) await store.write(key, Buffer.from(key));
    store.close();
  });

  it('can be files, folders, patterns, lists and buckets', async () => {
    expect(await names(place('a/notes.txt'))).toEqual(['notes']);
    expect(await names(place(''))).toEqual(['a/one', 'a/two.flac', 'a/two.mp3', 'b/c/three']);
    expect(await names(place('**/*.{mp3,opus}'))).toEqual(['a/two', 'b/c/three']);
    expect(await names(`@${place('list.txt')}`)).toEqual(['c/three', 'one']);
    expect(await names('s3://talks/in')).toEqual(['seven', 'x/five', 'x/six']);
    expect(await names('s3://talks/in/x/five.wav')).toEqual(['five']);
  });

  it('have the same id until the file or its options change', async () => {
    const id = async (given: object) => (await recordingsOf([place('a/one.wav')], given))[0].id;
    const first = await id({ language: 'en', beamSize: 2 });
    expect(await id({ beamSize: 2, language: 'en', prompt: undefined })).toBe(first);
    expect(await id({ language: 'en', beamSize: 3 })).not.toBe(first);
    writeFileSync(place('a/one.wav'), 'another');
    expect(await id({ language: 'en', beamSize: 2 })).not.toBe(first);
  });

  it('are named in errors if they do not exist', async () => {
    await expect(names(place('nothing.wav'))).rejects.toMatchObject({ code: 'AUDIO_NOT_FOUND' });
    await expect(names(`@${place('nothing.txt')}`)).rejects.toMatchObject({ code: 'AUDIO_NOT_FOUND' });
    await expect(names('s3://absent/x')).rejects.toMatchObject({ code: 'AUDIO_NOT_FOUND' });
  });
});
