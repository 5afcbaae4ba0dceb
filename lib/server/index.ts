/**
 * onehead/server: speech to text over HTTP as OpenAI's API has it, as a plugin of fastify and as a server of its own.
 */
export { onehead } from './plugin.js';
export { type ListenOptions, type RunningServer, serve } from './program.js';
export { ApiError, type ErrorBody } from './service/api-error.js';
export type { Client } from './service/keys.js';
export type { Lease, ModelInformation } from './service/models.js';
export type { ServedModel, ServerOptions } from './service/options.js';
export { Service } from './service/service.js';
