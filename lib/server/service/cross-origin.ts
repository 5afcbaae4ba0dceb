/** Access from pages of other origins (CORS, from the Fetch standard). */
import type { FastifyInstance } from 'fastify';
import type { CheckedServerOptions } from './options.js';

/** Seconds for which a browser may cache the permission. */
const maxAge = 600;
/** Response headers that pages may read, besides type and length. */
const exposed = [
  'x-request-id',
  'x-onehead-incomplete',
  'x-onehead-ignored',
  'openai-processing-ms',
  'retry-after',
  'x-should-retry',
  'x-ratelimit-limit-requests',
  'x-ratelimit-remaining-requests',
  'x-ratelimit-reset-requests',
];

/**
 * Answers preflight requests (OPTIONS), and lets pages of the allowed origins read responses. Does nothing if there are
 * none.
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
