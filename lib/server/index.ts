/** onehead/server: OpenAI's audio API over HTTP, as a fastify plugin and as a stand-alone server. */
export { onehead } from './plugin.js';
export { type ListenOptions, type RunningServer, serve } from './program.js';
export { ApiError, type ErrorBody } from './service/api-error.js';
export type { Client } from './service/keys.js';
export type { Lease, ModelInformation } from './service/models.js';
export type { ServedModel, ServerOptions } from './service/options.js';
export { Service } from './service/service.js';
