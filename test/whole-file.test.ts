/** Files that the command writes. */
import { execFileSync, spawn } from 'node:child_process';
import { chmod, readdir, readFile, stat, symlink, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { writeWhole } from '../lib/whole-file.js';
import { temporaryFolder } from './cli/command.js';

it('replaces a file behind a link, and keeps its permissions', async () => {
  const folder = await temporaryFolder();
  const [file, link] = [join(folder, 'talk.txt'), join(folder, 'link.txt')];
  await writeFile(file, 'earlier');
  await chmod(file, 0o600);
  await symlink(file, link);
  await writeWhole(link, 'later');
  expect(await readFile(file, 'utf8')).toBe('later');
  expect((await stat(file)).mode & 0o777).toBe(0o600);
  expect((await readdir(folder)).sort()).toEqual(['link.txt', 'talk.txt']);
});

it('writes into a pipe, which stays one', async () => {
  const folder = await temporaryFolder();
  const pipe = join(folder, 'talk.txt');
  execFileSync('mkfifo', [pipe]);
  const reader = spawn('cat', [pipe]);
  const read = text(reader.stdout);
  await writeWhole(pipe, 'spoken');
  expect((await stat(pipe)).isFIFO()).toBe(true);
  expect(await read).toBe('spoken');
});
