/** Creates folders. */
import { mkdirSync, statSync } from 'node:fs';
import { dirname, resolve } from 'node:path';

/**
 * True if the folder was created, false if it exists, null if its parent is missing. Throws if it cannot be created.
 */
function create(folder: string): boolean | null {
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
 * Creates a folder and its missing parents; returns the paths of those created, parents first. Throws the system's
 * errors. Unlike mkdir's option `recursive`, this also returns on file systems that have no folders, such as /proc.
 */
export function makeFolder(folder: string): string[] {
  const missing: string[] = [];
  let current = resolve(folder);
  let created = create(current);
  for (; created === null && dirname(current) !== current; created = create(current)) {
    missing.push(current);
    current = dirname(current);
  }
  const all = created ? [current] : [];
  for (const path of missing.reverse()) {
    const isNew = create(path);
    if (isNew === null) {
      throw Object.assign(new Error(`no folder can be created in ${dirname(path)}`), { code: 'ENOENT' });
    }
    if (isNew) all.push(path);
  }
  return all;
}
