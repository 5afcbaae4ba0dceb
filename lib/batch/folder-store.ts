/** A store in a folder. Each file is written and synced under a temporary name, and then linked or renamed. */
import { randomUUID } from 'node:crypto';
import { readdir, readFile, realpath, rm, stat, writeFile } from 'node:fs/promises';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { makeFolder } from '../make-folder.js';
import { FolderWriter } from './folder-writer.js';
import { type Store, storeFailed } from './store.js';

/** The folder of temporary files, on the same file system so that they can be renamed. */
const temporaryFolder = '.onehead/unfinished';
/** Milliseconds after which a temporary file is deleted, since its worker must have been killed. */
const maxAge = 24 * 3600 * 1000;

/** System folders that cannot contain regular files. /dev/shm can: it is shared memory. */
const systemFolders = /^\/(proc|sys|dev(?!\/shm(\/|$)))(\/|$)/;

const codeOf = (error: unknown) => (error as NodeJS.ErrnoException).code;

/** The path of a folder, which may not exist yet, with all links resolved. */
async function resolveLinks(folder: string): Promise<string> {
  for (let ancestor = folder; ; ancestor = dirname(ancestor)) {
    const real = await realpath(ancestor).catch(() => null);
    if (real !== null) return join(real, relative(ancestor, folder));
    if (dirname(ancestor) === ancestor) return folder;
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

  /** Creates the folder if necessary. Throws OneheadError STORE_FAILED if it is not writable. */
  static async open(folder: string): Promise<FolderStore> {
    const store = new FolderStore(folder);
    try {
      const system = systemFolders.exec(await resolveLinks(store.#folder));
      if (system) throw new Error(`/${system[1]} belongs to the system and cannot hold files; choose another folder`);
      makeFolder(store.#folder);
      makeFolder(join(store.#folder, temporaryFolder));
      await store.#deleteOldFiles();
      // A folder that is not writable is reported at once, not after the first recording.
      const trial = join(store.#folder, temporaryFolder, randomUUID());
      await writeFile(trial, '', { flag: 'wx' });
      await rm(trial, { force: true });
    } catch (cause) {
      throw storeFailed(`write to ${folder}`, cause);
    }
    return store;
  }

  async #deleteOldFiles(): Promise<void> {
    const folder = join(this.#folder, temporaryFolder);
    for (const name of await readdir(folder)) {
      const file = join(folder, name);
      const status = await stat(file).catch(() => null);
      if (status && Date.now() - status.mtimeMs > maxAge) await rm(file, { force: true });
    }
  }

  #path(key: string): string {
    const path = resolve(this.#folder, key);
    if (!path.startsWith(this.#folder + sep))
      throw storeFailed(`write ${key}`, new Error('it is outside of the folder'));
    return path;
  }

  async #write(path: string, bytes: Uint8Array, exclusive: boolean): Promise<boolean> {
    try {
      const temporary = join(this.#folder, temporaryFolder, randomUUID());
      return await this.#writer.write({ path, bytes, exclusive, temporary });
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
    await this.#write(this.#path(key), bytes, false);
  }

  async create(key: string, bytes: Uint8Array): Promise<boolean> {
    return this.#write(this.#path(key), bytes, true);
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
