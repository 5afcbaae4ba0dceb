/** Watching a folder: each recording is submitted once it is complete, whatever happens to files and folders. */
import { appendFileSync, mkdirSync, renameSync, rmSync, symlinkSync, unlinkSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import type { Recording } from '../../lib/batch/queue.js';
import { watchFolder } from '../../lib/batch/watch.js';
import { temporaryFolder } from './support.js';

describe('a watched folder', () => {
  let place: ReturnType<typeof temporaryFolder>;
  let input: string;
  let given: Recording[];
  let trouble: string[];
  let stop: AbortController;
  /** Receives the recordings; it can be made to fail. */
  let take: (recordings: readonly Recording[]) => void;
  let watching: Promise<void>;

  const put = (name: string, text = name) => writeFileSync(join(input, name), text);
  const names = () => given.map(({ source }) => source.slice(input.length + 1)).sort();
  async function until(ready: () => boolean): Promise<void> {
    for (let tries = 0; !ready(); ++tries) {
      if (tries > 400) throw new Error(`It did not come: ${names().join(', ').slice(0, 500)}`);
      await sleep(25);
    }
  }
  const start = () => {
    stop = new AbortController();
    const onRecordings = async (recordings: Recording[]) => {
      take(recordings);
      given.push(...recordings);
    };
    const settings = { settled: 500, interval: 50, onTrouble: (message: string) => trouble.push(message) };
    watching = watchFolder(input, { language: 'en' }, onRecordings, stop.signal, settings);
  };

  beforeEach(() => {
    place = temporaryFolder();
    input = join(place.folder, 'in');
    mkdirSync(input);
    [given, trouble, take] = [[], [], () => {}];
    start();
  });
  afterEach(async () => {
    stop.abort();
    await watching;
    place.remove();
  });

  it('reports existing, new and replaced recordings once', async () => {
    put('one.wav');
    mkdirSync(join(input, 'sub/deep'), { recursive: true });
    put('sub/deep/two.mp3');
    put('sub/notes.txt');
    put('.hidden.wav');
    await until(() => given.length === 2);
    writeFileSync(join(place.folder, 'beside.wav'), 'renamed');
    renameSync(join(place.folder, 'beside.wav'), join(input, 'three.wav'));
    mkdirSync(join(place.folder, 'moved'));
    writeFileSync(join(place.folder, 'moved/four.wav'), 'moved');
    renameSync(join(place.folder, 'moved'), join(input, 'moved'));
    await until(() => given.length === 4);
    writeFileSync(join(place.folder, 'beside.wav'), 'another one');
    renameSync(join(place.folder, 'beside.wav'), join(input, 'one.wav'));
    await until(() => given.length === 5);
    await sleep(800);
    expect(names()).toEqual(['moved/four.wav', 'one.wav', 'one.wav', 'sub/deep/two.mp3', 'three.wav']);
    expect(given.find(({ name }) => name === 'sub/deep/two')).toMatchObject({ options: { language: 'en' } });
    expect(new Set(given.map(({ id }) => id)).size).toBe(5);
  });

  it('waits until a file has stopped growing, and ignores removed files', async () => {
    put('gone.wav');
    for (let i = 0; i < 10; ++i) {
      appendFileSync(join(input, 'grows.wav'), '0123456789');
      if (i === 1) unlinkSync(join(input, 'gone.wav'));
      await sleep(100);
    }
    await until(() => given.length > 0);
    await sleep(700);
    expect(given.map(({ name, bytes }) => [name, bytes])).toEqual([['grows', 100]]);
  });

  it('supports any name and thousands of files, and follows no circular links', async () => {
    symlinkSync('loop.wav', join(input, 'loop.wav'));
    mkdirSync(join(input, 'sub'));
    symlinkSync('..', join(input, 'sub/up'));
    const odd = ['new\nline.wav', 'ünï 中文.wav', `${'x'.repeat(250)}.wav`];
    for (const name of odd) put(name);
    for (let i = 0; i < 2000; ++i) put(`${i}.wav`);
    await until(() => given.length >= 2003);
    expect(new Set(names()).size).toBe(2003);
    for (const name of odd) expect(names()).toContain(name);
    expect(trouble).toEqual([]);
  });

  it('continues after the folder was removed and created again', async () => {
    put('one.wav');
    await until(() => given.length === 1);
    rmSync(input, { recursive: true });
    await until(() => trouble.length > 0);
    await sleep(200);
    expect(trouble).toEqual([expect.stringMatching(/^Cannot read .*there is no such file or folder\.$/)]);
    mkdirSync(join(input, 'new'), { recursive: true });
    put('new/two.wav');
    await until(() => given.length === 2);
    expect(names()).toEqual(['new/two.wav', 'one.wav']);
  });

  it('reports recordings again after a failure, and after a restart', async () => {
    let refusals = 3;
    take = () => {
      refusals -= 1;
      if (refusals >= 0) throw new Error('The queue is full');
    };
    put('one.wav');
    await until(() => given.length === 1);
    expect(trouble).toEqual(['The queue is full.']);
    stop.abort();
    await watching;
    put('two.wav');
    start();
    await until(() => given.length === 3);
    expect(names()).toEqual(['one.wav', 'one.wav', 'two.wav']);
    // The queue recognizes known recordings by their ids.
    expect(new Set(given.map(({ id }) => id)).size).toBe(2);
  });

  it('must exist at the start', async () => {
    const missing = watchFolder(join(place.folder, 'missing'), {}, async () => {}, stop.signal);
    await expect(missing).rejects.toMatchObject({ code: 'AUDIO_NOT_FOUND' });
  });
});
