/** Results in a folder: a file is written beside its place, to the disk, and then put there at once. */
import { randomUUID } from 'node:crypto';
import { link, mkdir, open, readdir, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { type Store, storeFailed } from './store.js';

/** Files that are being written; on the same file system, so that they can be renamed. */
const unfinished = '.onehead/unfinished';
/** Milliseconds after which an unfinished file is nobody's: its worker was killed. */
const abandoned = 24 * 3600 * 1000;

/** What file systems without hard links say to one. */
const noLinks = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK']);

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

export class FolderStore implements Store {
  readonly name: string;
  readonly #folder: string;
  readonly #made = new Set<string>();

  private constructor(name: string) {
    this.name = name;
    this.#folder = resolve(name);
  }

  static async open(folder: string): Promise<FolderStore> {
    const store = new FolderStore(folder);
    try {
      await mkdir(join(store.#folder, unfinished), { recursive: true });
      await store.#clean();
      // Whoever may not write here learns it now, and not when the first recording is done.
      const trial = join(store.#folder, unfinished, randomUUID());
      await (await open(trial, 'wx')).close();
      await rm(trial, { force: true });
    } catch (cause) {
      throw storeFailed(`write to ${folder}`, cause);
    }
    return store;
  }

  async #clean(): Promise<void> {
    const folder = join(this.#folder, unfinished);
    for (const name of await readdir(folder)) {
      const file = join(folder, name);
      const status = await stat(file).catch(() => null);
      if (status && Date.now() - status.mtimeMs > abandoned) await rm(file, { force: true });
    }
  }

  #path(key: string): string {
    const path = resolve(this.#folder, key);
    if (!path.startsWith(this.#folder + sep))
      throw storeFailed(`write ${key}`, new Error('it is outside of the folder'));
    return path;
  }

  async #makeFolder(folder: string): Promise<void> {
    if (this.#made.has(folder)) return;
    await mkdir(folder, { recursive: true });
    if (this.#made.size > 10_000) this.#made.clear();
    this.#made.add(folder);
  }

  /** Writes the bytes beside, gives the file to `place`, and leaves nothing behind. */
  async #beside<T>(path: string, bytes: Uint8Array, place: (file: string) => Promise<T>): Promise<T> {
    const file = join(this.#folder, unfinished, randomUUID());
    try {
      await this.#makeFolder(dirname(path));
      const handle = await open(file, 'wx');
      try {
        await handle.writeFile(bytes);
        await handle.sync();
      } finally {
        await handle.close();
      }
      return await place(file);
    } catch (cause) {
      // Somebody may have tidied the folders away.
      this.#made.clear();
      throw storeFailed(`write ${path}`, cause);
    } finally {
      await rm(file, { force: true }).catch(() => {});
    }
  }

  async read(key: string): Promise<Buffer | null> {
    const path = this.#path(key);
    try {
      return await readFile(path);
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT' || codeOf(cause) === 'ENOTDIR') return null;
      throw storeFailed(`read ${path}`, cause);
    }
  }

  async write(key: string, bytes: Uint8Array): Promise<void> {
    const path = this.#path(key);
    await this.#beside(path, bytes, (file) => rename(file, path));
  }

  create(key: string, bytes: Uint8Array): Promise<boolean> {
    const path = this.#path(key);
    return this.#beside(path, bytes, async (file) => {
      try {
        await link(file, path);
        return true;
      } catch (error) {
        if (codeOf(error) === 'EEXIST') return false;
        if (!noLinks.has(codeOf(error) ?? '')) throw error;
      }
      // Without hard links two at the very same moment may both write; what they write is the same.
      if (await stat(path).catch(() => null)) return false;
      await rename(file, path);
      return true;
    });
  }

  async list(prefix: string): Promise<string[]> {
    const folder = this.#path(prefix);
    try {
      const entries = await readdir(folder, { recursive: true, withFileTypes: true });
      return entries
        .filter((entry) => entry.isFile())
        .map((entry) => relative(this.#folder, join(entry.parentPath, entry.name)).split(sep).join('/'))
        .sort();
    } catch (cause) {
      if (codeOf(cause) === 'ENOENT') return [];
      throw storeFailed(`list ${folder}`, cause);
    }
  }

  async remove(key: string): Promise<void> {
    const path = this.#path(key);
    await rm(path, { force: true, recursive: true }).catch((cause: unknown) => {
      throw storeFailed(`remove ${path}`, cause);
    });
  }

  close(): void {}
}
