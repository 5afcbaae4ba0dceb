/** Results in a folder: each file is written and synced under a temporary name, and then linked or renamed. */
import { randomUUID } from 'node:crypto';
import { readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { makeFolder } from '../make-folder.js';
import { FolderWriter } from './folder-writer.js';
import { type Store, storeFailed } from './store.js';

/** Temporary files, on the same file system, so that they can be renamed. */
const unfinished = '.onehead/unfinished';
/** Milliseconds after which a temporary file is abandoned: its worker was killed. */
const abandoned = 24 * 3600 * 1000;

/** System folders that do not hold regular files; /dev/shm is shared memory. */
const systems = /^\/(proc|sys|dev(?!\/shm(\/|$)))(\/|$)/;

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

/** The real path of a folder that exists or will be created. */
async function realPlace(folder: string): Promise<string> {
  for (let place = folder; ; place = dirname(place)) {
    const real = await realpath(place).catch(() => null);
    if (real !== null) return join(real, relative(place, folder));
    if (dirname(place) === place) return folder;
  }
}

export class FolderStore implements Store {
  readonly name: string;
  readonly #folder: string;
  readonly #writer = new FolderWriter();

  private constructor(name: string) {
    this.name = name;
    this.#folder = resolve(name);
  }

  static async open(folder: string): Promise<FolderStore> {
    const store = new FolderStore(folder);
    try {
      const system = systems.exec(await realPlace(store.#folder));
      if (system) throw new Error(`/${system[1]} belongs to the system and cannot hold files; choose another folder`);
      makeFolder(store.#folder);
      makeFolder(join(store.#folder, unfinished));
      await store.#clean();
      // A folder that is not writable is reported now, not when the first recording is done.
      const trial = join(store.#folder, unfinished, randomUUID());
      await writeFile(trial, '', { flag: 'wx' });
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

  async #place(path: string, bytes: Uint8Array, once: boolean): Promise<boolean> {
    try {
      return await this.#writer.place({ path, bytes, once, beside: join(this.#folder, unfinished, randomUUID()) });
    } catch (cause) {
      throw storeFailed(`write ${path}`, cause);
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
    await this.#place(this.#path(key), bytes, false);
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    return this.#place(this.#path(key), bytes, true);
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

  close(): void {
    this.#writer.close();
  }
}
