/** Folders, made where there are none. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * True where it was made, null where it must be made in another folder first. Throws where something else stands there,
 * or it cannot be made.
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
 * Makes a folder and those above it; gives those that were made, each after the one it is in. Where a file system takes
 * no folders, such as /proc, Node's own `recursive` tries for ever; this says so. Throws the system's errors.
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
