/** A stand-alone server: fastify with the plugin, listening, logging and shutting down. */
import { randomUUID } from 'node:crypto';
import { readFileSync } from 'node:fs';
import type { Socket } from 'node:net';
import { createSecureContext, type SecureContextOptions } from 'node:tls';
import type { FastifyError, FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import { OneheadError, reasonOf, shown } from '../errors.js';
import { check } from '../options/options.js';
import { onAbort } from '../signals.js';
import { Connections } from './connections.js';
import { type ListenOptions, listenOptions } from './listen-options.js';
import { onehead } from './plugin.js';
import { ApiError } from './service/api-error.js';
import { library } from './service/libraries.js';
import type { ServerOptions } from './service/options.js';
import { Service } from './service/service.js';
import { closeUpgrade } from './upgrade.js';

export type { ListenOptions };

export interface RunningServer {
  /** The URL, such as http://127.0.0.1:8000. */
  readonly url: string;
  readonly app: FastifyInstance;
  readonly service: Service;
  /** Refuses new requests, lets running ones finish within `shutdownTimeout`, and closes. */
  close(): Promise<void>;
}

function readPem(path: string, argument: string): Buffer {
  try {
    return readFileSync(path);
  } catch (cause) {
    throw new OneheadError('INVALID_ARGUMENT', `${shown(path)} cannot be read: ${reasonOf(cause)}.`, {
      argument,
      cause,
    });
  }
}

/** Reads a certificate and its key, and checks that they match. Throws OneheadError INVALID_ARGUMENT. */
function readCertificate(tlsCertificate: string, tlsKey: string): { cert: Buffer; key: Buffer } {
  const [cert, key] = [readPem(tlsCertificate, 'tlsCertificate'), readPem(tlsKey, 'tlsKey')];
  const checkPem = (argument: string, path: string, context: SecureContextOptions) => {
    try {
      createSecureContext(context);
    } catch (cause) {
      const expected = argument === 'tlsKey' ? "the certificate's private key" : 'a certificate';
      throw new OneheadError('INVALID_ARGUMENT', `${shown(path)} does not contain ${expected} as valid PEM.`, {
        argument,
        cause,
      });
    }
  };
  checkPem('tlsCertificate', tlsCertificate, { cert });
  checkPem('tlsKey', tlsKey, { cert, key });
  return { cert, key };
}

const listenReasons = new Map([
  ['EACCES', 'this user may not use it'],
  ['EADDRINUSE', 'another program uses it'],
  ['EADDRNOTAVAIL', 'this machine has no such address'],
  ['ENOTFOUND', 'there is no such host'],
]);

/** Explains why an address cannot be used; returns other errors unchanged. */
function listenError(cause: NodeJS.ErrnoException, host: string, port: number): Error {
  if (cause.syscall !== 'listen' && cause.syscall !== 'getaddrinfo') return cause;
  const argument = ['EADDRINUSE', 'EACCES'].includes(cause.code ?? '') ? 'port' : 'host';
  const reason = listenReasons.get(cause.code ?? '') ?? reasonOf(cause);
  return new OneheadError(
    'INVALID_ARGUMENT',
    `The server cannot listen on ${shown(host, 100)}, port ${port}: ${reason}; choose another ${argument}.`,
    { argument, cause },
  );
}

/** Responds, in the API's error format, to requests that are invalid HTTP or that time out. */
function sendClientError(error: NodeJS.ErrnoException, socket: Socket): void {
  if (!socket.writable || error.code === 'ECONNRESET') return void socket.destroy();
  const [status, reason, message] =
    error.code === 'HPE_HEADER_OVERFLOW'
      ? [431, 'Request Header Fields Too Large', 'The headers of the request are too large.']
      : error.code === 'ERR_HTTP_REQUEST_TIMEOUT'
        ? [408, 'Request Timeout', 'The request was not received in time; send it again.']
        : error.code === 'HPE_INVALID_EOF_STATE'
          ? [400, 'Bad Request', 'The connection was closed before the whole request had arrived; send it again.']
          : [400, 'Bad Request', 'The request is not valid HTTP.'];
  const body = JSON.stringify(new ApiError(status as number, message as string).body);
  const head = `HTTP/1.1 ${status} ${reason}\r\nconnection: close\r\ncontent-type: application/json; charset=utf-8`;
  socket.end(`${head}\r\ncontent-length: ${Buffer.byteLength(body)}\r\n\r\n${body}`);
}

/** Milliseconds within which a request's headers have to arrive, also a TLS handshake; and between checks of this. */
const headersTimeout = 20_000;
const connectionsCheckingInterval = 5000;
/**
 * Milliseconds after `shutdownTimeout` until open connections are closed, for clients that read slowly; and after the
 * last request has ended until those are closed on which nothing is sent.
 */
const connectionGrace = 1000;

/** Starts a server. Throws OneheadError for invalid options, a missing library or an unusable address. */
export async function serve(server: ServerOptions = {}, listen: ListenOptions = {}): Promise<RunningServer> {
  const { host, port, tlsCertificate, tlsKey, logLevel } = check(listenOptions, listen);
  if ((tlsCertificate === undefined) !== (tlsKey === undefined)) {
    throw new OneheadError('INVALID_ARGUMENT', 'HTTPS needs both tlsCertificate and tlsKey.', { argument: 'tlsKey' });
  }
  const certificate = tlsCertificate === undefined ? null : readCertificate(tlsCertificate, tlsKey!);
  const { default: fastify } = await library(() => import('fastify'));
  const { default: pino } = await library(() => import('pino'));
  const logger = pino({ level: logLevel });
  const service = await Service.create(server, logger);
  const timeouts = { headersTimeout, connectionsCheckingInterval };
  const serverOptions = certificate
    ? { https: { ...certificate, ...timeouts, handshakeTimeout: headersTimeout } }
    : { http: timeouts };
  const app = fastify({
    loggerInstance: logger,
    genReqId: () => `req_${randomUUID().replaceAll('-', '')}`,
    forceCloseConnections: 'idle',
    // Routes refuse requests during shutdown themselves, in the API's error format.
    return503OnClosing: false,
    // An upload may take as long as its request; the form parser detects stalled uploads.
    requestTimeout: Math.ceil(service.options.timeout),
    clientErrorHandler: sendClientError,
    // URLs that no route is looked up for, such as /%zz.
    frameworkErrors: ({ statusCode = 400, message }: FastifyError, request: FastifyRequest, reply: FastifyReply) => {
      reply.raw.once('finish', () => closeUpgrade(request.raw)); // no hook runs for them
      const { body } = new ApiError(statusCode, shown(message, 200));
      reply.code(statusCode).type('application/json; charset=utf-8').send(body);
    },
    ...serverOptions,
  } as object) as unknown as FastifyInstance;
  const connections = new Connections(app.server);
  let closing: Promise<void> | null = null;
  const close = async () => {
    const delay = service.options.shutdownTimeout + connectionGrace;
    const timers = [setTimeout(() => app.server.closeAllConnections(), delay)];
    const closeUnused = () => timers.push(setTimeout(() => connections.closeUnused(), connectionGrace));
    onAbort(service.ended, closeUnused);
    await app.close().finally(() => timers.forEach(clearTimeout));
  };
  try {
    await app.register(onehead, { service });
    const url = await app.listen({ host, port }).catch((error) => {
      throw listenError(error, host, port);
    });
    if (!service.keys.required && !['127.0.0.1', '::1', 'localhost'].includes(host)) {
      logger.warn('anyone who can reach this address can use the server: set a key file with --keys');
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
