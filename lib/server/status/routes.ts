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

const about = (tag: string, summary: string, answer: object, secured = false): FastifySchema => ({
  tags: [tag],
  summary,
  ...(secured && { security: [{ key: [] }] }),
  response: { 200: { description: summary, ...answer } },
});

export function statusRoutes(app: FastifyInstance, service: Service): void {
  const { models } = service;
  const onRequest = service.authenticate;
  const list = { type: 'object', properties: { object: text, data: { type: 'array', items: modelSchema } } };
  const listed = about('models', 'The served models', list, true);
  app.get('/v1/models', { onRequest, schema: listed }, async () => ({
    object: 'list',
    data: models.list().map(modelObject),
  }));
  // Names of hub models contain a slash, which clients may encode as %2F.
  const one = about('models', 'A model', modelSchema, true);
  app.get<{ Params: { '*': string } }>('/v1/models/*', { onRequest, schema: one }, async ({ params }) => {
    const name = params['*'];
    const found = models.find(name);
    if (!found) throw modelNotFound(name);
    return modelObject(found);
  });

  const status = { type: 'object', properties: { status: text, reason: text } };
  // Frequent probes must not fill the log.
  const quiet = { logLevel: 'warn' } as const;
  app.get('/health', { ...quiet, schema: about('status', 'Whether the server is alive', status) }, async () => ({
    status: 'ok',
  }));
  app.get('/ready', { ...quiet, schema: about('status', 'Whether to send requests', status) }, async (_, reply) => {
    const reason = service.notReady();
    if (reason === null) return { status: 'ready' };
    return reply.code(503).header('retry-after', '5').send({ status: 'not ready', reason });
  });
  const figures = { ...quiet, schema: about('status', "Figures as Prometheus' text", text) };
  app.get('/metrics', service.options.protectMetrics ? { ...figures, onRequest } : figures, async (_, reply) =>
    reply.type(service.metrics.registry.contentType).send(await service.metrics.render()),
  );
}
