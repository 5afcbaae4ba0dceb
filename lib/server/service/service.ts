/** State shared by all routes of a server: options, models, keys, metrics, open requests, shutdown. */
import { setMaxListeners } from 'node:events';
import { mkdtemp, rmdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { FastifyBaseLogger, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { type Priority, priorities } from '../../engine/request.js';
import { OneheadError, reasonOf, shown } from '../../errors.js';
import { check } from '../../options/options.js';
import { loadOptions } from '../../whisper/model/types.js';
import {
  checkTranscribeOptions,
  type TranscribeOptions,
  transcribeOptions,
} from '../../whisper/transcription/options.js';
import type { Whisper } from '../../whisper/whisper.js';
import { overloaded, shuttingDown } from './api-error.js';
import type { ModelFailure } from './entries.js';
import { type Client, Keys } from './keys.js';
import { Metrics } from './metrics.js';
import { Models } from './models.js';
import { type CheckedServerOptions, type ServerOptions, serverOptions } from './options.js';

/** Registers routes: like a fastify plugin, with the service as second argument. */
export type Routes = (app: FastifyInstance, service: Service) => void | Promise<void>;

/** A running request. */
export interface OpenRequest {
  /** The name of its key. */
  readonly key: string;
  /** The x-ratelimit headers, if the key has a rate. */
  readonly headers: Record<string, string>;
  /** Marks the request as ended; a second call does nothing. */
  close(): void;
}

/** Milliseconds within which a model whose devices failed has to be loaded again. */
const recoveryTime = 120_000;

/** The longest wait of a model's requests of a class and of the more urgent ones, in milliseconds. */
function waitBefore(whisper: Whisper, priority: Priority): number {
  const { oldestByPriority } = whisper.figures().waiting;
  const before = priorities.slice(0, priorities.indexOf(priority) + 1);
  return Math.max(...before.map((name) => oldestByPriority[name]));
}

/** Throws OneheadError INVALID_ARGUMENT if no files can be created in the folder. */
async function checkFolder(path: string): Promise<void> {
  try {
    // A trial, since /proc and the like allow access but hold no files.
    await rmdir(await mkdtemp(join(path, 'onehead-')));
  } catch (cause) {
    throw new OneheadError(
      'INVALID_ARGUMENT',
      `Uploads cannot be stored in ${shown(path)}: ${reasonOf(cause)}; set temporaryFolder to a writable folder.`,
      { argument: 'temporaryFolder', cause },
    );
  }
}

export class Service {
  readonly options: CheckedServerOptions;
  readonly models: Models;
  readonly keys: Keys;
  readonly log: FastifyBaseLogger;
  readonly #clients = new WeakMap<FastifyRequest, Client>();
  readonly #ending = new AbortController();
  readonly #ended = new AbortController();
  #metrics: Metrics | null = null;
  #open = 0;
  #onIdle = () => {};
  #preloading: Promise<void> | null = null;
  /**
   * True while no more requests should be sent to the server, which still answers them: `/ready` tells so. For
   * operators who take a server out of use before they stop it.
   */
  draining = false;

  private constructor(options: CheckedServerOptions, log: FastifyBaseLogger) {
    this.options = options;
    this.log = log;
    this.models = new Models(options, {
      onLoad: (model, milliseconds) => log.info({ model, milliseconds: Math.round(milliseconds) }, 'model loaded'),
      onUnload: (model, whisper) => {
        this.metrics.unloading(model, whisper);
        log.info({ model }, 'model unloaded');
      },
      onFailure: (model, error) => log.error({ model, err: error }, 'model not loaded'),
      onDeviceFailure: (model, reason) => {
        this.metrics.failed(model);
        log.error({ model, reason }, 'model failed');
      },
    });
    try {
      this.keys = new Keys(options.keys, (error) => log.error({ err: error }, 'key file not reloaded'));
    } catch (error) {
      this.models.dispose();
      throw error;
    }
    // Every running request adds a listener, so many of them are no leak.
    setMaxListeners(0, this.ending, this.ended);
  }

  /** Throws OneheadError INVALID_ARGUMENT for invalid options, NOT_SUPPORTED if a library is missing. */
  static async create(given: ServerOptions, log: FastifyBaseLogger): Promise<Service> {
    const options = check(serverOptions, given);
    check(loadOptions, options.load, { within: 'load.' });
    check(transcribeOptions, options.transcribe, { within: 'transcribe.' });
    if (options.temporaryFolder !== undefined) await checkFolder(options.temporaryFolder);
    const service = new Service(options, log);
    try {
      checkTranscribeOptions(service.#transcribeOptions);
      const ids = service.models.list().map(({ id }) => id);
      const failed = () => service.models.failures().flatMap(({ id, kind }) => (kind === 'device' ? [id] : []));
      service.#metrics = await Metrics.create(ids, () => service.models.loaded(), failed);
      service.models.watch(); // a model of the caller may have failed already
      return service;
    } catch (error) {
      service.keys.close();
      service.models.dispose();
      throw error;
    }
  }

  get metrics(): Metrics {
    return this.#metrics!;
  }

  /**
   * An onRequest hook that identifies the client by its key, and adds the key's name to the request's log. Throws
   * ApiError 401, or 503 during shutdown.
   */
  readonly authenticate = async (request: FastifyRequest, reply: FastifyReply): Promise<void> => {
    const client = this.keys.authenticate(request.headers.authorization);
    this.#clients.set(request, client);
    this.logClient(request, reply, client);
    this.throwIfEnding();
  };

  /** Adds the name of the client's key, if keys are required, to all further log lines of a request. */
  logClient(request: FastifyRequest, reply: FastifyReply, client: Client): void {
    if (this.keys.required) this.addToLog(request, reply, { key: client.name });
  }

  /** Adds members to all further log lines of a request. */
  addToLog(request: FastifyRequest, reply: FastifyReply, members: Record<string, string>): void {
    request.log = request.log.child(members);
    reply.log = request.log;
  }

  /** The client of a request that has passed `authenticate`. */
  clientOf(request: FastifyRequest): Client {
    return this.#clients.get(request)!;
  }

  /**
   * Counts a client's request or socket until it is closed; shutdown waits for it. Throws ApiError 429 if the key's
   * limits are exceeded, 503 if the server is overloaded or shutting down.
   */
  open(client: Client): OpenRequest {
    this.throwIfEnding();
    if (this.#open >= this.options.maximumRequests) throw overloaded(2);
    let clientRequest: ReturnType<Client['open']>;
    try {
      clientRequest = client.open();
    } catch (error) {
      this.metrics.requested(client.name, 'limited');
      throw error;
    }
    this.metrics.requested(client.name, 'accepted');
    this.#open += 1;
    let open = true;
    const close = () => {
      if (!open) return;
      open = false;
      clientRequest.close();
      this.#open -= 1;
      if (this.#open === 0) this.#onIdle();
    };
    return { key: client.name, headers: clientRequest.headers, close };
  }

  /** Number of open requests and sockets. */
  get openRequests(): number {
    return this.#open;
  }

  /** Throws ApiError 503 if requests for this model that go before such a one have waited too long. */
  admit(whisper: Whisper, priority: Priority = this.#defaultPriority): void {
    const wait = waitBefore(whisper, priority);
    if (wait > this.options.maximumWait) throw overloaded(Math.min(60, wait / 2000));
  }

  /** The priority of requests whose key has none. */
  get #defaultPriority(): Priority {
    return this.options.transcribe?.priority ?? 'interactive';
  }

  /**
   * Loads the first model if configured. Rejects with ApiError, whose cause is the reason, if the first attempt fails;
   * others follow.
   */
  preload(): Promise<void> {
    this.#preloading ??= this.#preload();
    return this.#preloading;
  }

  async #preload(): Promise<void> {
    if (!this.options.preload) return;
    const { defaultId } = this.models;
    await this.models.preload(defaultId);
    // Otherwise every request would be refused, as if its fields were wrong.
    const { whisper, release } = await this.models.acquire(defaultId);
    await whisper.checkOptions(this.#transcribeOptions).finally(release);
  }

  /** The default options of transcribe, as a request with words uses them. */
  get #transcribeOptions(): TranscribeOptions {
    const { transcribe } = this.options;
    return { ...transcribe, wordTimestamps: true, ...(transcribe?.batched && { conditionOnPreviousText: false }) };
  }

  /** The reason why no requests should be sent to the server; null if it is ready. */
  notReady(): string | null {
    if (this.ending.aborted) return 'shutting down';
    if (this.draining) return 'draining';
    for (const { id, kind, message } of this.models.failures()) {
      if (kind === 'device') return `the model ${id} has failed: ${message}`;
      if (this.options.preload && id === this.models.defaultId) return `not loaded: ${message}`;
    }
    if (this.options.preload && !this.models.wasLoaded(this.models.defaultId)) return 'loading';
    if (this.#open >= this.options.maximumRequests) return 'too many requests';
    for (const { whisper } of this.models.loaded()) {
      if (whisper.figures().requests >= this.options.maximumRequests) return 'too many requests';
      // Requests of a less urgent class, such as a backlog of 'batch', do not concern those that a balancer sends.
      const wait = waitBefore(whisper, this.#defaultPriority);
      if (wait > this.options.maximumWait) return 'requests wait too long';
    }
    return null;
  }

  /** The reason why the process should be restarted; null if it works. */
  unhealthy(): string | null {
    const isLost = ({ kind, since, reloadFailed }: ModelFailure) =>
      kind === 'device' && (reloadFailed || performance.now() - since > recoveryTime);
    const lost = this.models.failures().find(isLost);
    return lost ? `the model ${lost.id} has failed: ${lost.message}` : null;
  }

  /** Aborted when the server stops accepting requests: sockets close, running requests continue. */
  get ending(): AbortSignal {
    return this.#ending.signal;
  }

  /** Aborted, with an ApiError 503, when running requests have to stop. */
  get ended(): AbortSignal {
    return this.#ended.signal;
  }

  /** Throws ApiError 503 during shutdown. */
  throwIfEnding(): void {
    if (this.ending.aborted) throw shuttingDown();
  }

  /** Accepts no new requests, waits for running ones up to `shutdownTimeout`, and then aborts them. */
  async drain(): Promise<void> {
    this.#ending.abort(shuttingDown());
    if (this.#open > 0) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, this.options.shutdownTimeout);
        this.#onIdle = () => {
          clearTimeout(timer);
          resolve();
        };
      });
    }
    this.#ended.abort(shuttingDown());
  }

  /** Closes everything: unloads models and rejects running requests. */
  close(): void {
    this.#ending.abort(shuttingDown());
    this.#ended.abort(shuttingDown());
    this.keys.close();
    this.models.dispose();
    this.metrics.close();
  }
}
