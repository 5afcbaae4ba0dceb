/** A server of its own: fastify with the plugin, which listens, logs, and ends in order. */
import { readFileSync } from 'node:fs';
import type { FastifyInstance } from 'fastify';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { check } from '../options/options.js';
import { type ListenOptions, listenOptions } from './listen-options.js';
import { onehead } from './plugin.js';
import { library } from './service/libraries.js';
import type { ServerOptions } from './service/options.js';
import { Service } from './service/service.js';

export type { ListenOptions };

export interface RunningServer {
  /** Such as http://127.0.0.1:8000. */
  readonly url: string;
  readonly app: FastifyInstance;
  readonly service: Service;
  /** Takes no new requests, lets those under way end within `shutdownTimeout`, and closes. */
  close(): Promise<void>;
}

function pem(path: string, argument: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new OneheadError('INVALID_ARGUMENT', `${shown(path)} cannot be read: ${reasonOf(cause)}.`, {
      argument,
      cause,
    });
  }
}

/** Milliseconds for the headers of a request. */
const headersTimeout = 20_000;

/** Starts a server. Throws OneheadError. */
export async function serve(server: ServerOptions = {}, listen: ListenOptions = {}): Promise<RunningServer> {
  const { host, port, tlsCertificate, tlsKey, logLevel, shutdownTimeout } = check(listenOptions, listen);
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) {
    throw new OneheadError('INVALID_ARGUMENT', 'https needs both tlsCertificate and tlsKey.', { argument: 'tlsKey' });
  }
  const { default: fastify } = await library(() => import('fastify'));
  const { default: pino } = await library(() => import('pino'));
  const logger = pino({ level: logLevel, redact: ['req.headers.authorization', 'headers.authorization'] });
  const service = new Service(server, logger);
  const tls =
    tlsCertificate === undefined ? null : { cert: pem(tlsCertificate, 'tlsCertificate'), key: pem(tlsKey!, 'tlsKey') };
  const app = fastify({
    loggerInstance: logger,
    forceCloseConnections: 'idle',
    return503OnClosing: false,
    // An upload may take as long as its work: it is watched by ourselves.
    requestTimeout: service.options.timeout * 1000,
    ...(tls ? { https: tls } : {}),
  } as object) as unknown as FastifyInstance;
  app.server.headersTimeout = headersTimeout;
  try {
    await app.register(onehead, { service });
    const url = await app.listen({ host, port });
    await service.preload().catch((error) => {
      throw error.cause ?? error;
    });
    if (!service.keys.needed && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
      logger.warn('everybody who reaches this address may use the server: give it a file of keys with --keys');
    }
    let closing: Promise<void> | null = null;
    const close = async () => {
      service.drain();
      const late = setTimeout(() => {
        service.close();
        app.server.closeAllConnections();
      }, shutdownTimeout * 1000);
      try {
        await app.close();
      } finally {
        clearTimeout(late);
      }
    };
    return {
      url,
      app,
      service,
      close: () => {
        closing ??= close();
        return closing;
      },
    };
  } catch (error) {
    await app.close().catch(() => {});
    service.close();
    throw error;
  }
}
