/** The server as a plugin of fastify: every route of OpenAI's audio API, and what those who run it look at. */
import type { FastifyError, FastifyInstance } from 'fastify';
import { shown } from '../errors.js';
import { pageRoutes } from './page/routes.js';
import { realtimeRoutes } from './realtime/routes.js';
import { ApiError, asApiError } from './service/api-error.js';
import { crossOrigin } from './service/cross-origin.js';
import type { ServerOptions } from './service/options.js';
import { type Routes, Service } from './service/service.js';
import { documentation } from './status/documentation.js';
import { statusRoutes } from './status/routes.js';
import { audioRoutes } from './transcription/routes.js';

/** The parts of the plugin: each has its own routes, and knows the others by the service alone. */
const rooms: readonly Routes[] = [statusRoutes, audioRoutes, realtimeRoutes, pageRoutes];

/** Milliseconds for which the rest of an upload is taken from a client that has its answer already. */
const patience = 10_000;

/** The answer to an error, fastify's own included, such as that of a body that is too large. */
function apiErrorOf(error: FastifyError | Error): ApiError {
  const { statusCode, message } = error as FastifyError;
  const own = asApiError(error);
  if (own.status !== 500 || statusCode === undefined || statusCode < 400 || statusCode >= 500) return own;
  return new ApiError(statusCode, shown(message), { cause: error });
}

/**
 * Registers the server's routes. `service` is what they share; it is made of the options where none is given, and ends
 * with fastify. Throws OneheadError INVALID_ARGUMENT for wrong options, NOT_SUPPORTED where a library is missing.
 */
export async function onehead(
  app: FastifyInstance,
  { service: given, prefix: _, ...options }: ServerOptions & { service?: Service; prefix?: string } = {},
): Promise<void> {
  const service = given ?? (await Service.create(options, app.log));
  app.addHook('preClose', () => service.drain());
  app.addHook('onClose', async () => service.close());
  // Requests and answers are checked by ourselves; schemas are for /openapi.json.
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
  });
  crossOrigin(app, service.options);
  app.addHook('onSend', async (request, reply, payload) => {
    reply.header('openai-processing-ms', String(Math.round(reply.elapsedTime)));
    // A client that is still sending would take a closed connection for a failure: what comes is read for a while, and
    // forgotten.
    const { raw } = request;
    if (!raw.complete && reply.statusCode >= 400) {
      raw.unpipe(); // a parser that has given up would hold it back
      raw.resume();
      setTimeout(() => raw.complete || raw.destroy(), patience).unref();
    }
    return payload;
  });
  app.addHook('onResponse', async (request, reply) => {
    service.metrics.answered(request.routeOptions.url ?? 'none', reply.statusCode);
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const told = apiErrorOf(error);
    if (told.status >= 500 && told.cause !== undefined) request.log.error({ err: told.cause }, 'request failed');
    else request.log.info({ status: told.status, code: told.code, param: told.param }, 'request refused');
    service.metrics.refused(told.code ?? told.type);
    return reply.code(told.status).headers(told.headers).type('application/json; charset=utf-8').send(told.body);
  });
  app.setNotFoundHandler((request, reply) => {
    const told = new ApiError(404, `Invalid URL (${request.method} ${shown(request.url.split('?')[0], 100)})`);
    return reply.code(404).type('application/json; charset=utf-8').send(told.body);
  });
  await documentation(app);
  for (const routes of rooms) await app.register(async (scope) => routes(scope, service));
  // In the background, since it may take longer than fastify waits; what goes wrong is logged, and /ready says so.
  app.addHook('onReady', async () => void service.preload().catch(() => {}));
}
