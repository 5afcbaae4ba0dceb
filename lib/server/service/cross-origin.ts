/** Pages of other origins that may ask: what browsers want to be told (CORS, of the Fetch standard). */
import type { FastifyInstance } from 'fastify';
import type { CheckedServerOptions } from './options.js';

/** Seconds for which a browser need not ask again. */
const maxAge = 600;
/** Headers of an answer that pages may read, besides type and length. */
const exposed = [
  'x-request-id',
  'x-onehead-incomplete',
  'openai-processing-ms',
  'retry-after',
  'x-should-retry',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
];

/**
 * Answers what browsers ask before a request (OPTIONS), and lets pages of the origins that are allowed read the
 * answers; without any, nothing.
 */
export function crossOrigin(app: FastifyInstance, { allowOrigin = [] }: CheckedServerOptions): void {
  if (allowOrigin.length === 0) return;
  const any = allowOrigin.includes('*');
  app.addHook('onRequest', async ({ method, headers }, reply) => {
    if (!any) reply.header('vary', 'Origin');
    const { origin } = headers;
    if (origin === undefined || !(any || allowOrigin.includes(origin))) return;
    reply.header('access-control-allow-origin', any ? '*' : origin);
    if (method !== 'OPTIONS' || headers['access-control-request-method'] === undefined) {
      reply.header('access-control-expose-headers', exposed.join(', '));
      return;
    }
    return reply
      .header('access-control-allow-methods', 'GET, POST')
      .header('access-control-allow-headers', headers['access-control-request-headers'] ?? 'authorization')
      .header('access-control-max-age', String(maxAge))
      .code(204)
      .send();
  });
}
