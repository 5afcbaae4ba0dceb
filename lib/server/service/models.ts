/** The served models: loaded on demand, and unloaded after a time without use. */
import { existsSync } from 'node:fs';
import { basename, resolve } from 'node:path';
import { OneheadError } from '../../errors.js';
import type { LoadOptions } from '../../whisper/model/types.js';
import { Whisper } from '../../whisper/whisper.js';
import { ApiError, modelNotFound, overloaded } from './api-error.js';
import type { CheckedServerOptions, ServedModel } from './options.js';

/** Keeps a model loaded. */
export interface Lease {
  readonly id: string;
  readonly whisper: Whisper;
  /** Releases the model; a second call does nothing. */
  release(): void;
}

export interface ModelInformation {
  id: string;
  /** Seconds since 1970 at which the server began to offer it. */
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

class Entry {
  readonly served: ServedModel;
  readonly created = Math.floor(Date.now() / 1000);
  loading: Promise<Whisper> | null = null;
  whisper: Whisper | null = null;
  used = 0;
  /** Time of its last release, on `performance`'s clock. */
  since = 0;
  timer: NodeJS.Timeout | undefined;

  constructor(served: ServedModel) {
    this.served = served;
    this.whisper = served.whisper ?? null;
  }

  /** True if this class loaded the model; false if the creator of the server did. */
  get ours(): boolean {
    return this.served.whisper === undefined;
  }
}

/** A hub name, or the last part of a folder's path. */
const idOf = (name: string): string => (existsSync(name) ? basename(resolve(name)) : name);

/** The models by name. Throws OneheadError INVALID_ARGUMENT for duplicate names. */
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
  for (const one of served) {
    const entry = new Entry(one);
    add(one.id, entry);
    if (one.model !== undefined) add(one.model, entry);
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
  readonly #end = new AbortController();

  /** Throws OneheadError INVALID_ARGUMENT. */
  constructor(options: CheckedServerOptions, events: ModelEvents = {}) {
    this.#names = entriesOf(options);
    this.#load = { maximumRequests: options.maximumRequests, ...options.load };
    this.#unloadAfter = options.unloadAfter * 1000;
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
    return this.list().find((one) => one.id === id) ?? null;
  }

  /** The id of the default model. */
  get usual(): string {
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
    this.#end.signal.throwIfAborted();
    clearTimeout(entry.timer);
    entry.used += 1;
    let held = true;
    const release = () => {
      if (!held) return;
      held = false;
      this.#release(entry);
    };
    try {
      const whisper = entry.whisper ?? (await unlessAborted(this.#loading(entry), signal));
      return { id: entry.served.id, whisper, release };
    } catch (error) {
      release();
      throw error;
    }
  }

  #release(entry: Entry): void {
    entry.used -= 1;
    entry.since = performance.now();
    this.#rest(entry);
  }

  /** Unloads an unused model after its time. */
  #rest(entry: Entry): void {
    clearTimeout(entry.timer);
    if (entry.used > 0 || !entry.ours || this.#unloadAfter === 0) return;
    entry.timer = setTimeout(() => this.#unload(entry), this.#unloadAfter).unref();
  }

  #unload(entry: Entry): void {
    if (entry.used > 0 || !entry.ours || !entry.whisper) return;
    clearTimeout(entry.timer);
    this.#events.onUnload?.(entry.served.id, entry.whisper);
    entry.whisper.dispose();
    entry.whisper = null;
  }

  /** Loads a model once for all who wait for it. */
  #loading(entry: Entry): Promise<Whisper> {
    entry.loading ??= this.#loadNow(entry).finally(() => {
      entry.loading = null;
    });
    return entry.loading;
  }

  async #loadNow(entry: Entry): Promise<Whisper> {
    const { id, model, load } = entry.served;
    const started = performance.now();
    const options = { ...this.#load, ...load, signal: this.#end.signal };
    while (this.loaded().length >= this.#maximumLoaded) if (!this.#makeRoom()) throw overloaded(10);
    try {
      for (;;) {
        try {
          const whisper = await Whisper.load(model, options);
          if (this.#end.signal.aborted) whisper.dispose();
          this.#end.signal.throwIfAborted();
          entry.whisper = whisper;
          this.#events.onLoad?.(id, performance.now() - started);
          entry.since = performance.now();
          this.#rest(entry); // those who waited for it may have gone
          return whisper;
        } catch (error) {
          // An unused model makes room.
          if (!(error instanceof OneheadError && error.code === 'OUT_OF_MEMORY' && this.#makeRoom())) throw error;
        }
      }
    } catch (cause) {
      if (this.#end.signal.aborted) throw this.#end.signal.reason;
      this.#events.onFailure?.(id, cause);
      throw new ApiError(500, `The model '${id}' could not be loaded; the server's log has the reason.`, {
        code: 'model_not_loaded',
        retry: false,
        cause,
      });
    }
  }

  /** Unloads the least recently used model; false if all are in use. */
  #makeRoom(): boolean {
    const idle = [...this.#entries].filter(({ used, ours, whisper }) => used === 0 && ours && whisper);
    if (idle.length === 0) return false;
    this.#unload(idle.reduce((oldest, one) => (one.since < oldest.since ? one : oldest)));
    return true;
  }

  /** Unloads all models; running requests are rejected with DISPOSED. */
  dispose(): void {
    this.#end.abort(
      new ApiError(503, 'The server is shutting down; try another or try again later.', {
        code: 'shutting_down',
        retryAfter: 5,
      }),
    );
    for (const entry of this.#entries) {
      clearTimeout(entry.timer);
      if (entry.ours) entry.whisper?.dispose();
      entry.whisper = null;
    }
  }
}

/** Stops waiting on abort, but not the work: others may wait for it too. */
function unlessAborted<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
  if (!signal) return work;
  return new Promise((resolve, reject) => {
    const abort = () => reject(signal.reason);
    signal.addEventListener('abort', abort, { once: true });
    work.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort));
  });
}
