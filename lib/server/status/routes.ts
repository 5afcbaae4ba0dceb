/** GET /v1/models, /health and /ready. */
import type { FastifyInstance } from 'fastify';
import { modelNotFound } from '../service/api-error.js';
import type { ModelInformation } from '../service/models.js';
import type { Service } from '../service/service.js';

const modelObject = ({ id, created }: ModelInformation) => ({ id, object: 'model', created, owned_by: 'onehead' });

export function statusRoutes(app: FastifyInstance, service: Service): void {
  const { models } = service;
  const guarded = { onRequest: service.authenticate };
  app.get('/v1/models', guarded, async () => ({ object: 'list', data: models.list().map(modelObject) }));
  app.get<{ Params: { '*': string } }>('/v1/models/*', guarded, async ({ params }) => {
    const name = params['*'];
    const found = models.find(name);
    if (!found) throw modelNotFound(name);
    return modelObject(found);
  });
  app.get('/health', async () => ({ status: 'ok' }));
  app.get('/ready', async (_, reply) => {
    const reason = service.notReady();
    if (reason === null) return { status: 'ready' };
    return reply.code(503).header('retry-after', '5').send({ status: 'not ready', reason });
  });
}
