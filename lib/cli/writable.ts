/** Checks before long work that its results can be written. */
import { constants } from 'node:fs';
import { access, open, rm, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { makeFolder } from '../make-folder.js';

/** Throws OneheadError INVALID_ARGUMENT if a file cannot be written. A pipe or a device is not opened. */
export async function checkWritable(path: string): Promise<void> {
  try {
    const status = await stat(path).catch(() => null);
    if (status?.isDirectory()) throw new Error('it is a folder');
    if (status && !status.isFile()) return;
    const opened = await open(path, 'a').catch(async (error: unknown) => {
      // A file that is protected can still be replaced.
      if (!status) throw error;
      await access(dirname(path), constants.W_OK);
    });
    await opened?.close();
    if (!status) await rm(path);
  } catch (cause) {
    const message = `Cannot write ${shown(path)}: ${reasonOf(cause)}; name another file.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { cause });
  }
}

/** Creates a folder. Throws OneheadError INVALID_ARGUMENT if that fails, or if the file `name` cannot be written in it. */
export async function checkWritableFolder(folder: string, name: string): Promise<void> {
  try {
    makeFolder(folder);
  } catch (cause) {
    const message = `Cannot write into ${shown(folder)}: ${reasonOf(cause)}; name another folder.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { cause });
  }
  await checkWritable(join(folder, name));
}
