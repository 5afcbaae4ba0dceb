/** Checks before long work that its results can be written. */
import { constants } from 'node:fs';
import { access, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { makeFolder } from '../make-folder.js';

/** Throws OneheadError INVALID_ARGUMENT if a file cannot be written. Nothing is created. */
export async function checkWritable(path: string): Promise<void> {
  try {
    const status = await stat(path).catch(() => null);
    if (status?.isDirectory()) throw new Error('it is a folder');
    if (status && !status.isFile()) return;
    // A file in the folder can be replaced, even if it is protected itself.
    const folder = dirname(path);
    if (!(await stat(folder)).isDirectory()) throw new Error(`${folder} is no folder`);
    await access(folder, constants.W_OK).catch((error: unknown) => {
      if (!status) throw error;
      return access(path, constants.W_OK);
    });
  } catch (cause) {
    const message = `Cannot write ${shown(path)}: ${reasonOf(cause)}; name another file.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { cause });
  }
}

/** Creates a folder. Throws OneheadError INVALID_ARGUMENT if that fails, or if its file `name` cannot be written. */
export async function checkWritableFolder(folder: string, name: string): Promise<void> {
  try {
    makeFolder(folder);
  } catch (cause) {
    const message = `Cannot write into ${shown(folder)}: ${reasonOf(cause)}; name another folder.`;
    throw new OneheadError('INVALID_ARGUMENT', message, { cause });
  }
  await checkWritable(join(folder, name));
}
