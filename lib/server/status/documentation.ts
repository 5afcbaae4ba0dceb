/** GET /openapi.json, generated from the routes' schemas. */
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import type { FastifyInstance } from 'fastify';
import { packageRoot } from '../../package-root.js';
import { library } from '../service/libraries.js';

/**
 * Registers /openapi.json. Must be called before the routes are registered, since it collects their schemas. Does
 * nothing if the application has registered @fastify/swagger itself.
 */
export async function documentation(app: FastifyInstance): Promise<void> {
  if (app.hasDecorator('swagger')) return;
  const { version } = JSON.parse(readFileSync(join(packageRoot(), 'package.json'), 'utf8')) as { version: string };
  const { default: swagger } = await library(() => import('@fastify/swagger'));
  await app.register(swagger, {
    openapi: {
      openapi: '3.0.3',
      info: { title: 'onehead', description: "Speech to text, compatible with OpenAI's audio API.", version },
      components: { securitySchemes: { key: { type: 'http', scheme: 'bearer' } } },
    },
  });
  app.get('/openapi.json', { schema: { hide: true } as object }, async () => app.swagger());
}
