/** A stand-alone server: fastify with the plugin, listening, logging and shutting down. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { FastifyInstance } from 'fastify';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { check } from '../options/options.js';
import { type ListenOptions, listenOptions } from './listen-options.js';
import { onehead } from './plugin.js';
import { ApiError } from './service/api-error.js';
import { library } from './service/libraries.js';
import type { ServerOptions } from './service/options.js';
import { Service } from './service/service.js';

export type { ListenOptions };

export interface RunningServer {
  /** The URL, such as http://127.0.0.1:8000. */
  readonly url: string;
  readonly app: FastifyInstance;
  readonly service: Service;
  /** Refuses new requests, lets running ones finish within `shutdownTimeout`, and closes. */
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

/** A certificate and its matching key. Throws OneheadError INVALID_ARGUMENT. */
function certificate(tlsCertificate: string, tlsKey: string): { cert: Buffer; key: Buffer } {
  const [cert, key] = [pem(tlsCertificate, 'tlsCertificate'), pem(tlsKey, 'tlsKey')];
  const usable = (argument: string, path: string, parts: SecureContextOptions) => {
    try {
      createSecureContext(parts);
    } catch (cause) {
      const wanted = argument === 'tlsKey' ? "the certificate's private key" : 'a certificate';
      throw new OneheadError('INVALID_ARGUMENT', `${shown(path)} does not contain ${wanted} as valid PEM.`, {
        argument,
        cause,
      });
    }
  };
  usable('tlsCertificate', tlsCertificate, { cert });
  usable('tlsKey', tlsKey, { cert, key });
  return { cert, key };
}

/** Explains an address that cannot be used; other errors are returned as they are. */
function listenError(cause: NodeJS.ErrnoException, host: string, port: number): Error {
  if (cause.syscall !== 'listen' && cause.syscall !== 'getaddrinfo') return cause;
  const argument = ['EADDRINUSE', 'EACCES'].includes(cause.code ?? '') ? 'port' : 'host';
  return new OneheadError(
    'INVALID_ARGUMENT',
    `The server cannot listen on ${shown(host, 100)}, port ${port}: ${reasonOf(cause)}; give another ${argument}.`,
    { argument, cause },
  );
}

/** Answers requests that cannot be parsed as HTTP, or time out, with the API's error format. */
function answerUnread(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const [status, reason, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'Request Header Fields Too Large', 'The headers of the request are too large.']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'Request Timeout', 'The request was not received in time; send it again.']
        : [400, 'Bad Request', 'The request cannot be read as HTTP.'];
  const body = JSON.stringify(new ApiError(status as number, message as string).body);
  const head = `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8`;
  socket.end(`${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

/** Milliseconds for the headers of a request, and between checks for late requests. */
const headersTimeout = 20_000;
const connectionsCheckingInterval = 5000;
/** Milliseconds beyond the server's own limit for connections that read their responses slowly. */
const slack = 1000;

/** Starts a server. Throws OneheadError. */
export async function serve(server: ServerOptions = {}, listen: ListenOptions = {}): Promise<RunningServer> {
  const { host, port, tlsCertificate, tlsKey, logLevel } = check(listenOptions, listen);
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) {
    throw new OneheadError('INVALID_ARGUMENT', 'https needs both tlsCertificate and tlsKey.', { argument: 'tlsKey' });
  }
  const given = tlsCertificate === undefined ? null : certificate(tlsCertificate, tlsKey!);
  const { default: fastify } = await library(() => import('fastify'));
  const { default: pino } = await library(() => import('pino'));
  const logger = pino({ level: logLevel });
  const service = await Service.create(server, logger);
  const timeouts = { headersTimeout, connectionsCheckingInterval };
  const tls = given ? { https: { ...given, ...timeouts } } : { http: timeouts };
  const app = fastify({
    loggerInstance: logger,
    genReqId: () => `req_${randomUUID().replaceAll('-', '')}`,
    forceCloseConnections: 'idle',
    // The API's own error is sent instead.
    return503OnClosing: false,
    // An upload may take as long as its request; a stalled upload is detected by our own code.
    requestTimeout: service.options.timeout * 1000,
    clientErrorHandler: answerUnread,
    ...tls,
  } as object) as unknown as FastifyInstance;
  let closing: Promise<void> | null = null;
  const close = async () => {
    const late = setTimeout(() => app.server.closeAllConnections(), service.options.shutdownTimeout * 1000 + slack);
    await app.close().finally(() => clearTimeout(late));
  };
  try {
    await app.register(onehead, { service });
    const url = await app.listen({ host, port }).catch((error) => {
      throw listenError(error, host, port);
    });
    if (!service.keys.needed && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
      logger.warn('anybody who reaches this address may use the server: give it a file of keys with --keys');
    }
    await service.preload().catch((error) => {
      throw error.cause ?? error;
    });
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
