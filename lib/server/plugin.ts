/** The server as a fastify plugin: every route of OpenAI's audio API, and routes for operators. */
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
import { closeUpgrade, ignoreOtherUpgrades } from './upgrade.js';

/** Groups of routes. They depend on each other only through the service. */
const routeGroups: readonly Routes[] = [statusRoutes, audioRoutes, realtimeRoutes, pageRoutes];

/** Milliseconds for which the rest of an upload is read and discarded after an early response. */
const discardTimeout = 10_000;

/** The trace id of a traceparent header (W3C Trace Context); null if there is none or it is invalid. */
function traceOf(header: string | string[] | undefined): string | null {
  const [, id] = /^[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}(?:-|$)/.exec(String(header ?? '')) ?? [];
  return id === undefined || /^0+$/.test(id) ? null : id;
}

/** Converts an error, including fastify's own, such as for a body that is too large. */
function apiErrorOf(error: FastifyError | Error): ApiError {
  const { statusCode, message } = error as FastifyError;
  const converted = asApiError(error);
  if (converted.status !== 500 || statusCode === undefined || statusCode < 400 || statusCode >= 500) return converted;
  return new ApiError(statusCode, shown(message), { cause: error });
}

/**
 * Registers the server's routes. `service` is their shared state: it is created from the options unless given, and
 * closed together with fastify. Throws OneheadError INVALID_ARGUMENT for invalid options, NOT_SUPPORTED if a library
 * is missing.
 */
export async function onehead(
  app: FastifyInstance,
  { service: given, prefix: _, ...options }: ServerOptions & { service?: Service; prefix?: string } = {},
): Promise<void> {
  const service = given ?? (await Service.create(options, app.log));
  app.addHook('preClose', () => service.drain());
  app.addHook('onClose', async () => service.close());
  // The routes validate requests themselves; the schemas only document them, in /openapi.json.
  app.setValidatorCompiler(() => () => true);
  app.setSerializerCompiler(() => (data) => JSON.stringify(data));
  app.addHook('onRequest', async (request, reply) => {
    reply.header('x-request-id', request.id);
    const trace = traceOf(request.headers.traceparent);
    if (trace !== null) service.addToLog(request, reply, { trace_id: trace });
  });
  crossOrigin(app, service.options);
  app.addHook('onSend', async (request, reply, payload) => {
    reply.header('openai-processing-ms', String(Math.round(reply.elapsedTime)));
    // If the connection were closed now, a client that is still sending would report a network error instead of this
    // response.
    const { raw } = request;
    if (!raw.complete && reply.statusCode >= 400) {
      raw.unpipe(); // a form parser that has stopped reading would block the stream
      raw.resume();
      setTimeout(() => raw.complete || raw.destroy(), discardTimeout).unref();
    }
    return payload;
  });
  app.addHook('onResponse', async (request, reply) => {
    service.metrics.answered(request.routeOptions.url ?? 'none', reply.statusCode);
    closeUpgrade(request.raw);
  });
  app.setErrorHandler((error: FastifyError, request, reply) => {
    const { status, type, code, param, cause, headers, body } = apiErrorOf(error);
    if (status >= 500 && cause !== undefined) request.log.error({ err: cause }, 'request failed');
    else request.log.info({ status, code, param }, 'request refused');
    if (code !== 'client_gone') service.metrics.refused(code ?? type); // it is counted as disconnected
    return reply.code(status).headers(headers).type('application/json; charset=utf-8').send(body);
  });
  app.setNotFoundHandler((request, reply) => {
    const { body } = new ApiError(404, `Invalid URL (${request.method} ${shown(request.url.split('?')[0], 100)})`);
    return reply.code(404).type('application/json; charset=utf-8').send(body);
  });
  await documentation(app);
  for (const routes of routeGroups) await app.register(async (scope) => routes(scope, service));
  app.addHook('onReady', async () => ignoreOtherUpgrades(app));
  // Not awaited, since loading may exceed fastify's timeout for hooks. A failure is logged, and /ready reports it.
  app.addHook('onReady', async () => void service.preload().catch(() => {}));
}
