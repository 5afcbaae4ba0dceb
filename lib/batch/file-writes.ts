/**
 * Writes files atomically and durably: each is written and synced under a temporary name, then linked or renamed, and
 * its folder is synced. Files that are written together share the syncs of folders. This blocks, so it should run on a
 * separate thread.
 */
import {
  closeSync,
  existsSync,
  fsyncSync,
  linkSync,
  openSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { dirname } from 'node:path';
import { makeFolder } from '../make-folder.js';
import { type SerializedError, serializeError } from '../workers/errors.js';

export interface FileWrite {
  path: string;
  /** A temporary path on the same file system. */
  temporary: string;
  bytes: Uint8Array;
  /** If true, an existing file is kept; otherwise it is replaced. */
  exclusive: boolean;
}

/** True if the file was written, false if an existing one was kept. */
export type WriteResult = boolean | SerializedError;

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? '';

/** Errors of file systems without hard links. */
const noLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);
/** Errors of systems that cannot sync folders; then their durability depends on the system. */
const noFolderSync = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EPERM', 'EACCES', 'EISDIR', 'EBADF']);

function syncFolder(folder: string): void {
  try {
    const file = openSync(folder, 'r');
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (!noFolderSync.has(codeOf(error))) throw error;
  }
}

/** Moves a temporary file to its path. False if an existing file was kept. */
function moveToPath({ path, temporary, exclusive }: FileWrite): boolean {
  if (exclusive) {
    try {
      linkSync(temporary, path);
      unlinkSync(temporary);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' && !noLinks.has(codeOf(error))) throw error;
    }
    // Without hard links, another worker may create the file after this check. It writes the same result.
    if (existsSync(path)) {
      unlinkSync(temporary);
      return false;
    }
  }
  renameSync(temporary, path);
  return true;
}

/** Returns a result for each file. `folders` are known to exist; created ones are added. */
export function writeFiles(writes: readonly FileWrite[], folders: Set<string>): WriteResult[] {
  const results: WriteResult[] = new Array(writes.length).fill(true);
  const unsyncedFolders = new Set<string>();
  /** Calls `step` for each file that has not failed. */
  const forEachFile = (step: (write: FileWrite, index: number) => void) => {
    writes.forEach((write, index) => {
      if (typeof results[index] === 'object') return;
      try {
        step(write, index);
      } catch (error) {
        results[index] = serializeError(error);
        // Known folders may have been removed.
        folders.clear();
        rmSync(write.temporary, { force: true });
      }
    });
  };
  forEachFile(({ path, temporary, bytes }) => {
    if (folders.size > 10_000) folders.clear();
    for (const folder of [dirname(temporary), dirname(path)]) {
      if (folders.has(folder)) continue;
      for (const created of makeFolder(folder)) unsyncedFolders.add(dirname(created));
      folders.add(folder);
    }
    writeFileSync(temporary, bytes, { flag: 'wx', flush: true });
  });
  forEachFile((write, index) => {
    results[index] = moveToPath(write);
    unsyncedFolders.add(dirname(write.path));
  });
  const failures = new Map<string, unknown>();
  for (const folder of unsyncedFolders) {
    try {
      syncFolder(folder);
    } catch (error) {
      failures.set(folder, error);
    }
  }
  if (failures.size > 0) {
    forEachFile(({ path }) => {
      const failure = failures.get(dirname(path));
      if (failure !== undefined) throw failure;
    });
  }
  return results;
}
