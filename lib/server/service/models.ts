/** The served models: loaded on demand, and unloaded after a time without use. */
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { OneheadError } from '../../errors.js';
import type { LoadOptions } from '../../whisper/model/types.js';
import { Whisper } from '../../whisper/whisper.js';
import { ApiError, modelNotFound, overloaded } from './api-error.js';
import type { CheckedServerOptions, ServedModel } from './options.js';

/** A model in use, which stays loaded until it is released. */
export interface Lease {
  readonly id: string;
  readonly whisper: Whisper;
  /** Releases the model; a second call does nothing. */
  release(): void;
}

export interface ModelInformation {
  id: string;
  /** When the server began to serve it, in seconds since 1970. */
  created: number;
  loaded: boolean;
  /** Number of requests that use it. */
  used: number;
}

/** Callbacks for loading and unloading. */
export interface ModelEvents {
  onLoad?: (id: string, milliseconds: number) => void;
  /** Called before a model is unloaded. */
  onUnload?: (id: string, whisper: Whisper) => void;
  onFailure?: (id: string, error: unknown) => void;
}

/** The state of a served model. */
class Entry {
  readonly served: ServedModel;
  readonly created = Math.floor(Date.now() / 1000);
  loading: Promise<Whisper> | null = null;
  whisper: Whisper | null = null;
  used = 0;
  /** When it was last released, on `performance`'s clock. */
  releasedAt = 0;
  unloadTimer: NodeJS.Timeout | undefined;

  constructor(served: ServedModel) {
    this.served = served;
    this.whisper = served.whisper ?? null;
  }

  /** True if Models loads and disposes of the model, not the caller who created the server. */
  get owned(): boolean {
    return this.served.whisper === undefined;
  }
}

/** The id of a model: its name in the hub, or the last part of its folder's path. */
const idOf = (name: string): string => (existsSync(name) ? basename(resolve(name)) : name);

/**
 * The models by id, folder or hub name, and alias. Throws OneheadError INVALID_ARGUMENT for duplicate names and for an
 * alias of an unknown model.
 */
function entriesOf({ models = [], alias }: Pick<CheckedServerOptions, 'models' | 'alias'>): Map<string, Entry> {
  const served = (models.length > 0 ? models : [{ id: 'onehead-micro' }]).map((model) =>
    typeof model === 'string' ? { id: idOf(model), model } : model,
  );
  const names = new Map<string, Entry>();
  const add = (name: string, entry: Entry) => {
    const other = names.get(name);
    if (other && other !== entry) {
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `Two models have the name ${name}; give one of them another alias or id.`,
        {
          argument: 'models',
        },
      );
    }
    names.set(name, entry);
  };
  for (const model of served) {
    const entry = new Entry(model);
    add(model.id, entry);
    if (model.model !== undefined) add(model.model, entry);
  }
  for (const [name, target] of Object.entries(alias ?? {})) {
    const entry = names.get(target);
    if (!entry) {
      const known = [...names.keys()].join(', ');
      throw new OneheadError(
        'INVALID_ARGUMENT',
        `The alias ${name} refers to ${target}, which is not served; the served models are ${known}.`,
        {
          argument: 'alias',
        },
      );
    }
    add(name, entry);
  }
  if (!names.has('whisper-1')) names.set('whisper-1', names.values().next().value!);
  return names;
}

export class Models {
  /** Models by all of their names. */
  readonly #names: Map<string, Entry>;
  readonly #load: LoadOptions;
  readonly #unloadAfter: number;
  readonly #maximumLoaded: number;
  readonly #events: ModelEvents;
  readonly #shutdown = new AbortController();

  /** Throws OneheadError INVALID_ARGUMENT. */
  constructor(options: CheckedServerOptions, events: ModelEvents = {}) {
    this.#names = entriesOf(options);
    this.#load = { maximumRequests: options.maximumRequests, ...options.load };
    this.#unloadAfter = options.unloadAfter;
    this.#maximumLoaded = options.maximumLoaded ?? Number.POSITIVE_INFINITY;
    this.#events = events;
  }

  get #entries(): Set<Entry> {
    return new Set(this.#names.values());
  }

  /** The served models, by id. */
  list(): ModelInformation[] {
    return [...this.#entries].map(({ served, created, whisper, used }) => ({
      id: served.id,
      created,
      loaded: whisper !== null,
      used,
    }));
  }

  /** The model with an id or alias; null if there is none. */
  find(name: string): ModelInformation | null {
    const id = this.#names.get(name)?.served.id;
    return this.list().find((model) => model.id === id) ?? null;
  }

  /** The id of the default model. */
  get defaultId(): string {
    return this.#names.values().next().value!.served.id;
  }

  /** All loaded models. */
  loaded(): { id: string; whisper: Whisper }[] {
    return [...this.#entries].flatMap(({ served, whisper }) => (whisper ? [{ id: served.id, whisper }] : []));
  }

  /** Acquires a model, loading it first if necessary. Rejects with ApiError 404 or 500, or the reason of `signal`. */
  async acquire(name: string, signal?: AbortSignal): Promise<Lease> {
    const entry = this.#names.get(name);
    if (!entry) throw modelNotFound(name);
    signal?.throwIfAborted();
    this.#shutdown.signal.throwIfAborted();
    clearTimeout(entry.unloadTimer);
    entry.used += 1;
    let released = false;
    const release = () => {
      if (released) return;
      released = true;
      this.#release(entry);
    };
    try {
      const whisper = entry.whisper ?? (await unlessAborted(this.#loadOnce(entry), signal));
      return { id: entry.served.id, whisper, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #release(entry: Entry): void {
    entry.used -= 1;
    entry.releasedAt = performance.now();
    this.#scheduleUnload(entry);
  }

  /** Unloads the model after `unloadAfter`, unless it is used before. */
  #scheduleUnload(entry: Entry): void {
    clearTimeout(entry.unloadTimer);
    if (entry.used > 0 || !entry.owned || this.#unloadAfter === 0) return;
    entry.unloadTimer = setTimeout(() => this.#unload(entry), this.#unloadAfter).unref();
  }

  #unload(entry: Entry): void {
    if (entry.used > 0 || !entry.owned || !entry.whisper) return;
    clearTimeout(entry.unloadTimer);
    this.#events.onUnload?.(entry.served.id, entry.whisper);
    entry.whisper.dispose();
    entry.whisper = null;
  }

  /** Loads a model, once for concurrent callers. */
  #loadOnce(entry: Entry): Promise<Whisper> {
    entry.loading ??= this.#loadNow(entry).finally(() => {
      entry.loading = null;
    });
    return entry.loading;
  }

  async #loadNow(entry: Entry): Promise<Whisper> {
    const { id, model, load } = entry.served;
    const started = performance.now();
    const options = { ...this.#load, ...load, signal: this.#shutdown.signal };
    while (this.loaded().length >= this.#maximumLoaded) if (!this.#unloadOldest()) throw overloaded(10);
    try {
      for (;;) {
        try {
          const whisper = await Whisper.load(model, options);
          if (this.#shutdown.signal.aborted) whisper.dispose();
          this.#shutdown.signal.throwIfAborted();
          entry.whisper = whisper;
          this.#events.onLoad?.(id, performance.now() - started);
          entry.releasedAt = performance.now();
          this.#scheduleUnload(entry); // all callers may have been aborted meanwhile
          return whisper;
        } catch (error) {
          // Tries again with the memory of an unused model.
          if (!(error instanceof OneheadError && error.code === 'OUT_OF_MEMORY' && this.#unloadOldest())) throw error;
        }
      }
    } catch (cause) {
      if (this.#shutdown.signal.aborted) throw this.#shutdown.signal.reason;
      this.#events.onFailure?.(id, cause);
      throw new ApiError(500, `The model '${id}' could not be loaded; the server's log has the reason.`, {
        code: 'model_not_loaded',
        retry: false,
        cause,
      });
    }
  }

  /** Unloads the least recently used model. Returns false if all are in use. */
  #unloadOldest(): boolean {
    const idle = [...this.#entries].filter(({ used, owned, whisper }) => used === 0 && owned && whisper);
    if (idle.length === 0) return false;
    this.#unload(idle.reduce((oldest, entry) => (entry.releasedAt < oldest.releasedAt ? entry : oldest)));
    return true;
  }

  /** Unloads all models; running requests are rejected with DISPOSED. */
  dispose(): void {
    this.#shutdown.abort(
      new ApiError(503, 'The server is shutting down; try another, or try again later.', {
        code: 'shutting_down',
        retryAfter: 5,
      }),
    );
    for (const entry of this.#entries) {
      clearTimeout(entry.unloadTimer);
      if (entry.owned) entry.whisper?.dispose();
      entry.whisper = null;
    }
  }
}

/** Rejects when the signal aborts. The work goes on, since other callers may wait for it too. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
