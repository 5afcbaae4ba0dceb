/** Writes files whole or not at all. */
import { realpath, rename, rm, stat, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { OneheadError, reasonOf } from './errors.js';

/** Errors of a file beside the old one, or of renaming it: a mount point, a name of full length, a protected folder. */
const onlyInPlace = new Set(['EBUSY', 'ENAMETOOLONG', 'EACCES', 'EPERM', 'EROFS']);

/**
 * Writes a file under a temporary name and renames it, so that a full disk or the end of the process leaves neither a
 * part of the text nor a part of what the file held before. A link is followed. A pipe or a device, and a file beside
 * which no other file can be made, is written in place.
 */
export async function writeWhole(path: string, text: string): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const former = await stat(target).catch(() => null);
  if (former && !former.isFile()) return writeFile(target, text);
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}`);
  try {
    await writeFile(temporary, text, { mode: former?.mode });
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (!onlyInPlace.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await writeFile(target, text);
  }
}

/** Writes a file whose name is an argument, as `writeWhole` does. Throws OneheadError INVALID_ARGUMENT. */
export async function writeNamed(path: string, text: string): Promise<void> {
  try {
    await writeWhole(path, text);
  } catch (cause) {
    const message = `Cannot write ${path}: ${reasonOf(cause)}; name another file.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { cause });
  }
}
