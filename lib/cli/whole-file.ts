/** Writes files whole or not at all. */
import { realpath, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';

/** Errors of a file beside the old one, or of renaming it: a mount point, a name of full length. */
const onlyInPlace = new Set(['EBUSY', 'ENAMETOOLONG']);

/**
 * Writes a file under a temporary name and renames it, so that a full disk or the end of the process leaves neither a
 * part of the text nor a part of what the file held before. A link is followed. Where no other file can be made beside
 * it, the file is written in place.
 */
export async function writeWhole(path: string, text: string): Promise<void> {
  const target = await realpath(path).catch(() => path);
  const temporary = join(dirname(target), `.${basename(target)}.${process.pid}`);
  try {
    await writeFile(temporary, text);
    await rename(temporary, target);
  } catch (error) {
    await rm(temporary, { force: true }).catch(() => {});
    if (!onlyInPlace.has((error as NodeJS.ErrnoException).code ?? '')) throw error;
    await writeFile(target, text);
  }
}
