/** Creates folders. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * True if the folder was created, false if it exists, null if its parent is missing. Throws if it cannot be created.
 */
function made(folder: string): boolean | null {
  try {
    mkdirSync(folder);
    return true;
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return null;
    const status = statSync(folder, { throwIfNoEntry: false });
    if (status === undefined) throw error;
    if (!status.isDirectory()) throw Object.assign(new Error('it is a file, not a folder'), { code: 'ENOTDIR' });
    return false;
  }
}

/**
 * Creates a folder and its parents; returns the created ones, parents first. Node's own `recursive` never returns on
 * file systems without folders, such as /proc; this throws. Throws the system's errors.
 */
export function makeFolder(folder: string): string[] {
  const missing: string[] = [];
  let place = resolve(folder);
  let there = made(place);
  for (; there === null && dirname(place) !== place; there = made(place)) {
    missing.push(place);
    place = dirname(place);
  }
  const all = there ? [place] : [];
  for (const next of missing.reverse()) {
    const now = made(next);
    if (now === null) throw Object.assign(new Error(`no folder can be made in ${dirname(next)}`), { code: 'ENOENT' });
    if (now) all.push(next);
  }
  return all;
}
