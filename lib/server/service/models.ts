/**
 * The served models: loaded on demand, unloaded after a time without use, and loaded again after their devices failed.
 */
import { subscribe, unsubscribe } from 'node:diagnostics_channel';
import { type EngineEvent, engineChannel } from '../../engine/figures.js';
import { OneheadError, reasonOf } from '../../errors.js';
import { unlessAborted } from '../../signals.js';
import type { LoadOptions } from '../../whisper/model/types.js';
import { Whisper } from '../../whisper/whisper.js';
import { ApiError, modelNotFound, overloaded, shuttingDown } from './api-error.js';
import { type Entry, entriesOf, type ModelFailure } from './entries.js';
import type { CheckedServerOptions } from './options.js';

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
  /** Called if a model could not be loaded. */
  onFailure?: (id: string, error: unknown) => void;
  /** Called if all devices of a loaded model have failed, before it is unloaded. */
  onDeviceFailure?: (id: string, message: string) => void;
}

/** Milliseconds after which a failed load is repeated at the latest; the first attempts follow faster. */
const longestRetry = 60_000;
/** Milliseconds after which a model that failed again had worked, so that it is loaded again at once. */
const stableAfter = 60_000;

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

  /** Looks for models whose devices have failed, now and after each failure. */
  watch(): void {
    subscribe(engineChannel, this.#onEngineEvent);
    this.#checkAll();
  }

  /** After a failure, looks for models whose devices have failed, when the engine has rejected its callers. */
  readonly #onEngineEvent = (event: unknown) => {
    if ((event as EngineEvent).event !== 'failed') return;
    setImmediate(() => this.#checkAll());
  };

  #checkAll(): void {
    for (const entry of this.#entries) this.#checkDevices(entry);
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

  /** The models that cannot be used, and why. */
  failures(): (ModelFailure & { id: string })[] {
    return [...this.#entries].flatMap(({ served, failure }) => (failure ? [{ id: served.id, ...failure }] : []));
  }

  /** Loads a model, and tries again, ever more rarely, until it is loaded. Rejects if the first attempt fails. */
  async preload(name: string): Promise<void> {
    const entry = this.#names.get(name);
    if (!entry) throw modelNotFound(name);
    entry.wanted = true;
    const { release } = await this.acquire(name);
    release();
  }

  /** True once a model was loaded. It may have been unloaded since. */
  wasLoaded(name: string): boolean {
    return this.#names.get(name)?.wasLoaded ?? false;
  }

  /** All loaded models. */
  loaded(): { id: string; whisper: Whisper }[] {
    return [...this.#entries].flatMap(({ served, whisper }) => (whisper ? [{ id: served.id, whisper }] : []));
  }

  /**
   * Acquires a model, loading it first if necessary. Rejects with ApiError 404 or 500, with 503 if its devices have
   * failed, or with the reason of `signal`.
   */
  async acquire(name: string, signal?: AbortSignal): Promise<Lease> {
    const entry = this.#names.get(name);
    if (!entry) throw modelNotFound(name);
    signal?.throwIfAborted();
    this.#shutdown.signal.throwIfAborted();
    this.#checkDevices(entry);
    if (entry.failure?.kind === 'device') throw deviceFailed(entry);
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
    entry.loading ??= this.#loadNow(entry)
      .catch((error: unknown) => {
        if (entry.wanted || entry.failure?.kind === 'device') this.#loadLater(entry);
        throw error;
      })
      .finally(() => {
        entry.loading = null;
      });
    return entry.loading;
  }

  /** Loads a model after a delay that doubles with each attempt. */
  #loadLater(entry: Entry): void {
    clearTimeout(entry.retryTimer);
    if (this.#shutdown.signal.aborted) return;
    const delay = entry.attempts === 0 ? 0 : Math.min(longestRetry, 500 * 2 ** entry.attempts);
    entry.attempts += 1;
    entry.retryAt = performance.now() + delay;
    const load = () => void (entry.whisper ?? this.#loadOnce(entry).catch(() => {})); // a failure calls this again
    entry.retryTimer = setTimeout(load, delay).unref();
  }

  /** Unloads a model whose devices have all failed, and loads it again if it is this server's. */
  #checkDevices(entry: Entry): void {
    const { whisper, served, owned } = entry;
    const failure = whisper?.figures().failure;
    if (!whisper || !failure || entry.failure?.kind === 'device') return;
    entry.failure = { kind: 'device', message: failure.message, since: performance.now(), reloadFailed: !owned };
    this.#events.onDeviceFailure?.(served.id, failure.message);
    if (!owned) return;
    clearTimeout(entry.unloadTimer);
    this.#events.onUnload?.(served.id, whisper);
    whisper.dispose();
    entry.whisper = null;
    if (performance.now() - entry.loadedAt > stableAfter) entry.attempts = 0;
    this.#loadLater(entry);
  }

  async #loadNow(entry: Entry): Promise<Whisper> {
    const { id, model, load } = entry.served;
    const started = performance.now();
    const options = { ...this.#load, ...load, signal: this.#shutdown.signal };
    while (this.loaded().length >= this.#maximumLoaded) {
      if (this.#unloadOldest()) continue;
      // Without room, it is like any model that is not loaded: a request loads it later, and a restart would not help.
      if (entry.failure?.kind === 'device') entry.failure = null;
      throw overloaded(10);
    }
    try {
      for (;;) {
        try {
          const whisper = await Whisper.load(model, options);
          if (this.#shutdown.signal.aborted) whisper.dispose();
          this.#shutdown.signal.throwIfAborted();
          entry.whisper = whisper;
          entry.wasLoaded = true;
          if (entry.failure?.kind !== 'device') entry.attempts = 0;
          entry.failure = null;
          entry.loadedAt = performance.now();
          clearTimeout(entry.retryTimer);
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
      const previous = entry.failure?.kind === 'device' ? entry.failure : null;
      entry.failure = {
        kind: previous ? 'device' : 'load',
        message: cause instanceof OneheadError ? cause.message : reasonOf(cause),
        since: previous?.since ?? performance.now(),
        reloadFailed: previous !== null,
      };
      if (!previous && entry.attempts === 0) entry.attempts = 1; // this was the first
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
    this.#shutdown.abort(shuttingDown());
    unsubscribe(engineChannel, this.#onEngineEvent);
    for (const entry of this.#entries) {
      clearTimeout(entry.unloadTimer);
      clearTimeout(entry.retryTimer);
      if (entry.owned) entry.whisper?.dispose();
      entry.whisper = null;
    }
  }
}

/** The error of requests for a model whose devices have failed. */
function deviceFailed({ served, owned, retryAt }: Entry): ApiError {
  const seconds = Math.max(0, retryAt - performance.now()) / 1000;
  return new ApiError(
    503,
    owned
      ? `The device of the model '${served.id}' has failed, and the model is being loaded again; try again later.`
      : `The device of the model '${served.id}' has failed; try another server, or again when this one was restarted.`,
    { code: 'model_failed', retryAfter: owned ? seconds + 5 : 30 },
  );
}
