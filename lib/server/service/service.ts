/** What all routes of a server share: its options, models and keys, and whether it is still taking requests. */
import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify';
import { check } from '../../options/options.js';
import type { Whisper } from '../../whisper/whisper.js';
import { ApiError, overloaded } from './api-error.js';
import { type Client, Keys } from './keys.js';
import { Models } from './models.js';
import { type CheckedServerOptions, type ServerOptions, serverOptions } from './options.js';

/** Routes of a server, registered within it: fastify's plugin with the service besides. */
export type Routes = (app: FastifyInstance, service: Service) => void | Promise<void>;

export class Service {
  readonly options: CheckedServerOptions;
  readonly models: Models;
  readonly keys: Keys;
  readonly log: FastifyBaseLogger;
  readonly #clients = new WeakMap<FastifyRequest, Client>();
  #draining = false;
  #preloading: Promise<void> | null = null;
  #preloaded = false;

  /** Throws OneheadError INVALID_ARGUMENT. */
  constructor(given: ServerOptions, log: FastifyBaseLogger) {
    this.options = check(serverOptions, given);
    this.log = log;
    this.models = new Models(this.options, {
      onLoad: (model, milliseconds) => log.info({ model, milliseconds: Math.round(milliseconds) }, 'model loaded'),
      onUnload: (model) => log.info({ model }, 'model unloaded'),
      onFailure: (model, error) => log.error({ model, err: error }, 'model not loaded'),
    });
    this.keys = new Keys(this.options.keys, (error) => log.error({ err: error }, 'keys not read again'));
  }

  /** A hook for routes that need a key: finds out who asks. Throws ApiError 401, or 503 where the server is about to end. */
  readonly authenticate = async (request: FastifyRequest): Promise<void> => {
    this.#clients.set(request, this.keys.authenticate(request.headers.authorization));
    this.throwIfDraining();
  };

  /** Who sends a request that went through `authenticate`. */
  clientOf(request: FastifyRequest): Client {
    return this.#clients.get(request)!;
  }

  /** True when no new requests are taken, since the server is about to end. */
  get draining(): boolean {
    return this.#draining;
  }

  /** Loads the first model, where that is wanted. Rejects with ApiError, whose cause is why it cannot be loaded. */
  preload(): Promise<void> {
    this.#preloading ??= this.#preload();
    return this.#preloading;
  }

  async #preload(): Promise<void> {
    if (this.options.preload) {
      const { release } = await this.models.acquire(this.models.usual);
      release();
    }
    this.#preloaded = true;
  }

  /** Why requests should go elsewhere for now; null where they need not. */
  notReady(): string | null {
    if (this.#draining) return 'shutting down';
    if (!this.#preloaded) return 'loading';
    for (const { whisper } of this.models.loaded()) {
      const { requests, waiting } = whisper.figures();
      if (requests >= this.options.maximumRequests) return 'too many requests';
      if (waiting.oldestMilliseconds > this.options.maximumWait * 1000) return 'too long a queue';
    }
    return null;
  }

  /** Throws ApiError 503. */
  throwIfDraining(): void {
    if (!this.#draining) return;
    throw new ApiError(503, 'The server is shutting down; try another, or try again later.', {
      code: 'shutting_down',
      retryAfter: 5,
    });
  }

  /** Takes no new requests from now on. */
  drain(): void {
    this.#draining = true;
  }

  /** Throws ApiError 503 where what waits has waited too long already. */
  admit(whisper: Whisper): void {
    const { oldestMilliseconds } = whisper.figures().waiting;
    if (oldestMilliseconds > this.options.maximumWait * 1000) throw overloaded(Math.min(60, oldestMilliseconds / 2000));
  }

  /** Ends all: models are unloaded, and what is under way is rejected. */
  close(): void {
    this.drain();
    this.keys.close();
    this.models.dispose();
  }
}
