/** GET /v1/models, /health, /ready and /metrics. */
import type { FastifyInstance, FastifySchema } from 'fastify';
import { modelNotFound } from '../service/api-error.js';
import type { ModelInformation } from '../service/models.js';
import type { Service } from '../service/service.js';

const modelObject = ({ id, created }: ModelInformation) => ({ id, object: 'model', created, owned_by: 'onehead' });

const text = { type: 'string' } as const;
const modelSchema = {
  type: 'object',
  properties: { id: text, object: text, created: { type: 'integer' }, owned_by: text },
} as const;

const routeSchema = (tag: string, summary: string, body: object, secured = false): FastifySchema => ({
  tags: [tag],
  summary,
  ...(secured && { security: [{ key: [] }] }),
  response: { 200: { description: summary, ...body } },
});

export function statusRoutes(app: FastifyInstance, service: Service): void {
  const { models } = service;
  const onRequest = service.authenticate;
  const list = { type: 'object', properties: { object: text, data: { type: 'array', items: modelSchema } } };
  const listSchema = routeSchema('models', 'The served models', list, true);
  app.get('/v1/models', { onRequest, schema: listSchema }, async () => ({
    object: 'list',
    data: models.list().map(modelObject),
  }));
  // A wildcard, since names of hub models contain a slash, which clients may also encode as %2F.
  const schema = routeSchema('models', 'A model', modelSchema, true);
  app.get<{ Params: { '*': string } }>('/v1/models/*', { onRequest, schema }, async ({ params }) => {
    const name = params['*'];
    const model = models.find(name);
    if (!model) throw modelNotFound(name);
    return modelObject(model);
  });

  const status = { type: 'object', properties: { status: text, reason: text } };
  // Frequent probes must not fill the log.
  const quiet = { logLevel: 'warn' } as const;
  const health = routeSchema('status', 'Whether the server is alive', status);
  app.get('/health', { ...quiet, schema: health }, async (_, reply) => {
    const reason = service.unhealthy();
    if (reason === null) return { status: 'ok' };
    return reply.code(503).send({ status: 'failed', reason });
  });
  const ready = routeSchema('status', 'Whether the server accepts requests', status);
  app.get('/ready', { ...quiet, schema: ready }, async (_, reply) => {
    const reason = service.notReady();
    if (reason === null) return { status: 'ready' };
    return reply.code(503).header('retry-after', '5').send({ status: 'not ready', reason });
  });
  const metrics = { ...quiet, schema: routeSchema('status', "Metrics in Prometheus's text format", text) };
  app.get('/metrics', service.options.protectMetrics ? { ...metrics, onRequest } : metrics, async (_, reply) =>
    reply.type(service.metrics.registry.contentType).send(await service.metrics.render()),
  );
}
