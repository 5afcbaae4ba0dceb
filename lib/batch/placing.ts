/**
 * Writes files atomically and durably: each is written and synced under a temporary name, then linked or renamed, and
 * its folder is synced. Several files share the syncs of folders. Blocks on the disk, so it runs on a separate thread.
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

export interface Placement {
  path: string;
  /** The temporary name, on the same file system. */
  beside: string;
  bytes: Uint8Array;
  /** Only if the file does not exist. */
  once: boolean;
}

/** True if the file was written, false if it existed and was kept. */
export type Placed = boolean | SerializedError;

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code ?? '';

/** Errors of file systems without hard links. */
const noLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);
/** Errors of systems that cannot sync folders: their folders are as durable as they make them. */
const unable = new Set(['EINVAL', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EPERM', 'EACCES', 'EISDIR', 'EBADF']);

function syncFolder(folder: string): void {
  try {
    const file = openSync(folder, 'r');
    try {
      fsyncSync(file);
    } finally {
      closeSync(file);
    }
  } catch (error) {
    if (!unable.has(codeOf(error))) throw error;
  }
}

/** Moves a file to its final name. */
function moved({ path, beside, once }: Placement): boolean {
  if (once) {
    try {
      linkSync(beside, path);
      unlinkSync(beside);
      return true;
    } catch (error) {
      if (codeOf(error) !== 'EEXIST' && !noLinks.has(codeOf(error))) throw error;
    }
    // Without hard links, two workers may both write at the same moment; they write the same.
    if (existsSync(path)) {
      unlinkSync(beside);
      return false;
    }
  }
  renameSync(beside, path);
  return true;
}

/** `made`: folders known to exist. */
export function place(placements: readonly Placement[], made: Set<string>): Placed[] {
  const results: Placed[] = new Array(placements.length).fill(true);
  const unsettled = new Set<string>();
  /** Runs a part for each placement that has not failed. */
  const each = (part: (one: Placement, index: number) => void) => {
    placements.forEach((one, index) => {
      if (typeof results[index] === 'object') return;
      try {
        part(one, index);
      } catch (error) {
        results[index] = serializeError(error);
        // The folders may have been removed.
        made.clear();
        rmSync(one.beside, { force: true });
      }
    });
  };
  each(({ path, beside, bytes }) => {
    if (made.size > 10_000) made.clear();
    for (const folder of [dirname(beside), dirname(path)]) {
      if (made.has(folder)) continue;
      for (const fresh of makeFolder(folder)) unsettled.add(dirname(fresh));
      made.add(folder);
    }
    writeFileSync(beside, bytes, { flag: 'wx', flush: true });
  });
  each((one, index) => {
    results[index] = moved(one);
    unsettled.add(dirname(one.path));
  });
  const failures = new Map<string, unknown>();
  for (const folder of unsettled) {
    try {
      syncFolder(folder);
    } catch (error) {
      failures.set(folder, error);
    }
  }
  if (failures.size > 0) {
    each(({ path }) => {
      const failure = failures.get(dirname(path));
      if (failure !== undefined) throw failure;
    });
  }
  return results;
}
